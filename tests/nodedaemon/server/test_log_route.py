import asyncio

import aiohttp
import pytest

from support.aio import until
from support.daemon_server import CONTAINER, LOG, UID, ScriptedEngine, World
from weir_nodedaemon.engines.port import InstanceState, Stream
from weir_nodedaemon.server.output import Run, read_run
from weir_nodedaemon.server.routes.metrics import LOG_STREAMS


async def body(world: World, query: str = "") -> bytes:
    async with world.get(LOG + query) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def reason(world: World, query: str = "", token: str | None = "reader") -> tuple[int, str]:
    async with world.get(LOG + query, token) as response:
        return response.status, (await response.json())["reason"]


def ended_run(world: World) -> None:
    world.engine.add(CONTAINER)
    world.engine.print(CONTAINER, b"one\ntwo\n")
    world.engine.print(CONTAINER, b"oops\n", Stream.STDERR)
    world.engine.print(CONTAINER, b"thr\xff\x00ee")
    world.engine.end(CONTAINER)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", b"one\ntwo\noops\nthr\xff\x00ee"),
        ("?follow=true", b"one\ntwo\noops\nthr\xff\x00ee"),
        ("?stream=stdout", b"one\ntwo\nthr\xff\x00ee"),
        ("?stream=stderr&follow=1", b"oops\n"),
        ("?tail=2", b"oops\nthr\xff\x00ee"),
        ("?tail=2&stream=stdout", b"two\nthr\xff\x00ee"),
        ("?tail=0", b""),
        ("?tail=99&run=1", b"one\ntwo\noops\nthr\xff\x00ee"),
    ],
)
async def test_a_run_that_has_ended_is_served_from_engine_and_archive_alike(
    world: World, query: str, expected: bytes, archived: bool
) -> None:
    world.have_task()
    ended_run(world)
    if archived:
        await world.logs.archive(UID, 1, world.engine.logs(CONTAINER))
        world.engine.remove(CONTAINER)
    assert await body(world, query) == expected


async def test_follow_gives_what_is_printed_when_it_is_printed_and_ends_with_the_run(
    world: World,
) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    world.engine.print(CONTAINER, b"before\n")
    async with world.get(LOG + "?follow=true&tail=0") as response:
        await until(lambda: world.engine.readers == 1)
        world.engine.print(CONTAINER, b"now\n")
        assert await response.content.readline() == b"now\n"
        world.engine.print(CONTAINER, b"last")
        world.engine.end(CONTAINER)
        assert await response.read() == b"last"


async def test_follow_of_a_silent_run_answers_at_once(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    async with asyncio.timeout(60), world.get(LOG + "?follow=true") as response:
        assert response.status == 200
        assert response.headers["Weir-Run"] == "1"
        world.engine.end(CONTAINER)
        assert await response.read() == b""


async def test_a_client_that_goes_away_frees_the_engines_stream(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    before = being_read()
    async with world.get(LOG + "?follow=true"):
        await until(lambda: world.engine.readers == 1)
        assert being_read() == before + 1
    await until(lambda: world.engine.readers == 0)
    await until(lambda: being_read() == before)


def being_read() -> float:
    (family,) = LOG_STREAMS.collect()
    (sample,) = family.samples
    return sample.value


async def test_a_slow_client_holds_the_engine_back(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    for _ in range(2000):
        world.engine.print(CONTAINER, b"x" * 32768)
    async with world.get(LOG + "?follow=true") as response:
        await until(lambda: world.engine.chunks_read > 0)
        before = -1
        while before != world.engine.chunks_read:
            before = world.engine.chunks_read
            await asyncio.sleep(0.3)
        assert world.engine.chunks_read < 600  # what fits into the sockets' buffers
        world.engine.end(CONTAINER)
        size = 0
        async for data in response.content.iter_any():
            size += len(data)
        assert size == 2000 * 32768


@pytest.mark.parametrize("cut_on_removal", [True, False])
async def test_a_container_removed_while_read_is_read_on_from_the_archive(
    world: World, cut_on_removal: bool
) -> None:
    world.engine = ScriptedEngine(cut_on_removal=cut_on_removal)
    world.engine.add(CONTAINER)
    lines = [b"line %d\n" % number for number in range(5000)]
    for line in lines:
        world.engine.print(CONTAINER, line)
    reading = read_run(world.engine, world.logs, Run(UID, 1), follow=True)
    got = [(await anext(reading)).data for _ in range(700)]
    world.engine.end(CONTAINER)
    await world.logs.archive(UID, 1, world.engine.logs(CONTAINER))
    world.engine.remove(CONTAINER)
    got += [chunk.data async for chunk in reading]
    assert b"".join(got) == b"".join(lines)


async def test_reading_goes_on_rightly_when_the_engine_dropped_its_oldest_output(
    world: World,
) -> None:
    world.engine.add(CONTAINER)
    lines = [b"line %d\n" % number for number in range(5000)]
    for line in lines:
        world.engine.print(CONTAINER, line)
    reading = read_run(world.engine, world.logs, Run(UID, 1), follow=True)
    got = [(await anext(reading)).data for _ in range(700)]
    del world.engine.containers[CONTAINER].output[:300]
    world.engine.end(CONTAINER)
    await world.logs.archive(UID, 1, world.engine.logs(CONTAINER))
    world.engine.remove(CONTAINER)
    got += [chunk.data async for chunk in reading]
    assert b"".join(got) == b"".join(lines)


async def test_a_gap_breaks_the_connection_instead_of_ending_the_output(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    world.engine.print(CONTAINER, b"some\n")
    async with world.get(LOG + "?follow=true") as response:
        assert await response.content.readline() == b"some\n"
        world.engine.remove(CONTAINER)  # by a stranger: not archived
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_truncated_output_is_said(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    world.engine.print(CONTAINER, b"x" * (10**6 + 5))
    await world.logs.archive(UID, 1, world.engine.logs(CONTAINER))
    async with world.get(LOG) as response:
        assert response.headers["Weir-Dropped-Bytes"] == "5"
        assert len(await response.read()) == 10**6


@pytest.mark.parametrize(
    ("status", "query", "expected"),
    [
        ({"runID": None}, "", (404, "RunNotFound")),
        ({}, "?run=2", (404, "RunNotFound")),
        ({"runID": 2}, "?run=1", (404, "NoOutput")),
        ({"conditions": []}, "?follow=true", (409, "NotStarted")),
        ({}, "", (404, "NoOutput")),
        ({"finishedAt": "2026-11-22T10:00:00Z", "startedAt": None}, "", (404, "NoOutput")),
        ({}, "?tail=-1", (400, "InvalidParameter")),
        ({}, "?tail=99999999999", (400, "InvalidParameter")),
        ({}, "?tail=1&tail=2", (400, "InvalidParameter")),
        ({}, "?stream=both", (400, "InvalidParameter")),
        ({}, "?follow=maybe", (400, "InvalidParameter")),
        ({}, "?run=0", (400, "InvalidParameter")),
        ({}, "?lines=3", (400, "InvalidParameter")),
    ],
)
async def test_what_cannot_be_served_is_refused_with_its_reason(
    world: World, status: dict[str, object], query: str, expected: tuple[int, str]
) -> None:
    world.have_task(**status)
    assert await reason(world, query) == expected


@pytest.mark.parametrize(
    ("status", "query", "expected"),
    [
        ({"nodeName": "n2"}, "?run=1", (200, "")),
        ({"nodeName": None}, "?run=1", (200, "")),
        ({"nodeName": None}, "", (200, "")),
        ({"nodeName": "n2"}, "?run=2", (404, "NoOutput")),
        ({"nodeName": "n2"}, "?run=3", (404, "RunNotFound")),
        ({"nodeName": "n2", "lastResult": {"runID": 1, "nodeName": "n3"}}, "", (404, "NotFound")),
        ({"nodeName": "n1"}, "?run=1", (404, "NotFound")),  # about to be heard of
    ],
)
async def test_what_ran_here_is_served_also_when_its_task_has_left(
    world: World, status: dict[str, object], query: str, expected: tuple[int, str]
) -> None:
    world.api.tasks["train"] = {
        "metadata": {"uid": UID},
        "status": {"runID": 2, "lastResult": {"runID": 1, "nodeName": "n1"}, **status},
    }
    world.engine.add(CONTAINER)
    world.engine.print(CONTAINER, b"first")
    await world.logs.archive(UID, 1, world.engine.logs(CONTAINER))

    if expected[0] == 200:
        assert await body(world, query) == b"first"
    else:
        assert await reason(world, query) == expected


async def test_a_created_container_has_not_started(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER, InstanceState.CREATED)
    async with world.get(LOG + "?follow=true") as response:
        assert (response.status, response.headers["Retry-After"]) == (409, "1")
        assert (await response.json())["reason"] == "NotStarted"


async def test_an_unknown_task_and_a_daemon_that_does_not_know_its_tasks_yet(
    world: World,
) -> None:
    assert await reason(world) == (404, "NotFound")
    world.tasks._synced = False
    assert await reason(world) == (503, "NotReady")


async def test_a_parameters_error_names_it_without_control_characters(world: World) -> None:
    async with world.get(LOG, params={"stream": "\n\x1b[31m" + "x" * 500}) as response:
        message = (await response.json())["message"]
    assert message.startswith("parameter stream must be one of stdout, stderr, not")
    assert message.isprintable()
    assert len(message) < 200


async def _get(world: World) -> aiohttp.ClientResponse:
    return await world.get(LOG + "?follow=true")


async def test_streams_beyond_the_limit_are_asked_to_come_later(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    async with asyncio.timeout(60):
        readers = await asyncio.gather(*(_get(world) for _ in range(64)))
        assert await reason(world) == (429, "TooManyStreams")
        for reader in readers:
            reader.close()
        await until(lambda: world.engine.readers == 0)
        world.engine.end(CONTAINER)
        assert await body(world) == b""


async def test_only_tls_is_spoken(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(world.url.replace("https", "http") + "/healthz")


async def test_an_unpinned_certificate_is_not_trusted(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(world.url + "/healthz")
