"""Since when nothing is heard of a host, by our own clock.

Lost is a host whose Ready is Unknown, or whose Host object is gone. One that merely says that it
is not ready is heard of.
"""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import UNKNOWN, ConditionType
from weir_crds.host import LEASE_SECONDS
from weir_crds.times import parse_time
from weir_kube.store import Key, Store


class LostHosts:
    """Which hosts are lost, and since when.

    A daemon that cannot renew its Lease stops what may be taken from it before the Lease's duration
    and the Task's grace are over. So a count begins no earlier than the Lease's end: with Ready
    Unknown that has passed; of a host that is gone, or whose Lease changed all the same, it is
    waited for.
    """

    def __init__(
        self,
        hosts: Store,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Judge by a cache of all Hosts.

        Args:
            hosts: the cache.
            now: the time, to compare with what the process before us wrote.
            clock: monotonic seconds.
        """
        self._hosts = hosts
        self._now = now
        self._clock = clock
        self._since: dict[str, float] = {}
        self._leases: dict[str, str] = {}

    def observe(self, name: str) -> bool:
        """Take what the cache has of a Host; tell whether it is lost now and was not, or back."""
        host = self._hosts.get(Key("", name))
        known = self._since.get(name)
        since = self._lost_since(host)
        if since is None:
            self._since.pop(name, None)
        elif known is None:
            self._since[name] = since
        return (since is None) != (known is None)

    def heard(self, name: str, lease_version: str) -> None:
        """Take note of a Lease at a resourceVersion: of one that was renewed the count is anew."""
        known = self._leases.get(name)
        self._leases[name] = lease_version
        if known not in (None, lease_version) and name in self._since:
            self._since[name] = self._clock() + LEASE_SECONDS

    def seconds(self, name: str) -> float | None:
        """Return how long a host has been lost, in seconds; None: it is not.

        Negative while its Lease may still hold.
        """
        self.observe(name)
        since = self._since.get(name)
        return None if since is None else self._clock() - since

    def _lost_since(self, host: Mapping[str, Any] | None) -> float | None:
        """Return since when a host would be lost if it was not known to be, or None."""
        clock = self._clock()
        ready = conditions.of(host, ConditionType.READY) if host else None
        if ready is None:
            return clock + LEASE_SECONDS
        if ready["status"] != UNKNOWN:
            return None
        written = parse_time(ready["lastTransitionTime"])
        return clock - max(0.0, (self._now() - written).total_seconds())
