"""Tries at a secret: a few are free, then each failure makes the next one wait longer."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from weir_api.errors import SlowDownError
from weir_crds.errors import WeirError

_LONGEST_SECONDS = 60.0
_FORGOTTEN_SECONDS = 900.0
_MAX_KEYS = 10_000


@dataclass(slots=True)
class _Failures:
    count: int = 0
    blocked_until: float = 0.0
    last: float = 0.0


class Attempt:
    """One try at a secret, whose outcome is told before it is left."""

    def __init__(self) -> None:
        """Nothing is known of it yet."""
        self.succeeded = False


class Throttle:
    """Failures by key, in memory.

    A key names who tries and at what, such as a username and an address: who guesses slows nobody
    else down. Each replica of the facade counts for itself, so n replicas allow n times the tries.
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
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    @contextmanager
    def attempt(self, *key: str) -> Iterator[Attempt]:
        """Make one try; ``succeeded`` forgives all failures of the key, else it is one more.

        It counts from its beginning, so that many at once are counted too. One that ends with an
        error that says nothing about the secret (``WeirError``) does not count.

        Raises:
            SlowDownError: there were too many; says after how long to come again.
        """
        self._begin(key)
        attempt = Attempt()
        try:
            yield attempt
        except WeirError:
            if not attempt.succeeded:
                self._take_back(key)
            raise
        finally:
            if attempt.succeeded:
                self._failures.pop(key, None)

    def _begin(self, key: tuple[str, ...]) -> None:
        now = self._clock()
        failures = self._failures.pop(key, None)
        if failures is None or now - failures.last > _FORGOTTEN_SECONDS:
            failures = _Failures()
        self._failures[key] = failures  # the newest are at the end
        while len(self._failures) > _MAX_KEYS:
            self._failures.popitem(last=False)
        if now < failures.blocked_until:
            error = SlowDownError("too many tries; wait")
            error.retry_after_seconds = failures.blocked_until - now
            raise error
        failures.count += 1
        failures.last = now
        beyond = failures.count - self._free
        if beyond > 0:
            wait = min(2.0 ** min(beyond - 1, 10), _LONGEST_SECONDS)
            failures.blocked_until = now + wait

    def _take_back(self, key: tuple[str, ...]) -> None:
        failures = self._failures.get(key)
        if failures is not None:
            failures.count = max(failures.count - 1, 0)
            failures.blocked_until = 0.0
