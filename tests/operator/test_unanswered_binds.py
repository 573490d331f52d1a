"""Binds that the API server does not answer: they stay few, and keep nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.scheduling_rig import SchedulingRig
from support.virtual_time import in_virtual_time
from weir_kube.errors import ApiUnavailableError
from weir_kube.transport import DEADLINE_SECONDS
from weir_operator.scheduling.binder import BINDS_AT_ONCE, UNANSWERED_AT_MOST

LONG = 600.0


@asynccontextmanager
async def scheduling(cores: int = 1000) -> AsyncIterator[SchedulingRig]:
    rig = SchedulingRig()
    rig.add_host("n1", cores=cores)
    running = asyncio.create_task(rig.scheduler.run())
    try:
        yield rig
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def is_bound(rig: SchedulingRig, name: str) -> bool:
    return "nodeName" in rig.live[name]["status"]


def is_bad(name: str) -> bool:
    return name.startswith("bad")


@pytest.mark.parametrize("fault", ["silent", "away"])
@in_virtual_time
async def test_they_are_few_however_many_wait_and_however_long(fault: str) -> None:
    async with scheduling() as rig:
        if fault == "silent":
            rig.is_silent = is_bad
        else:
            rig.refuse = lambda name: ApiUnavailableError("away") if is_bad(name) else None
        for number in range(400):
            rig.add_task(f"bad{number}", owner=str(number % 3))
        await asyncio.sleep(LONG)
        held = rig.scheduler.ledger.hosts["n1"].holdings
        assert BINDS_AT_ONCE < len(held) <= UNANSWERED_AT_MOST + BINDS_AT_ONCE + 3
        rig.is_silent, rig.refuse = lambda _name: False, lambda _name: None
        await asyncio.sleep(60)
        assert all(is_bound(rig, f"bad{number}") for number in range(400))


@pytest.mark.parametrize("count", [BINDS_AT_ONCE, UNANSWERED_AT_MOST - 1])
@in_virtual_time
async def test_they_keep_no_other_of_their_owner(count: int) -> None:
    async with scheduling() as rig:
        rig.is_silent = is_bad
        for number in range(count):
            rig.add_task(f"bad{number}", priority=10)
        rig.add_task("good")
        await asyncio.sleep(DEADLINE_SECONDS)
        assert is_bound(rig, "good")
        rig.add_task("later")
        await asyncio.sleep(DEADLINE_SECONDS)
        assert is_bound(rig, "later")


@pytest.mark.parametrize("fault", ["silent", "away"])
@in_virtual_time
async def test_any_number_of_them_keeps_no_other_owner(fault: str) -> None:
    async with scheduling() as rig:
        if fault == "silent":
            rig.is_silent = is_bad
        else:
            rig.refuse = lambda name: ApiUnavailableError("away") if is_bad(name) else None
        for number in range(400):
            rig.add_task(f"bad{number}", priority=10, owner="bad")
        for number in range(100):
            rig.add_task(f"good{number}", owner="good")
        await asyncio.sleep(DEADLINE_SECONDS + 1)
        assert all(is_bound(rig, f"good{number}") for number in range(100))


@in_virtual_time
async def test_others_go_on_at_once_when_the_answer_is_an_error() -> None:
    async with scheduling() as rig:
        rig.refuse = lambda name: ApiUnavailableError("away") if is_bad(name) else None
        for number in range(BINDS_AT_ONCE):
            rig.add_task(f"bad{number}", priority=10)
        rig.add_task("good")
        await asyncio.sleep(0.5)
        assert is_bound(rig, "good")


@pytest.mark.parametrize("is_drained", [False, True], ids=["refused before", "drained for"])
@in_virtual_time
async def test_room_that_came_meanwhile_is_used_when_they_are_answered(is_drained: bool) -> None:
    async with scheduling() as rig:
        rig.add_host("n2", cores=2)
        rig.occupy("n2", 0, 1)
        rig.add_task("waits", cpu=2, host="n2", priority=100)
        await asyncio.sleep(0.1)
        if is_drained:
            rig.seconds += 1000
            await asyncio.sleep(2)
            assert rig.scheduler.drain is not None
        rig.is_silent = lambda _name: True
        for number in range(2 * UNANSWERED_AT_MOST):
            rig.add_task(f"t{number}", host="n1")
        await asyncio.sleep(3 * DEADLINE_SECONDS)
        rig.vacate("n2", 0)
        rig.vacate("n2", 1)
        await asyncio.sleep(LONG)
        assert rig.host_of("waits") is None
        rig.is_silent = lambda _name: False
        await asyncio.sleep(60)
        assert is_bound(rig, "waits")
