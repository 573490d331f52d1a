"""Progress for a person: short lines on stderr, each with the time since the start."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_started = time.monotonic()


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"[{time.monotonic() - _started:6.1f}s] {text}", file=sys.stderr, flush=True)


class Ticker:
    """Repeats a changing line: in place on a terminal, else at most every ``period`` seconds."""

    def __init__(self, period_seconds: float = 10.0) -> None:
        """Show nothing yet."""
        self._in_place = sys.stderr.isatty()
        self._period = 0.2 if self._in_place else period_seconds
        self._last = time.monotonic()
        self._open = False

    def show(self, text: str) -> None:
        """Show the line if its time has come."""
        if time.monotonic() - self._last < self._period:
            return
        self._last = time.monotonic()
        if self._in_place:
            print(f"\r\033[K         {text[:100]}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            say(f"  {text}")

    def close(self) -> None:
        """End a line that was shown in place."""
        if self._open:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._open = False


@contextmanager
def ticker(period_seconds: float = 10.0) -> Iterator[Ticker]:
    """A Ticker that leaves the terminal clean."""
    shown = Ticker(period_seconds)
    try:
        yield shown
    finally:
        shown.close()
