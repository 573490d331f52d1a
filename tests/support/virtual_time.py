"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do.

An hour of back-offs takes milliseconds, and the same each time. For code that waits by asyncio and
reads ``loop.time`` (``clock=virtual_clock``); real I/O would never get its turn.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class _NoWaiting(selectors.DefaultSelector):
    """Turns the time that would be waited into time that has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 1000.0  # no code may take the clock's zero for a time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise AssertionError("everything waits, and no timer is set")
        self.elapsed += max(timeout, 0.0)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps."""

    def __init__(self) -> None:
        self._waits = _NoWaiting()
        super().__init__(self._waits)

    def time(self) -> float:
        """Return the virtual seconds."""
        return self._waits.elapsed


def virtual_clock() -> float:
    """Return the running loop's time: a clock to inject."""
    return asyncio.get_running_loop().time()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own that never sleeps."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
