"""What the host API knows of the Hosts, read once for each change of one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from weir_api.state.caches import Caches
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.facts import HostFacts, facts_of
from weir_crds.kinds import HOST
from weir_kube.store import Key, Object, key_of


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One Host."""

    obj: Object
    facts: HostFacts
    ready: bool
    url: str
    """Where its daemon is reached; empty: it has not told."""


class KnownHosts:
    """The Hosts by name."""

    def __init__(self, caches: Caches) -> None:
        """Follow the cache of Hosts."""
        self._store = caches[HOST]
        self._hosts: dict[str, KnownHost] = {}
        self._listeners: list[Callable[[str], None]] = []
        for obj in self._store.list():
            self._changed(key_of(obj))
        caches.listen(HOST, self._changed)

    def on_readiness(self, listener: Callable[[str], None]) -> None:
        """Have ``listener`` called with the name of a Host that has become Ready, or is not now."""
        self._listeners.append(listener)

    def get(self, name: str) -> KnownHost | None:
        """Return a Host, or None."""
        return self._hosts.get(name)

    def facts_of(self, name: str) -> HostFacts | None:
        """Return what a Host has, or None."""
        host = self._hosts.get(name)
        return None if host is None else host.facts

    def all_facts(self) -> Iterator[HostFacts]:
        """Go through what all Hosts have."""
        return iter([host.facts for host in self._hosts.values()])

    def is_ready(self, name: str | None) -> bool:
        """Tell whether there is a Host of that name and it is Ready."""
        host = self._hosts.get(name) if name else None
        return host is not None and host.ready

    def __iter__(self) -> Iterator[KnownHost]:
        """Go through all Hosts."""
        return iter([*self._hosts.values()])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._hosts)

    def _changed(self, key: Key) -> None:
        was_ready = self.is_ready(key.name)
        obj = self._store.get(key)
        if obj is None:
            self._hosts.pop(key.name, None)
        else:
            self._hosts[key.name] = _known(obj)
        if self.is_ready(key.name) != was_ready:
            for listener in self._listeners:
                listener(key.name)


def _known(obj: Object) -> KnownHost:
    endpoint = (obj.get("status") or {}).get("endpoint") or {}
    ready = conditions.is_true(obj, ConditionType.READY)
    return KnownHost(obj, facts_of(obj), ready, endpoint.get("url") or "")
