"""Finished objects are deleted when their time is up, or when they are too many."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.aio import until
from support.operator_rig import NAMESPACE, OperatorApi, running
from support.tasks import task
from support.virtual_time import in_virtual_time, virtual_clock
from weir_crds.kinds import TASK
from weir_crds.task import RESOURCE
from weir_crds.times import InvalidTimeError, now_rfc3339
from weir_kube.errors import ApiError, ApiUnavailableError, ForbiddenError
from weir_kube.store import Key, Object
from weir_operator.settings import Settings
from weir_operator.sweep import Sweep

START = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
KEY = Key(NAMESPACE, "t")


class Desk:
    """One sweep in virtual time, an hour by default, two to a namespace."""

    def __init__(self) -> None:
        self.api = OperatorApi()
        self._began = virtual_clock()
        assert RESOURCE.lifetime is not None
        self.sweep = Sweep(
            self.api,  # type: ignore[arg-type]
            TASK,
            RESOURCE.lifetime,
            cap=2,
            default_ttl=dt.timedelta(hours=1),
            now=self.now,
            clock=virtual_clock,
        )
        self.clock_error = dt.timedelta()
        """By how much the operator's wall clock is wrong."""

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=virtual_clock() - self._began) + self.clock_error

    def finish(self, name: str = "t", **spec: Any) -> Object:
        """Let a Task be finished now."""
        made = task(name, NAMESPACE, **spec)
        made["status"] = {"finishedAt": now_rfc3339(self.now())}
        made = self.api.put(TASK, made)
        self.sweep.observe(Key(NAMESPACE, name), made)
        return made

    def left(self) -> list[str]:
        return [key.name for key in self.api.objects(TASK)]


@asynccontextmanager
async def sweeping() -> AsyncIterator[Desk]:
    desk = Desk()
    running = asyncio.create_task(desk.sweep.run())
    try:
        yield desk
        assert not running.done()
    finally:
        running.cancel()


@in_virtual_time
async def test_each_goes_at_its_own_time() -> None:
    async with sweeping() as desk:
        desk.finish("slow")
        desk.finish("fast", ttlSecondsAfterFinished=60)
        await asyncio.sleep(59)
        assert desk.left() == ["slow", "fast"]
        await asyncio.sleep(2)
        assert desk.left() == ["slow"]
        await asyncio.sleep(3538)
        assert desk.left() == ["slow"]
        await asyncio.sleep(2)
        assert desk.left() == []
        assert len(desk.sweep) == 0


@in_virtual_time
async def test_one_that_is_not_over_or_gone_is_not_kept_track_of() -> None:
    desk = Desk()
    desk.sweep.observe(KEY, desk.api.put(TASK, task("t", NAMESPACE)))
    assert len(desk.sweep) == 0
    leaving = desk.finish()
    assert len(desk.sweep) == 1
    leaving["metadata"]["deletionTimestamp"] = now_rfc3339(START)
    desk.sweep.observe(KEY, leaving)
    assert len(desk.sweep) == 0
    desk.finish()
    desk.sweep.observe(KEY, None)
    assert len(desk.sweep) == 0


@in_virtual_time
async def test_an_invalid_time_leaves_it_alone() -> None:
    desk = Desk()
    odd = {**desk.api.put(TASK, task("t", NAMESPACE)), "status": {"finishedAt": "yesterday"}}
    with pytest.raises(InvalidTimeError):
        desk.sweep.observe(KEY, odd)


@in_virtual_time
async def test_a_deletion_that_fails_comes_again_a_second_later() -> None:
    async with sweeping() as desk:
        desk.finish(ttlSecondsAfterFinished=10)
        desk.api.refuse = lambda _kind, _key: ApiUnavailableError("away")
        await asyncio.sleep(60)
        assert desk.left() == ["t"]
        desk.api.refuse = lambda _kind, _key: None
        await asyncio.sleep(1.5)
        assert desk.left() == []


@pytest.mark.parametrize(
    "answer", [ForbiddenError("no", status=403), ApiUnavailableError("broken", status=500)]
)
@in_virtual_time
async def test_those_that_cannot_be_deleted_keep_nobody_else(answer: ApiError) -> None:
    async with sweeping() as desk:
        desk.api.refuse = lambda _kind, key: answer if key.name.startswith("bad") else None
        for number in range(20):
            desk.finish(f"bad{number}", ttlSecondsAfterFinished=10)
        desk.finish("good", ttlSecondsAfterFinished=11)
        await asyncio.sleep(60)
        assert "good" not in desk.left()
        assert len(desk.left()) == 20
        desk.api.refuse = lambda _kind, _key: None
        await asyncio.sleep(600)
        assert desk.left() == []


@in_virtual_time
async def test_those_beyond_the_cap_that_are_refused_keep_no_other_namespace() -> None:
    async with sweeping() as desk:
        desk.api.refuse = lambda _kind, key: (
            ForbiddenError("no", status=403) if key.name.startswith("bad") else None
        )
        for number in range(20):
            desk.finish(f"bad{number}")
        for name in ("a", "b", "c"):
            made = task(name, "zoo")
            made["status"] = {"finishedAt": now_rfc3339(desk.now())}
            desk.sweep.observe(Key("zoo", name), desk.api.put(TASK, made))
        await asyncio.sleep(60)
        assert sum(name in "abc" for name in desk.left()) == 2


@in_virtual_time
async def test_another_object_of_that_name_is_not_deleted_in_its_place() -> None:
    async with sweeping() as desk:
        desk.finish(ttlSecondsAfterFinished=10)
        desk.api.remove(TASK, KEY)
        desk.api.put(TASK, task("t", NAMESPACE))
        await asyncio.sleep(60)
        assert desk.left() == ["t"]


@in_virtual_time
async def test_one_that_changed_while_its_deletion_failed_counts_as_it_is_now() -> None:
    async with sweeping() as desk:
        made = desk.finish(ttlSecondsAfterFinished=10)
        desk.api.refuse = lambda _kind, _key: ApiUnavailableError("away")
        await asyncio.sleep(10.1)  # its deletion has just failed
        made["spec"]["ttlSecondsAfterFinished"] = 1000
        desk.sweep.observe(KEY, desk.api.put(TASK, made))
        desk.api.refuse = lambda _kind, _key: None
        await asyncio.sleep(900)
        assert desk.left() == ["t"]
        await asyncio.sleep(100)
        assert desk.left() == []


@in_virtual_time
async def test_one_that_changes_during_its_deletion_is_as_old_as_before() -> None:
    """Whatever the wall clocks say by then."""
    async with sweeping() as desk:
        made = desk.finish(ttlSecondsAfterFinished=10)
        desk.api.is_silent = lambda _key: True
        await asyncio.sleep(10.1)  # its deletion is under way
        desk.clock_error = dt.timedelta(days=-365)
        made["metadata"]["annotations"] = {"touched": "yes"}
        desk.sweep.observe(KEY, desk.api.put(TASK, made))
        desk.api.is_silent = lambda _key: False
        await asyncio.sleep(1)
        assert desk.left() == []


@pytest.mark.parametrize("error", [dt.timedelta(days=365), dt.timedelta(days=-365)])
@pytest.mark.parametrize("is_seen_again", [False, True])
@in_virtual_time
async def test_a_wall_clock_that_is_set_changes_nothing(
    error: dt.timedelta, is_seen_again: bool
) -> None:
    async with sweeping() as desk:
        made = desk.finish()
        desk.finish("other", ttlSecondsAfterFinished=1800)
        await asyncio.sleep(60)
        desk.clock_error = error
        if is_seen_again:
            desk.sweep.observe(KEY, made)
        await asyncio.sleep(1800)
        assert desk.left() == ["t"]
        await asyncio.sleep(1800)
        assert desk.left() == []


@in_virtual_time
async def test_an_end_that_was_seen_to_come_counts_from_then_whatever_the_hosts_clock_says() -> (
    None
):
    async with sweeping() as desk:
        desk.sweep.observe(KEY, desk.api.put(TASK, task("t", NAMESPACE)))
        desk.api.change_status(TASK, KEY, finishedAt="1970-01-01T00:00:00Z")
        desk.sweep.observe(KEY, desk.api.peek(TASK, KEY))
        await asyncio.sleep(3599)
        assert desk.left() == ["t"]
        await asyncio.sleep(2)
        assert desk.left() == []


@pytest.mark.parametrize("end", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
@in_virtual_time
async def test_an_end_from_before_is_no_older_than_the_task_and_no_later_than_now(end: str) -> None:
    async with sweeping() as desk:
        made = task("t", NAMESPACE)
        made["metadata"]["creationTimestamp"] = now_rfc3339(START)
        made["status"] = {"finishedAt": end}
        desk.sweep.observe(KEY, desk.api.put(TASK, made))
        await asyncio.sleep(3599)
        assert desk.left() == ["t"]
        await asyncio.sleep(2)
        assert desk.left() == []


@in_virtual_time
async def test_deletions_that_are_never_answered_keep_nobody_else() -> None:
    async with sweeping() as desk:
        desk.api.is_silent = lambda key: key.name.startswith("bad")
        for number in range(40):
            desk.finish(f"bad{number}", ttlSecondsAfterFinished=10)
        await asyncio.sleep(300)
        for number in range(40):
            desk.finish(f"good{number}", ttlSecondsAfterFinished=0)
            await asyncio.sleep(1)
            assert f"good{number}" not in desk.left()
        assert len(desk.left()) == 40
        desk.api.is_silent = lambda _key: False
        await asyncio.sleep(60)
        assert desk.left() == []


# --- the whole operator


class TestInTheOperator:
    @staticmethod
    def finished(name: str, age: float, **spec: Any) -> Object:
        made = task(name, NAMESPACE, **spec)
        ended = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
        made["status"] = {"finishedAt": now_rfc3339(ended)}
        return made

    @staticmethod
    def left(api: OperatorApi, *names: str) -> list[str]:
        return [name for name in names if api.peek(TASK, Key(NAMESPACE, name)) is not None]

    async def until_left(self, api: OperatorApi, all_names: str, expected: str) -> None:
        await until(
            lambda: self.left(api, *all_names.split()) == expected.split(),
            f"left: {expected}",
        )

    async def test_old_ones_go_each_at_its_time(self) -> None:
        api = OperatorApi()
        api.put(TASK, self.finished("old", 7200))
        api.put(TASK, self.finished("new", 10))
        api.put(TASK, self.finished("short", 10, ttlSecondsAfterFinished=10))
        api.put(TASK, self.finished("soon", 0, ttlSecondsAfterFinished=1))
        api.put(TASK, self.finished("kept", 7200, ttlSecondsAfterFinished=10_000))
        settings = Settings(ttl_after_finished=dt.timedelta(hours=1))
        async with running(api, settings) as rig:
            await self.until_left(api, "old new short kept", "new kept")
            await self.until_left(api, "soon", "")
            rig.change("new", ttlSecondsAfterFinished=0)
            await self.until_left(api, "new kept", "kept")

    async def test_too_many_go_oldest_first(self) -> None:
        api = OperatorApi()
        for number in range(6):
            api.put(TASK, self.finished(f"t{number}", 100 - number))
        async with running(api, Settings(finished_tasks_per_namespace=2)) as rig:
            await self.until_left(api, "t0 t1 t2 t3 t4 t5", "t4 t5")
            rig.add_task("t6", desiredState="Killed")
            await self.until_left(api, "t4 t5 t6", "t5 t6")

    async def test_a_deletion_that_fails_comes_again(self) -> None:
        api = OperatorApi()
        failing: Callable[..., ApiUnavailableError | None] = iter(
            [ApiUnavailableError("away")] * 2 + [None] * 9
        ).__next__
        api.refuse = lambda _kind, _key: failing()
        api.put(TASK, self.finished("t", 7200, ttlSecondsAfterFinished=1))
        async with running(api):
            await self.until_left(api, "t", "")
