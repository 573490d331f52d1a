"""What the engine showed last of this host's containers."""

from collections.abc import Callable, Mapping

from weir_nodedaemon.engines.port import InstanceState, Lifecycle, ObservedInstance


class Observations:
    """A cache of containers by name. A look that began earlier never overwrites a later one."""

    def __init__(self, engine: Lifecycle, on_change: Callable[[], None]) -> None:
        """Begin empty.

        Args:
            engine: what is looked at.
            on_change: called after every look that showed something new.
        """
        self._engine = engine
        self._on_change = on_change
        self._containers: dict[str, ObservedInstance] = {}
        self._looked: dict[str, int] = {}
        self._looks = 0
        self._full_look = 0

    @property
    def complete(self) -> bool:
        """Whether the whole engine was seen at least once."""
        return self._full_look > 0

    @property
    def containers(self) -> Mapping[str, ObservedInstance]:
        """All containers of this host, by name."""
        return self._containers

    async def observe_all(self) -> Mapping[str, ObservedInstance]:
        """Observe the whole engine; raises EngineUnavailableError."""
        began = self._begin()
        found = await self._engine.observe()
        before = dict(self._containers)
        for name in self._containers.keys() | found.keys():
            if self._looked.get(name, 0) < began:
                self._put(name, found.get(name), began)
        # A look that was under way at the last full one has long met its deadline.
        for name in [n for n, look in self._looked.items() if look < self._full_look]:
            if name not in self._containers:
                del self._looked[name]
        self._full_look = began
        if before != self._containers:
            self._on_change()
        return self._containers

    async def observe(self, name: str) -> ObservedInstance | None:
        """Observe one container; raises EngineUnavailableError."""
        began = self._begin()
        found = await self._engine.inspect(name)
        if self._looked.get(name, 0) < began and self._containers.get(name) != found:
            self._put(name, found, began)
            self._on_change()
        else:
            self._looked[name] = max(began, self._looked.get(name, 0))
        return found

    def forget(self, name: str) -> None:
        """Take note of a removal that the engine has confirmed."""
        self._looked[name] = self._begin()
        if self._containers.pop(name, None) is not None:
            self._on_change()

    def _begin(self) -> int:
        self._looks += 1
        return self._looks

    def _put(self, name: str, found: ObservedInstance | None, began: int) -> None:
        self._looked[name] = began
        if found is None:
            self._containers.pop(name, None)
        elif found.state is not InstanceState.UNKNOWN or name not in self._containers:
            self._containers[name] = found
