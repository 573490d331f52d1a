"""The requests that come and go: how many are being answered, a line and a metric for each."""

import asyncio
import logging
import time
from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

logger = logging.getLogger("weir_api.access")

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

_REQUESTS = Counter(
    "weir_http_requests",
    "Requests of clients, by route template; code 499: the client went away.",
    ["family", "method", "route", "code"],
)
_SECONDS = Histogram(
    "weir_http_request_seconds",
    "Seconds from a request's headers to the end of its answer.",
    ["family", "method", "route"],
    buckets=_BUCKETS,
)
_UNDER_WAY = Gauge("weir_http_requests_under_way", "Requests that are being answered.", ["family"])

# Made-up methods must not become labels of their own.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class UnderWay:
    """Counts the requests of a family; once it ``ends``, connections close with their answer."""

    def __init__(self, family: str) -> None:
        """Nothing is under way."""
        self.ends = False
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()
        _UNDER_WAY.labels(family).set_function(lambda: self.count)

    def enter(self) -> None:
        """A request has come."""
        self.count += 1
        self._none.clear()

    def leave(self) -> None:
        """Its answer has been made, and sent if it streams."""
        self.count -= 1
        if not self.count:
            self._none.set()

    async def drain(self, seconds: float) -> bool:
        """Let requests under way end; False when some are left after so many seconds."""
        self.ends = True
        try:
            async with asyncio.timeout(seconds):
                await self._none.wait()
        except TimeoutError:
            return False
        return True


def measure(family: str, method: str, route: str, code: int, seconds: float) -> None:
    """Count a request that is over."""
    known = method if method in _METHODS else "other"
    _count(family, known, route, code).inc()
    _seconds(family, known, route).observe(seconds)


@lru_cache(maxsize=4096)  # looking labels up each time would be slow
def _count(family: str, method: str, route: str, code: int) -> Counter:
    return _REQUESTS.labels(family, method, route, code)


@lru_cache(maxsize=1024)
def _seconds(family: str, method: str, route: str) -> Histogram:
    return _SECONDS.labels(family, method, route)


_EVERY_SECONDS = 0.05
_FORMAT = "%s %s %d %.1fms user=%s id=%s"

Line = tuple[str, str, int, float, str, str]
"""Method, route, status, milliseconds, user, request id."""


class AccessLog:
    """Who did what, how it ended, how long it took; never queries, bodies or headers.

    Lines are written some at a time, which costs a third of what each of them alone would.
    """

    def __init__(self) -> None:
        """Write nothing yet."""
        self._lines: list[tuple[float, Line]] = []

    def note(self, line: Line) -> None:
        """Take a line."""
        if not logger.isEnabledFor(logging.INFO):
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(_EVERY_SECONDS, self.flush)
        self._lines.append((time.time(), line))

    def flush(self) -> None:
        """Write what was collected; idempotent."""
        lines, self._lines = self._lines, []
        for created, line in lines:
            # Not by ``info``, which looks through the stack for who calls: here it is always we.
            record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, _FORMAT, line, None)
            record.created = created
            logger.handle(record)
