"""Stops a sick host from eating the queue: after failures that are its own it takes no new work.

Each such failure is tried again, so nothing is lost by it; but a host on which nothing starts looks
idle, and would be given one Task after the other. It takes work again when a start succeeds: one
that is tried again, or the breaker's own probe.
"""

import logging
import time
from collections.abc import Awaitable, Callable

from weir_crds.errors import WeirError

logger = logging.getLogger(__name__)

_FAILURES = 3
_WITHIN_SECONDS = 600.0
_PROBE_SECONDS = 30.0


class Breaker:
    """Counts starts that failed through no fault of their Tasks'."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        failures: int = _FAILURES,
        within_seconds: float = _WITHIN_SECONDS,
        probe_seconds: float = _PROBE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin closed: starts succeed.

        Args:
            on_change: called when ``trouble`` has changed.
            failures: of so many different runs in a row, it opens.
            within_seconds: how old the first of them may be.
            probe_seconds: the least time between two probes.
            clock: seconds that only go forward.
        """
        self.on_change = on_change
        self.trouble = ""
        """Why the last starts failed; empty: starts succeed, for all that is known."""
        self._needed = failures
        self._within_seconds = within_seconds
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._failed: dict[str, float] = {}
        self._probed_at = float("-inf")

    def failed(self, what: str, message: str) -> None:
        """Take note of a failure of the host.

        Args:
            what: a run or an image: one that fails again and again counts once.
            message: why.
        """
        now = self._clock()
        self._failed[what] = now
        for old in [w for w, at in self._failed.items() if now - at > self._within_seconds]:
            del self._failed[old]
        # Each further one may have words of its own, and each write wakes all who watch hosts: from
        # here on the probe says why.
        if len(self._failed) >= self._needed and not self.trouble:
            logger.error("no new work is taken, as starts fail: %s", message)
            self._probed_at = now
            self._set(message)

    def succeeded(self) -> None:
        """Take note that a container was started."""
        self._failed.clear()
        if self.trouble:
            logger.info("starts succeed again")
            self._set("")

    async def probe(self, start: Callable[[], Awaitable[None]]) -> None:
        """Try a start, if it is time to; nothing while starts succeed.

        Args:
            start: starts and removes a container; raises WeirError when it cannot.
        """
        now = self._clock()
        if not self.trouble or now - self._probed_at < self._probe_seconds:
            return
        self._probed_at = now
        try:
            await start()
        except WeirError as exc:
            logger.warning("starts still fail: %s", exc)
            if self.trouble:
                self._set(str(exc))
        else:
            self.succeeded()

    def _set(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.on_change()
