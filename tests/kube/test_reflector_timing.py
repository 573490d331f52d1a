"""When a Reflector lists, watches and waits: on a scripted API, in virtual time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.scripted_api import ScriptedApi, bookmark, config_map, event
from support.virtual_time import in_virtual_time, virtual_clock
from weir_kube.api import ObjectList
from weir_kube.errors import ApiError, ApiUnavailableError, GoneError
from weir_kube.kinds import CONFIGMAP
from weir_kube.reflector import Reflector
from weir_kube.store import Key


@asynccontextmanager
async def running(api: ScriptedApi, **more: Any) -> AsyncIterator[Reflector]:
    reflector = Reflector(
        api,  # type: ignore[arg-type]
        CONFIGMAP,
        clock=virtual_clock,
        **more,
    )
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def names(reflector: Reflector) -> set[str]:
    return {obj["metadata"]["name"] for obj in reflector.store.list()}


@in_virtual_time
async def test_lists_that_fail_wait_longer_each_time_up_to_half_a_minute() -> None:
    api = ScriptedApi()
    api.lists = [ApiUnavailableError("away")] * 14
    async with running(api) as reflector:
        async with asyncio.timeout(1000):
            await reflector.synced()
    waited = gaps(api.times("list"))
    for attempt, seconds in enumerate(waited):
        most = min(0.1 * 2**attempt, 30.0)
        away = min((api.asked[attempt][0] - api.asked[0][0]) / 10, 30.0)
        assert most / 2 <= seconds <= max(most, away), (attempt, waited)
    assert max(waited) > 14


@in_virtual_time
async def test_a_watch_that_cannot_be_opened_is_tried_every_two_seconds_at_least() -> None:
    api = ScriptedApi()
    api.watches = [ApiUnavailableError("away")] * 30
    async with running(api) as reflector:
        await asyncio.sleep(60)
        assert reflector.is_watching
    waited = gaps(api.times("watch"))[:29]
    assert max(waited) <= 2.0
    assert min(waited[8:]) >= 1.0
    assert len(api.times("list")) == 1


@in_virtual_time
async def test_after_an_absence_the_lists_of_many_are_spread() -> None:
    """They all see the same end of the watch, and the same 410 when the API server is back."""
    listed: list[float] = []
    for _ in range(60):
        api = ScriptedApi()
        api.watches = [ApiUnavailableError("away")] * 90
        api.watches.append(GoneError("too old"))
        async with running(api):
            began = virtual_clock()
            await asyncio.sleep(200)
            gone = api.times("watch")[90]
            assert gone - began > 90
            listed.append(api.times("list")[1] - gone)
    assert max(listed) - min(listed) > 5
    assert max(listed) < 20


@in_virtual_time
async def test_what_the_watch_tells_of_our_own_write_is_not_worked_through_once_more() -> None:
    """Its reply has been taken in; what is newer, or gone, is."""
    kept: list[str] = []

    def keep(obj: dict[str, Any]) -> dict[str, Any]:
        kept.append(obj["metadata"]["resourceVersion"])
        return obj

    api = ScriptedApi()
    api.lists = [ObjectList([], "5")]
    api.watches = [
        [1.0, event("ADDED", "a", 6), event("MODIFIED", "a", 7), 1.0, event("DELETED", "a", 7)]
    ]
    async with running(api, transform=keep) as reflector:
        await reflector.synced()
        reflector.store.apply("MODIFIED", config_map("a", 6))
        await asyncio.sleep(1.5)
        assert kept == ["7"]
        assert names(reflector) == {"a"}
        await asyncio.sleep(1)
        assert names(reflector) == set()


@in_virtual_time
async def test_a_watch_that_is_too_old_is_followed_by_a_list_soon() -> None:
    api = ScriptedApi()
    api.lists = [ObjectList([config_map("a", 3)], "5"), ObjectList([config_map("b", 8)], "9")]
    api.watches = [[event("ADDED", "c", 6), 1.0, GoneError("too old")]]
    changed: list[str] = []
    async with running(api, on_change=lambda key: changed.append(key.name)) as reflector:
        await asyncio.sleep(3)
        assert names(reflector) == {"b"}
    assert [asked for _, asked in api.asked] == ["list", "watch 5", "list", "watch 9"]
    assert sorted(changed) == ["a", "a", "b", "c", "c"]
    assert gaps([at for at, _ in api.asked])[1] < 1.3


@in_virtual_time
async def test_a_watch_goes_on_from_the_last_event_or_bookmark() -> None:
    api = ScriptedApi()
    api.lists = [ObjectList([], "5")]
    api.watches = [[event("ADDED", "a", 7), 2.0], [bookmark(12), 2.0, ApiUnavailableError("cut")]]
    async with running(api):
        await asyncio.sleep(10)
    assert [asked for _, asked in api.asked][:4] == ["list", "watch 5", "watch 7", "watch 12"]


@in_virtual_time
async def test_the_end_of_a_watch_is_followed_by_a_list_when_the_last_one_is_old() -> None:
    """A quarter of an hour, give or take a fifth: not all daemons at once."""
    ages = []
    for _ in range(20):
        api = ScriptedApi()
        api.watches = [[bookmark(2 + minute), 60.0] for minute in range(40)]
        async with running(api):
            await asyncio.sleep(1500)
        ages.append(gaps(api.times("list"))[0])
    assert all(720 <= age <= 1080 + 60 for age in ages)
    assert len(set(ages)) > 2


@in_virtual_time
async def test_a_silent_watch_is_followed_by_a_list() -> None:
    """Such as one from a version that is yet to come, after etcd was restored from a backup."""
    api = ScriptedApi()
    api.lists = [
        ObjectList([config_map("new", 900)], "1000"),
        ObjectList([config_map("old", 7)], "50"),
    ]
    async with running(api) as reflector:
        await asyncio.sleep(100)
        assert names(reflector) == {"new"}
        await asyncio.sleep(100)
        assert names(reflector) == {"old"}
    assert [asked for _, asked in api.asked] == ["list", "watch 1000", "list", "watch 50"]


@in_virtual_time
async def test_a_watch_that_goes_back_is_followed_by_a_list() -> None:
    api = ScriptedApi()
    api.lists = [ObjectList([config_map("a", 900)], "1000"), ObjectList([config_map("a", 7)], "50")]
    api.watches = [[1.0, bookmark(49)], [event("ADDED", "b", 51), 100.0]]
    async with running(api) as reflector:
        await asyncio.sleep(20)
        assert names(reflector) == {"a", "b"}
        found = reflector.store.get(Key("ns", "a"))
        assert found is not None
        assert found["metadata"]["resourceVersion"] == "7"


@in_virtual_time
async def test_a_server_that_hangs_up_at_once_is_not_stormed() -> None:
    api = ScriptedApi()
    api.watches = [[] for _ in range(100)]
    async with running(api):
        await asyncio.sleep(60)
    assert 30 <= len(api.times("watch")) < 60
    assert len(api.times("list")) == 1


@in_virtual_time
async def test_a_watch_that_lasted_ends_the_back_off() -> None:
    api = ScriptedApi()
    api.watches = [*[ApiUnavailableError("away")] * 10, [5.0], ApiUnavailableError("away")]
    async with running(api):
        await asyncio.sleep(60)
    assert gaps(api.times("watch"))[11] <= 0.1


@in_virtual_time
async def test_a_recovery_is_told_once_a_watch_is_open_after_failures() -> None:
    api = ScriptedApi()
    api.watches = [[5.0], [5.0, ApiUnavailableError("cut")], *[ApiUnavailableError("away")] * 4]
    told: list[tuple[float, bool]] = []

    def recovered() -> None:
        told.append((virtual_clock(), reflector.is_watching))

    async with running(api, on_recovery=recovered) as reflector:
        await asyncio.sleep(9.9)
        assert not told  # a first watch, and one that follows a watch's usual end
        await asyncio.sleep(60)
    assert told == [(api.times("watch")[6], True)]


@in_virtual_time
async def test_the_server_may_ask_for_a_longer_wait() -> None:
    api = ScriptedApi()
    api.watches = [ApiError("slow down", status=429, retry_after_seconds=17.0)]
    async with running(api):
        await asyncio.sleep(30)
    assert gaps(api.times("watch"))[0] == pytest.approx(17.0)


@in_virtual_time
async def test_contact_is_what_the_server_told_last() -> None:
    api = ScriptedApi()
    api.watches = [
        [4.0, bookmark(3), 3.0, *[ApiUnavailableError("cut")]],
        ApiUnavailableError("away"),
    ]
    async with running(api) as reflector:
        await asyncio.sleep(3.9)
        assert reflector.contact_age_seconds == pytest.approx(3.9, abs=0.01)
        assert reflector.is_watching
        await asyncio.sleep(3.0)
        assert reflector.contact_age_seconds == pytest.approx(2.9, abs=0.01)
        await asyncio.sleep(0.12)
        assert not reflector.is_watching
        assert reflector.contact_age_seconds > 3.0
