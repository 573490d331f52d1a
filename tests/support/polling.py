"""Wait for the world with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T],
    what: str | Callable[[], str] = "the condition",
    timeout: float = 60,
    every: float = 0.05,
) -> T:
    """Return the first true result of ``look``; an AssertionError in it counts as not yet.

    Args:
        what: what is waited for, or a function that says so when the time is over.
    """
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
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {timeout:.0f} s: {said}") from missing
        time.sleep(every)
