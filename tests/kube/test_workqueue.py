"""The queue: client-go's semantics."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from support.aio import until
from support.virtual_time import in_virtual_time, virtual_clock
from weir_crds.errors import WeirError
from weir_kube.backoff import exponential
from weir_kube.workqueue import Worker, WorkQueue


class BusyError(WeirError):
    reason = "Busy"
    retry_after_seconds = 0.02


class BrokenError(WeirError):
    reason = "Broken"


@asynccontextmanager
async def running(
    queue: WorkQueue[str], worker: Worker[str], workers: int = 1
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(queue.run(worker, workers))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def recorder(seen: list[str]) -> Callable[[str], Awaitable[None]]:
    async def work(key: str) -> None:
        seen.append(key)

    return work


async def test_a_key_that_waits_is_there_once_and_order_is_kept() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    seen: list[str] = []
    for key in ("a", "b", "a", "c", "b"):
        queue.add(key)
    assert len(queue) == 3
    async with running(queue, recorder(seen)):
        await until(lambda: seen == ["a", "b", "c"])
        await asyncio.sleep(0.01)
    assert seen == ["a", "b", "c"]


async def test_a_key_never_runs_twice_at_a_time_and_runs_again_when_added_meanwhile() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    running_now: dict[str, int] = {}
    most: dict[str, int] = {}
    runs: dict[str, int] = {}
    go_on = asyncio.Event()

    async def work(key: str) -> None:
        running_now[key] = running_now.get(key, 0) + 1
        most[key] = max(most.get(key, 0), running_now[key])
        runs[key] = runs.get(key, 0) + 1
        await go_on.wait()
        running_now[key] -= 1

    async with running(queue, work, workers=4):
        queue.add("a")
        queue.add("b")
        await until(lambda: runs == {"a": 1, "b": 1})
        for _ in range(3):
            queue.add("a")
        await asyncio.sleep(0.01)
        assert runs["a"] == 1
        go_on.set()
        await until(lambda: runs == {"a": 2, "b": 1})
        await asyncio.sleep(0.01)
    assert runs == {"a": 2, "b": 1}
    assert most == {"a": 1, "b": 1}


async def test_many_keys_that_wait_for_nothing_let_others_have_the_loop() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    left_at_turns: list[int] = []

    async def look() -> None:
        while len(queue):
            left_at_turns.append(len(queue))
            await asyncio.sleep(0)

    async def work(key: str) -> None:
        time.sleep(0.001)  # noqa: ASYNC251 (busy, as a decision over what is in memory is)

    for number in range(200):
        queue.add(str(number))
    looking = asyncio.create_task(look())
    async with running(queue, work, workers=4):
        await looking
    assert max(before - after for before, after in pairwise(left_at_turns)) < 50


async def test_different_keys_run_side_by_side() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    barrier = asyncio.Barrier(3)
    seen: list[str] = []

    async def work(key: str) -> None:
        await barrier.wait()
        seen.append(key)

    for key in "abc":
        queue.add(key)
    async with running(queue, work, workers=3):
        await until(lambda: sorted(seen) == ["a", "b", "c"])


@pytest.mark.parametrize("again", [0.03, dt.timedelta(milliseconds=30)], ids=["float", "delta"])
async def test_a_returned_delay_adds_the_key_again(again: float | dt.timedelta) -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    times: list[float] = []

    async def work(key: str) -> float | dt.timedelta | None:
        times.append(asyncio.get_running_loop().time())
        return again if len(times) == 1 else None

    async with running(queue, work):
        queue.add("a")
        await until(lambda: len(times) == 2)
    assert times[1] - times[0] >= 0.029


async def test_of_two_delays_the_earlier_counts() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    seen: list[str] = []
    async with running(queue, recorder(seen)):
        queue.add_after("a", 3000)
        queue.add_after("a", 0.02)
        queue.add_after("a", 6000)
        await until(lambda: seen == ["a"])
        queue.add_after("b", 0)
        await until(lambda: seen == ["a", "b"])


async def test_a_weir_error_is_tried_again_when_it_says() -> None:
    queue: WorkQueue[str] = WorkQueue("t", base_backoff=3000)
    failures: list[int] = []

    async def work(key: str) -> None:
        failures.append(queue.failures(key))
        if len(failures) < 4:
            raise BusyError("not yet")

    async with running(queue, work):
        queue.add("a")
        await until(lambda: len(failures) == 4)
        await until(lambda: queue.failures("a") == 0)
    assert failures == [0, 1, 2, 3]


async def test_other_failures_back_off_exponentially_and_success_forgets_them() -> None:
    queue: WorkQueue[str] = WorkQueue("t", base_backoff=0.02, max_backoff=0.05)
    times: list[float] = []

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 4:
            raise BrokenError("no")

    async with running(queue, work):
        queue.add("a")
        await until(lambda: len(times) == 4)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for gap, least in zip(gaps, (0.01, 0.02, 0.025), strict=True):
        assert gap >= least
    assert queue.failures("a") == 0


async def test_an_unexpected_exception_is_logged_with_its_traceback_and_kills_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue: WorkQueue[str] = WorkQueue("t", base_backoff=0.01)
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)
        if seen == ["a"]:
            raise ZeroDivisionError("oops")

    with caplog.at_level(logging.WARNING):
        async with running(queue, work):
            queue.add("a")
            await until(lambda: seen == ["a", "a"])
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_shutdown_finishes_what_waits_and_takes_nothing_more() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    seen: list[str] = []
    started = asyncio.Event()
    go_on = asyncio.Event()

    async def work(key: str) -> None:
        started.set()
        await go_on.wait()
        seen.append(key)

    async with running(queue, work, workers=2) as task:
        for key in "abc":
            queue.add(key)
        queue.add_after("late", 0.01)
        await started.wait()
        queue.add("a")
        queue.shutdown()
        queue.shutdown()
        queue.add("d")
        queue.add_after("e", 0)
        go_on.set()
        async with asyncio.timeout(60):
            await task
    assert sorted(seen) == ["a", "a", "b", "c"]


async def test_shutdown_ends_idle_workers() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    async with running(queue, recorder([]), workers=3) as task:
        await asyncio.sleep(0)
        queue.shutdown()
        async with asyncio.timeout(60):
            await task


async def test_cancelling_ends_the_work_under_way() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with running(queue, work):
        queue.add("a")
        await started.wait()
    assert cancelled.is_set()


async def test_many_keys_added_all_the_time_each_end_processed_after_their_last_add() -> None:
    queue: WorkQueue[int] = WorkQueue("t")
    wanted = dict.fromkeys(range(20), 0)
    done = dict.fromkeys(range(20), -1)

    async def work(key: int) -> None:
        seen = wanted[key]
        await asyncio.sleep(0)
        done[key] = seen

    task = asyncio.create_task(queue.run(work, 5))
    for number in range(2000):
        key = number * 7 % 20
        wanted[key] = number
        queue.add(key)
        if number % 3 == 0:
            await asyncio.sleep(0)
    queue.shutdown()
    await task
    assert done == wanted


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.1, 0.2), (2, 0.2, 0.4), (5, 1.6, 3.2), (5000, 15, 30)]
)
def test_backoff_doubles_up_to_its_limit(failures: int, least: float, most: float) -> None:
    waits = [exponential(failures, 0.2, 30) for _ in range(50)]
    assert least <= min(waits) <= max(waits) <= most
    assert len(set(waits)) > 1


class TakenOverError(WeirError):
    """Somebody else acts under our name."""

    reason = "TakenOver"
    fatal = True


async def test_an_error_that_is_fatal_ends_the_queue_and_every_worker() -> None:
    queue: WorkQueue[str] = WorkQueue("t")
    cut = asyncio.Event()

    async def work(key: str) -> None:
        if key == "taken":
            raise TakenOverError("taken over")
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    queue.add("busy")
    queue.add("taken")
    async with asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as caught:
            await queue.run(work, 2)
    assert caught.group_contains(TakenOverError, match="taken over")
    assert cut.is_set()


@in_virtual_time
async def test_keys_that_fail_slowly_and_for_ever_leave_workers_to_the_others() -> None:
    """Whatever is written for them is not answered before a deadline."""
    queue: WorkQueue[str] = WorkQueue("t", base_backoff=0.1, max_backoff=1.0)
    begun: dict[str, float] = {}
    slow_now = most_slow = 0

    async def work(key: str) -> None:
        nonlocal slow_now, most_slow
        begun[key] = virtual_clock()
        if key.startswith("slow"):
            slow_now += 1
            if virtual_clock() > 1100:
                most_slow = max(most_slow, slow_now)
            await asyncio.sleep(15)
            slow_now -= 1
            raise BrokenError("no answer")

    async with running(queue, work, workers=8):
        for number in range(40):
            queue.add(f"slow{number}")
        await asyncio.sleep(200)
        for number in range(40):
            added = virtual_clock()
            queue.add(f"fast{number}")
            await asyncio.sleep(7)
            assert begun[f"fast{number}"] == added
    assert most_slow == 4
    assert len(begun) == 80
    assert len(queue) + slow_now <= 40


@in_virtual_time
async def test_a_key_that_waits_because_others_failed_too_is_processed_before_the_end() -> None:
    queue: WorkQueue[str] = WorkQueue("t", base_backoff=0.1, max_backoff=0.1)
    tries: dict[str, int] = {}

    async def work(key: str) -> None:
        tries[key] = tries.get(key, 0) + 1
        await asyncio.sleep(1)
        if tries[key] == 1:
            raise BrokenError("once")

    async with running(queue, work, workers=2) as task:
        for key in "abcd":
            queue.add(key)
        await asyncio.sleep(2.5)  # all have failed once
        queue.shutdown()
        await task
    assert tries == dict.fromkeys("abcd", 2)
