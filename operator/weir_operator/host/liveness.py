"""Which hosts live, by our own clock and by what we saw ourselves: clocks of machines differ. Pure.

A host is heard, silent or lost:

- heard: its Lease changed within the Lease's duration, or its daemon said that it is ready;
- silent: its Lease stood still for longer, while we would have seen it change;
- lost: its Ready is Unknown, because we wrote so, or its Host object is gone. From then on counts
  the grace of its Tasks. One that merely says that it is not ready is heard.

Nothing is taken over from the process before us: after a failover every count begins anew.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from weir_crds import conditions
from weir_crds.conditions import UNKNOWN, ConditionType
from weir_crds.facts import is_external
from weir_crds.host import LEASE_SECONDS
from weir_kube.store import Key, Store

CONTACT_SECONDS = 15.0
"""Without a word about any Lease for so long, we may have missed some. Our own Lease alone changes
every four seconds."""
HOLD_SECONDS = 120.0
"""When more than half of the hosts are silent at once, what is broken is more likely between them
and the API server: so long none of them is lost."""
_LARGE_SHARE = 0.5
_FEW_HOSTS = 3
"""Of fewer hosts, more than half is nothing special."""


@dataclass(slots=True)
class _Host:
    """What was seen of one host, in monotonic seconds."""

    heard_at: float
    lease_version: str | None = None
    lost_since: float | None = None


class Liveness:
    """Which hosts are heard, silent, or lost, and since when."""

    def __init__(self, hosts: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Judge by a cache of all Hosts.

        Args:
            hosts: the cache.
            clock: monotonic seconds.
        """
        self._objects = hosts
        self._clock = clock
        self._hosts: dict[str, _Host] = {}
        self._contact_at = self._contact_since = clock()

    def observe_contact(self, age_seconds: float = 0.0) -> None:
        """Note that so long ago the API server told us about Leases."""
        at = self._clock() - age_seconds
        if at - self._contact_at > CONTACT_SECONDS:
            self._contact_since = at
        self._contact_at = max(self._contact_at, at)

    def observe_lease(self, name: str, version: str) -> None:
        """Note the resourceVersion of a host's Lease; empty: there is none."""
        if not version and name not in self._hosts:
            return
        host, now = self._of(name), self._clock()
        known, host.lease_version = host.lease_version, version
        if not version and host.lost_since is None and Key("", name) not in self._objects:
            self.forget(name)  # a Lease of no host
        if version in ("", known):
            return
        host.heard_at = now
        if known is not None and host.lost_since is not None:
            host.lost_since = now + LEASE_SECONDS  # what it runs may go on until this Lease ends

    def observe_host(self, name: str) -> bool:
        """Take what the cache has of a Host; tell whether it is lost now and was not, or is back.

        A daemon that cannot renew its Lease stops what may be taken from it before the Lease's
        duration and the Task's grace are over. So a count begins no earlier than the Lease's end:
        with Ready Unknown that has passed; of a Host that is gone it is waited for.
        """
        host, now = self._of(name), self._clock()
        was_lost = host.lost_since is not None
        found = self._objects.get(Key("", name))
        ready = conditions.of(found, ConditionType.READY) if found else None
        if ready is None:
            since: float | None = now + LEASE_SECONDS
        else:
            since = now if ready["status"] == UNKNOWN else None
        if since is None:
            if was_lost:  # it says so itself, even if its Lease is yet to come by our watch
                host.heard_at = now
            host.lost_since = None
        elif not was_lost:
            host.lost_since = since
        return was_lost != (since is not None)

    def forget(self, name: str) -> None:
        """Drop what is known of a host that is gone, and all that was bound to it too."""
        self._hosts.pop(name, None)

    def __len__(self) -> int:
        """Return of how many hosts, or Leases of none, something is known."""
        return len(self._hosts)

    def silent_seconds(self, name: str) -> float:
        """Return for how long a host's Lease was not seen to change; first: since asked."""
        return self._clock() - self._of(name).heard_at

    def expires_in(self, name: str) -> float:
        """Return in how many seconds a host counts as silent; not positive: it does.

        Time in which we could not have seen its Lease change does not count.
        """
        heard_at = max(self._of(name).heard_at, self._contact_since)
        return LEASE_SECONDS - (self._clock() - heard_at)

    def held_seconds(self, name: str) -> float:
        """Return how long to wait before a silent host may be called lost; 0: it may now."""
        left = HOLD_SECONDS - self.silent_seconds(name)
        if left <= 0:
            return 0.0
        found = self._objects.get(Key("", name))
        kind = found is not None and is_external(found)
        peers = silent = 0
        for peer in self._objects.list():
            if is_external(peer) != kind:
                continue
            host = self._of(peer["metadata"]["name"])
            if host.lost_since is None:
                peers += 1
                silent += self._clock() - host.heard_at >= LEASE_SECONDS
        return left if peers >= _FEW_HOSTS and silent > peers * _LARGE_SHARE else 0.0

    def lost_seconds(self, name: str) -> float | None:
        """Return for how long a host has been lost; None: it is not.

        Negative while its Lease may still hold.
        """
        self.observe_host(name)
        since = self._of(name).lost_since
        return None if since is None else self._clock() - since

    def _of(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(self._clock())
        return host
