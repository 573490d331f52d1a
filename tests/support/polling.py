"""Wait for the world with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T], what: str = "the condition", timeout: float = 30, every: float = 0.05
) -> T:
    """Return the first true result of ``look``; an AssertionError in it counts as not yet."""
    deadline = time.monotonic() + timeout
    while True:
        missing: AssertionError | None = None
        try:
            seen = look()
            if seen:
                return seen
        except AssertionError as exc:
            missing = exc
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}") from missing
        time.sleep(every)
