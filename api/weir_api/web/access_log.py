"""The access log: who did what, how it ended, how long it took; never queries, bodies or headers.

Lines are written some at a time, which costs a third of what each of them alone would.
"""

import asyncio
import logging
import time

logger = logging.getLogger("weir_api.access")

_EVERY_SECONDS = 0.05
_FORMAT = "%s %s %d %.1fms user=%s id=%s"

Line = tuple[str, str, int, float, str, str]
"""Method, route, status, milliseconds, user, request id."""


class AccessLog:
    """Collects lines, and writes them soon."""

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
