"""Run a blocking call in a thread, and wait for it no longer than its deadline."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from weir_nodedaemon.engines.port import EngineUnavailableError

T = TypeVar("T")


async def run_blocking(pool: ThreadPoolExecutor, deadline_seconds: float, fn: Callable[[], T]) -> T:
    """Return what ``fn`` returns; its exceptions pass through.

    A call that still waits for a thread at the deadline never runs. One that runs cannot be
    stopped: it may still take effect, so the library's own timeout has to be shorter.

    Raises:
        EngineUnavailableError: the deadline passed.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, fn)
    try:
        async with asyncio.timeout(deadline_seconds) as deadline:
            return await future
    except TimeoutError as exc:
        if not deadline.expired():
            raise
        raise EngineUnavailableError(f"no answer within {deadline_seconds:g} s") from exc
