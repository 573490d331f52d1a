"""Tries at a secret: a few are free, then each failure makes the next one wait longer."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from weir_api.errors import SlowDownError

_LONGEST_SECONDS = 60.0
_FORGOTTEN_SECONDS = 900.0
_MAX_KEYS = 10_000


@dataclass(slots=True)
class _Tries:
    failures: int = 0
    blocked_until: float = 0.0
    last: float = 0.0


class Throttle:
    """Failures by key, such as a username or an address, in memory.

    Each replica of the facade counts for itself, so n replicas allow n times the tries.
    """

    def __init__(self, *, free: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Know of no failure.

        Args:
            free: how many failures cost nothing; the next makes wait for a second, each further
                one for twice as long, up to a minute. A quarter of an hour without a try forgives.
            clock: seconds.
        """
        self._free = free
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def begin(self, key: str) -> None:
        """Count a try as failed before it is made, so that many at once are counted too.

        Raises:
            SlowDownError: there were too many; says after how long to come again.
        """
        now = self._clock()
        tries = self._tries.pop(key, None)
        if tries is None or now - tries.last > _FORGOTTEN_SECONDS:
            tries = _Tries()
        self._tries[key] = tries  # the newest are at the end
        while len(self._tries) > _MAX_KEYS:
            self._tries.popitem(last=False)
        if now < tries.blocked_until:
            error = SlowDownError("too many tries; wait")
            error.retry_after_seconds = tries.blocked_until - now
            raise error
        tries.failures += 1
        tries.last = now
        beyond = tries.failures - self._free
        if beyond > 0:
            wait = min(2.0 ** min(beyond - 1, 10), _LONGEST_SECONDS)
            tries.blocked_until = now + wait

    def take_back(self, key: str) -> None:
        """The try did not fail: it counts as not made, earlier failures stay."""
        tries = self._tries.get(key)
        if tries is not None:
            tries.failures = max(tries.failures - 1, 0)
            tries.blocked_until = 0.0

    def forgive(self, key: str) -> None:
        """Forget all failures of a key."""
        self._tries.pop(key, None)


def peer_key(address: str | None) -> str:
    """Return what a peer is counted under: its IPv4 address, or its IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
    return str(found)
