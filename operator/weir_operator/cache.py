"""What of an object the operator keeps in memory."""

from collections.abc import Callable
from functools import partial

from weir_crds.schema import Lifetime, Resource
from weir_kube.store import Key, Object, Store

BY_HOST = "host"
"""Index of what is bound to a host and not over."""
_OF_THE_ENDED = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)


class SlimStore(Store):
    """A store that keeps of each object only what is decided on; lists are slim already.

    As the API server sends it, a finished Task takes 18 KiB of memory here, and most Tasks are
    finished ones. Kept this way it takes 1 KiB.
    """

    def __init__(self, resource: Resource) -> None:
        """Make an empty store of a kind, indexed by host."""
        super().__init__()
        self._slim = slimmer(resource)
        self._lifetime = resource.lifetime
        self.add_index(BY_HOST, self._host_of)

    def apply(self, event_type: str | None, obj: Object) -> Key | None:
        """As ``Store.apply``."""
        return super().apply(event_type, self._slim(obj))

    def _host_of(self, obj: Object) -> list[str]:
        host = (obj.get("status") or {}).get("nodeName")
        return [] if host is None or _is_over(obj, self._lifetime) else [host]


def slimmer(resource: Resource) -> Callable[[Object], Object]:
    """Return a function that leaves out of objects of a kind what no decision needs."""
    return partial(slim, lifetime=resource.lifetime)


def slim(obj: Object, lifetime: Lifetime | None) -> Object:
    """Return an object without the API server's own notes; of one that is over, its end.

    Such a one is never written again, so that nothing is lost by it.
    """
    metadata = obj["metadata"]
    if lifetime is None or not _is_over(obj, lifetime):
        if "managedFields" not in metadata:
            return obj
        kept = {field: value for field, value in metadata.items() if field != "managedFields"}
        return {**obj, "metadata": kept}
    ended: Object = {
        "metadata": {field: metadata[field] for field in _OF_THE_ENDED if field in metadata},
        "spec": {},
        "status": {},
    }
    for path in (lifetime.ended_at, lifetime.ttl_seconds):
        _copy(obj, ended, path)
    return ended


def _is_over(obj: Object, lifetime: Lifetime | None) -> bool:
    return lifetime is not None and lifetime.end_of(obj) is not None


def _copy(source: Object, target: Object, path: tuple[str, ...]) -> None:
    *above, name = path
    for part in above:
        source = source.get(part) or {}
        target = target.setdefault(part, {})
    if name in source:
        target[name] = source[name]
