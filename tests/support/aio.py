"""Wait for the world with a deadline, in a test that is a coroutine."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(
    look: Callable[[], T], what: str = "the condition", timeout: float = 60, every: float = 0.01
) -> T:
    """Return the first true result of ``look``."""

    async def looked() -> T:
        return look()

    return await until_async(looked, what, timeout, every)


async def until_async(
    look: Callable[[], Awaitable[T]],
    what: str = "the condition",
    timeout: float = 60,
    every: float = 0.01,
) -> T:
    """Return the first true result of awaiting ``look``."""
    deadline = time.monotonic() + timeout
    while True:
        seen = await look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}")
        await asyncio.sleep(every)
