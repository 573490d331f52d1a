"""What an engine showed last of this host's instances."""

from collections.abc import Callable, Mapping

from weir_nodedaemon.engines.port import InstanceState, Lifecycle, ObservedInstance


class Observations:
    """A cache of instances by name. A look that began earlier never overwrites a later one."""

    def __init__(self, engine: Lifecycle, on_change: Callable[[], None]) -> None:
        """Begin empty.

        Args:
            engine: what is observed.
            on_change: called after every observation that showed something new.
        """
        self._engine = engine
        self._on_change = on_change
        self._instances: dict[str, ObservedInstance] = {}
        self._observed: dict[str, int] = {}
        self._count = 0
        self._last_full = 0

    @property
    def complete(self) -> bool:
        """Whether the whole engine was seen at least once."""
        return self._last_full > 0

    @property
    def instances(self) -> Mapping[str, ObservedInstance]:
        """All instances of this host, by name."""
        return self._instances

    async def observe_all(self) -> Mapping[str, ObservedInstance]:
        """Observe the whole engine; what it cannot show now stays as it was seen last.

        Raises:
            WeirError: the engine did not answer, or refused.
        """
        began = self._begin()
        found = await self._engine.observe()
        before = dict(self._instances)
        for name in self._instances.keys() | found.keys():
            if self._observed.get(name, 0) < began:
                self._put(name, found.get(name), began)
        # An observation that was under way at the last full one has long met its deadline.
        for name in [n for n, number in self._observed.items() if number < self._last_full]:
            if name not in self._instances:
                del self._observed[name]
        self._last_full = began
        if before != self._instances:
            self._on_change()
        return self._instances

    async def observe(self, name: str) -> ObservedInstance | None:
        """Observe one instance; raises as ``observe_all`` does."""
        began = self._begin()
        found = await self._engine.inspect(name)
        if self._observed.get(name, 0) < began and self._instances.get(name) != found:
            self._put(name, found, began)
            self._on_change()
        else:
            self._observed[name] = max(began, self._observed.get(name, 0))
        return found

    def forget(self, name: str) -> None:
        """Take note of a removal that the engine has confirmed."""
        self._observed[name] = self._begin()
        if self._instances.pop(name, None) is not None:
            self._on_change()

    def _begin(self) -> int:
        self._count += 1
        return self._count

    def _put(self, name: str, found: ObservedInstance | None, began: int) -> None:
        self._observed[name] = began
        if found is None:
            self._instances.pop(name, None)
        elif found.state is not InstanceState.UNKNOWN or name not in self._instances:
            self._instances[name] = found
