"""Blocking calls in threads, with a deadline."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from weir_nodedaemon.engines.blocking import run_blocking
from weir_nodedaemon.engines.port import EngineUnavailableError


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """One thread."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


async def test_results_and_exceptions_pass_through(pool: ThreadPoolExecutor) -> None:
    assert await run_blocking(pool, 5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await run_blocking(pool, 5, lambda: 1 // 0)


async def test_a_timeout_of_the_call_itself_is_not_taken_for_the_deadline(
    pool: ThreadPoolExecutor,
) -> None:
    def fail() -> None:
        raise TimeoutError("the library's own")

    with pytest.raises(TimeoutError, match="own"):
        await run_blocking(pool, 5, fail)


async def test_past_the_deadline_nobody_waits_and_what_has_not_begun_never_runs(
    pool: ThreadPoolExecutor,
) -> None:
    release = threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(run_blocking(pool, 0.1, release.wait))
    second = asyncio.create_task(run_blocking(pool, 0.1, lambda: ran.append("second")))
    for call in (first, second):
        with pytest.raises(EngineUnavailableError):
            await call
    release.set()
    await run_blocking(pool, 5, lambda: ran.append("third"))
    assert ran == ["third"]
