"""What kopf shows and does not show becomes what a Reflector would show: on a scripted API."""

import asyncio
import inspect
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from kopf._cogs.clients import api as kopf_api

from support.scripted_api import ScriptedApi, config_map
from support.virtual_time import in_virtual_time, virtual_clock
from weir_kube.api import ObjectList
from weir_kube.errors import ApiUnavailableError
from weir_kube.kinds import CONFIGMAP
from weir_kube.store import Key, Object, Store
from weir_operator.kopf_source import (
    EndlessBackoffs,
    HistoryWentBackError,
    KopfReflector,
    WatchTap,
)


def uid_map(name: str, version: int) -> Object:
    obj = config_map(name, version)
    obj["metadata"]["uid"] = f"uid of {name}"
    return obj


class Followed:
    """One kind, with a test in the place of kopf."""

    def __init__(self) -> None:
        self.api = ScriptedApi()
        self.store = Store()
        self.changed: list[str] = []
        self.reflector = KopfReflector(
            self.api,  # type: ignore[arg-type]
            CONFIGMAP,
            self.store,
            self._changed,
            lambda obj: obj,
            clock=virtual_clock,
        )

    def _changed(self, key: Key) -> None:
        self.changed.append(key.name)
        if key.name == "odd":
            raise ZeroDivisionError

    def names(self) -> set[str]:
        return {obj["metadata"]["name"] for obj in self.store.list()}

    @property
    def lists(self) -> int:
        return len(self.api.times("list"))


@asynccontextmanager
async def followed(*names: str) -> AsyncIterator[Followed]:
    """Follow a kind of which these objects are there at first."""
    it = Followed()
    it.api.lists = [ObjectList([config_map(name, 3) for name in names], "5")]
    await it.reflector.fill()
    it.changed.clear()
    relisting = asyncio.create_task(it.reflector.relist())
    try:
        yield it
    finally:
        relisting.cancel()
        await asyncio.gather(relisting, return_exceptions=True)


@in_virtual_time
async def test_it_is_synced_when_a_full_list_of_ours_is_in_the_store() -> None:
    it = Followed()
    it.api.lists = [ApiUnavailableError("away")] * 5
    filling = asyncio.create_task(it.reflector.fill())
    await asyncio.sleep(4.5)
    assert not it.reflector.is_watching
    await it.reflector.synced()
    assert filling.done() or not await filling
    assert it.store.has_synced
    assert it.lists == 6


@in_virtual_time
async def test_events_go_into_the_store_and_are_told_once() -> None:
    async with followed("a") as it:
        it.reflector.take("ADDED", config_map("b", 6))
        it.reflector.take("MODIFIED", config_map("b", 6))
        it.reflector.take("DELETED", config_map("a", 7))
        it.reflector.take("MODIFIED", config_map("odd", 8))
        assert it.names() == {"b", "odd"}
        assert it.changed == ["b", "a", "odd"]
        await asyncio.sleep(10)
        assert it.lists == 1
        assert it.reflector.contact_age_seconds == pytest.approx(10)


@in_virtual_time
async def test_a_list_of_kopfs_is_followed_by_one_that_tells_what_is_gone() -> None:
    async with followed("gone", "kept") as it:
        it.api.lists = [ObjectList([config_map("kept", 3)], "9")]
        it.reflector.take(None, uid_map("kept", 3))
        await asyncio.sleep(1.1)
        assert it.names() == {"kept"}
        assert it.changed == ["gone"]


@in_virtual_time
async def test_a_burst_of_them_is_followed_by_one_list() -> None:
    async with followed() as it:
        for number in range(50):
            it.reflector.take(None, uid_map(f"c{number}", 6))
            await asyncio.sleep(0.1)
        assert it.lists == 1
        await asyncio.sleep(2)
        assert it.lists == 2


@in_virtual_time
async def test_a_burst_without_end_does_not_keep_it_from_listing() -> None:
    async with followed() as it:
        for number in range(400):
            it.reflector.take(None, uid_map("c", 6 + number))
            await asyncio.sleep(0.1)
        assert 2 <= it.lists <= 5


@in_virtual_time
async def test_now_and_then_it_lists_without_being_asked() -> None:
    async with followed() as it:
        await asyncio.sleep(3600)
        times = it.api.times("list")
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert all(240 <= wait <= 360.1 for wait in waits)
    assert len(set(waits)) > 3


@in_virtual_time
async def test_a_list_that_fails_is_made_again() -> None:
    async with followed("gone") as it:
        it.api.lists = [ApiUnavailableError("away")] * 3 + [ObjectList([], "9")]
        it.reflector.take(None, uid_map("gone", 3))
        await asyncio.sleep(6)
        assert it.names() == set()
        assert it.lists == 5


@in_virtual_time
async def test_when_history_went_back_it_ends() -> None:
    """kopf would wait for versions that are yet to come; a new process does not."""
    it = Followed()
    it.api.lists = [ObjectList([config_map("a", 900)], "1000"), ObjectList([], "50")]
    await it.reflector.fill()
    it.reflector.take(None, uid_map("a", 900))
    with pytest.raises(HistoryWentBackError):
        await it.reflector.relist()


def line(type: str, name: str, version: int) -> bytes:
    return json.dumps({"type": type, "object": uid_map(name, version)}).encode()


def shown(answer: bytes) -> list[tuple[str, str]]:
    events = [json.loads(one) for one in answer.splitlines()]
    return [(one["type"], one["object"]["metadata"]["resourceVersion"]) for one in events]


@in_virtual_time
async def test_events_are_taken_off_the_watch_and_kopf_sees_how_far_it_came() -> None:
    async with followed() as it:
        answer = it.reflector.take_lines(
            [line("ADDED", "a", 6), line("MODIFIED", "a", 7), b"", line("ADDED", "b", 8)]
        )
        assert it.names() == {"a", "b"}
        assert it.changed == ["a", "a", "b"]
        assert shown(answer) == [("BOOKMARK", "8")]
        assert it.reflector.take_lines([]) == b""


@in_virtual_time
async def test_kopf_sees_what_ends_its_watch_and_the_bookmarks() -> None:
    async with followed() as it:
        gone = json.dumps({"type": "ERROR", "object": {"code": 410}}).encode()
        bookmark = line("BOOKMARK", "", 9)
        answer = it.reflector.take_lines([bookmark, line("ADDED", "a", 10), gone])
        types = [json.loads(one)["type"] for one in answer.splitlines()]
        assert types == ["BOOKMARK", "BOOKMARK", "ERROR"]
        assert it.names() == {"a"}


@in_virtual_time
async def test_kopf_sees_the_deletion_of_what_it_has_listed_once() -> None:
    async with followed() as it:
        for name in ("listed", "kept"):
            it.reflector.take(None, json.loads(line("ADDED", name, 6))["object"])
        it.reflector.take_lines([line("ADDED", "unlisted", 7)])
        answer = it.reflector.take_lines(
            [line("DELETED", "unlisted", 8), line("DELETED", "listed", 9)]
        )
        assert shown(answer) == [("BOOKMARK", "9"), ("DELETED", "9")]
        assert it.names() == {"kept"}
        answer = it.reflector.take_lines([line("DELETED", "listed", 9)], is_end=True)
        assert shown(answer) == [("BOOKMARK", "9")]


@in_virtual_time
async def test_kopf_sees_how_far_a_watch_came_once_a_second_and_at_its_end() -> None:
    """Each would be work for nothing; what kopf does not know of comes again."""
    async with followed() as it:
        answers: list[list[tuple[str, str]]] = []
        for version in range(6, 26):
            answers.append(shown(it.reflector.take_lines([line("MODIFIED", "a", version)])))
            await asyncio.sleep(0.1)
        assert [answer for answer in answers if answer] == [
            [("BOOKMARK", "6")],
            [("BOOKMARK", "16")],
        ]
        assert shown(it.reflector.take_lines([], is_end=True)) == [("BOOKMARK", "25")]
        assert it.reflector.take_lines([], is_end=True) == b""


@pytest.mark.parametrize("size", [1, 7, 100_000])
@in_virtual_time
async def test_a_watch_is_read_however_it_is_cut_into_pieces(size: int) -> None:
    stream = b"\n".join(line("ADDED", f"c{number}", number) for number in range(10, 40))
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]

    class Content:
        async def iter_any(self) -> AsyncIterator[bytes]:
            for piece in (*pieces, b"\n", b'{"type": "ERROR", "object": {}}'):
                yield piece

    async with followed() as it:
        tap = WatchTap(Content(), it.reflector)  # type: ignore[arg-type]
        answer = b"".join([piece async for piece in tap.iter_chunked(1)])
        assert it.names() == {f"c{number}" for number in range(10, 40)}
        assert json.loads(answer.splitlines()[-2])["object"]["metadata"]["resourceVersion"] == "39"
        assert json.loads(answer.splitlines()[-1])["type"] == "ERROR"


@in_virtual_time
async def test_an_error_of_any_kind_has_kopf_begin_anew() -> None:
    """At any but 410 it would end, and the process with it."""
    async with followed() as it:
        for error in ({"code": 500, "message": "etcd is unwell"}, {"code": 410}, {}):
            answer = it.reflector.take_lines(
                [json.dumps({"type": "ERROR", "object": error}).encode()]
            )
            assert json.loads(answer)["object"]["code"] == 410


@pytest.mark.parametrize(
    "line_of_no_event",
    [
        b"<html>captive portal</html>",
        b'["ADDED"]',
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": "x"}',
        b'{"type": "ADDED", "object": {"metadata": {}}}',
        b'{"type": "ERROR", "object": "x"}',
    ],
)
@in_virtual_time
async def test_at_a_line_that_is_no_event_kopf_begins_anew(line_of_no_event: bytes) -> None:
    """And what came before it is taken, what comes behind it is not."""
    async with followed() as it:
        answer = it.reflector.take_lines(
            [line("ADDED", "a", 6), line_of_no_event, line("ADDED", "b", 7)]
        )
        assert it.names() == {"a"}
        bookmark, error = map(json.loads, answer.splitlines())
        assert bookmark["object"]["metadata"]["resourceVersion"] == "6"
        assert (error["type"], error["object"]["code"]) == ("ERROR", 410)


@in_virtual_time
async def test_a_line_that_is_cut_off_is_left_to_the_next_watch() -> None:
    class Content:
        async def iter_any(self) -> AsyncIterator[bytes]:
            yield line("ADDED", "a", 6) + b"\n" + line("ADDED", "b", 7)[:40]

    async with followed() as it:
        tap = WatchTap(Content(), it.reflector)  # type: ignore[arg-type]
        answer = b"".join([piece async for piece in tap.iter_chunked(1)])
        assert shown(answer) == [("BOOKMARK", "6")]
        assert it.names() == {"a"}


@in_virtual_time
async def test_kopf_reads_its_watches_in_the_way_that_is_tapped() -> None:
    """By its own reader. Another way would work too, at twice the operator's CPU: look anew."""

    class Content:
        async def iter_any(self) -> AsyncIterator[bytes]:
            yield line("ADDED", "a", 6) + b"\n"

    async with followed() as it:
        tap = WatchTap(Content(), it.reflector)  # type: ignore[arg-type]
        read = [piece async for piece in kopf_api.iter_jsonlines(tap)]  # type: ignore[arg-type]
        assert it.names() == {"a"}
        assert shown(b"\n".join(read)) == [("BOOKMARK", "6")]
    assert "iter_jsonlines(response.content)" in inspect.getsource(kopf_api.stream)


def test_the_back_offs_of_kopf_never_end_and_never_exceed_two_seconds() -> None:
    delays = [delay for delay, _ in zip(EndlessBackoffs(), range(1000), strict=False)]
    assert delays[0] <= 0.1
    assert max(delays) <= 2.0
    assert min(delays[10:]) >= 1.0
