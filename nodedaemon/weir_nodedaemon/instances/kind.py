"""What a kind of workload gives the machinery, which knows no kind by name."""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds.kinds import Kind
from weir_kube.store import Key, Object, Store, key_of
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.instances.engines import Engine
from weir_nodedaemon.instances.fence_limits import FenceLimits
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.logs import Collector

Reconcile = Callable[[Key], Awaitable[dt.timedelta | None]]


class InstanceStore(Store):
    """The objects of a kind that are bound to this host: by key, by uid, and which are active."""

    _UID = "uid"
    _ACTIVE = "active"

    def __init__(
        self,
        accepts: Callable[[Object], bool] | None,
        is_active: Callable[[Object], bool],
        trim: Callable[[Object], Object] = lambda obj: obj,
    ) -> None:
        """Begin empty.

        Args:
            accepts: whether an object is bound to this host; None: all are.
            is_active: whether something is still to be done for it unasked.
            trim: what to keep of an object, also of the replies to our own writes.
        """
        super().__init__(accepts=accepts)
        self.trim = trim
        self.is_active = is_active
        self.add_index(self._UID, lambda obj: [obj["metadata"]["uid"]])
        self.add_index(self._ACTIVE, lambda obj: [True] if is_active(obj) else [])

    def of_uid(self, uid: str) -> Object | None:
        """Return the object of this uid, or None."""
        found = self.by_index(self._UID, uid)
        return found[0] if found else None

    def active(self) -> list[Object]:
        """Return the objects for which something is still to be done."""
        return self.by_index(self._ACTIVE, True)

    def active_keys(self) -> list[Key]:
        """Return the keys of ``active``."""
        return [key_of(obj) for obj in self.active()]

    def apply(self, event_type: str | None, obj: Object) -> Key | None:
        """As ``Store.apply``, trimmed."""
        return super().apply(event_type, self.trim(obj))


async def _nothing() -> None:
    """Have nothing to close."""


@dataclass(frozen=True, slots=True)
class InstanceKind:
    """One kind of workload on one engine.

    Attributes:
        kind: the API's kind; instances of it bear its name in the label ``weir.dev/kind``.
        engine: what runs its instances.
        store: its objects that are bound to this host.
        queue: their keys that wait for ``reconcile``.
        reconcile: brings one object a step nearer to its spec.
        current: which instance an object has, or will have, on the host that ``status`` names;
            None: none.
        limits: how long an object's instance may live on while the Lease is not renewed.
        output: follows what its instances write; None: it has none.
        breakers: what knows why its work fails through the host's fault, each with its probe.
        close: ends what it has under way in the background.
    """

    kind: Kind
    engine: Engine
    store: InstanceStore
    queue: WorkQueue[Key]
    reconcile: Reconcile
    current: Callable[[Mapping[str, Any]], InstanceID | None]
    limits: Callable[[Mapping[str, Any]], FenceLimits | None]
    output: Collector | None = None
    breakers: tuple[tuple[Breaker, Callable[[], Awaitable[None]]], ...] = ()
    close: Callable[[], Awaitable[None]] = _nothing

    def enqueue_active(self, *, retry_failed: bool) -> None:
        """Have every object reconciled for which something is to be done.

        A key that failed comes again after its back-off, unless what it failed by is over.
        """
        for key in self.store.active_keys():
            if retry_failed or not self.queue.failures(key):
                self.queue.add(key)
