"""What runners said last: kept in memory at once, and in their Leases now and then."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weir_api.hostapi.runners.convert import metrics_in
from weir_crds.names import SYSTEM_NAMESPACE
from weir_crds.times import InvalidTimeError, parse_time
from weir_kube.store import Key, Object, Store


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a runner, with the figures of its machine in its own words."""

    at: dt.datetime
    metrics: Mapping[str, Any]


class Heartbeats:
    """The newest heartbeat of each external host, whether it came here or to another replica.

    One that came here is known here at once; other replicas know it from the host's Lease, which is
    written less often than runners call.
    """

    def __init__(self, leases: Store) -> None:
        """Read these Leases."""
        self._leases = leases
        self._received: dict[str, Heartbeat] = {}
        self._read: dict[str, tuple[Object, Heartbeat | None]] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when a heartbeat has come here."""
        self._listeners.append(listener)

    def of(self, host: str) -> Heartbeat | None:
        """Return the newest heartbeat of a host: the same object until there is another."""
        received, read = self._received.get(host), self._of_lease(host)
        if received is None or read is None:
            return received or read
        return read if read.at > received.at else received

    def note(self, host: str, heartbeat: Heartbeat) -> None:
        """Take one that came here."""
        self._received[host] = heartbeat
        for listener in self._listeners:
            listener()

    def forget(self, host: str) -> None:
        """Forget a host that is gone."""
        self._received.pop(host, None)
        self._read.pop(host, None)

    def _of_lease(self, host: str) -> Heartbeat | None:
        lease = self._leases.get(Key(SYSTEM_NAMESPACE, host))
        if lease is None:
            self._read.pop(host, None)
            return None
        known = self._read.get(host)
        if known is None or known[0] is not lease:
            known = self._read[host] = lease, _heartbeat_in(lease)
        return known[1]


def _heartbeat_in(lease: Object) -> Heartbeat | None:
    renewed = (lease.get("spec") or {}).get("renewTime")
    try:
        return Heartbeat(parse_time(renewed), metrics_in(lease)) if renewed else None
    except InvalidTimeError:
        return None
