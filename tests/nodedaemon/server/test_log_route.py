import asyncio
import logging

import aiohttp
import pytest
from prometheus_client import REGISTRY

from support.aio import until
from support.daemon_server import CONTAINER, LIMITS, LOG, UID, World
from weir_crds.kinds import TASK
from weir_nodedaemon.engines.port import Stream
from weir_nodedaemon.server.routes.logs import log_path


async def body(world: World, query: str = "") -> bytes:
    async with world.get(LOG + query) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def reason(world: World, query: str = "", token: str | None = "reader") -> tuple[int, str]:
    async with world.get(LOG + query, token) as response:
        return response.status, (await response.json())["reason"]


async def ended_run(world: World) -> None:
    await world.runs.print(CONTAINER, b"one\ntwo\n")
    await world.runs.print(CONTAINER, b"oops\n", Stream.STDERR)
    await world.runs.print(CONTAINER, b"thr\xff\x00ee")
    await world.runs.end(CONTAINER)


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
async def test_a_run_that_has_ended_is_served(world: World, query: str, expected: bytes) -> None:
    world.have_task()
    await ended_run(world)
    assert await body(world, query) == expected


async def test_follow_gives_what_is_printed_when_it_is_printed_and_ends_with_the_run(
    world: World,
) -> None:
    world.have_task()
    await world.runs.print(CONTAINER, b"before\n")
    async with world.get(LOG + "?follow=true&tail=0") as response:
        await until(lambda: world.runs.readers == 1)
        await world.runs.print(CONTAINER, b"now\n")
        assert await response.content.readline() == b"now\n"
        await world.runs.print(CONTAINER, b"last")
        await world.runs.end(CONTAINER)
        assert await response.read() == b"last"


async def test_follow_of_a_silent_run_answers_at_once(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    async with asyncio.timeout(60), world.get(LOG + "?follow=true") as response:
        assert response.status == 200
        assert response.headers["Weir-Run"] == "1"
        assert response.headers["Weir-UID"] == UID
        await world.runs.end(CONTAINER)
        assert await response.read() == b""


async def test_a_client_that_goes_away_is_no_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    before = requests(499)
    async with world.get(LOG + "?follow=true"):
        await until(lambda: world.runs.readers == 1)
    # It may be found out by the end of the connection, or by a write that comes just before.
    async with world.get(LOG + "?follow=true") as response:
        await until(lambda: world.runs.readers >= 1)
        response.close()
        for _ in range(100):
            await world.runs.print(CONTAINER, b"x" * 65536)
    await until(lambda: world.runs.readers == 0)
    await until(lambda: requests(499) == before + 2)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def requests(code: int) -> float:
    labels = {"route": log_path(TASK), "code": str(code)}
    return REGISTRY.get_sample_value("weir_daemon_http_requests_total", labels) or 0.0


async def test_every_session_leaves_a_line_in_the_audit_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weir_nodedaemon.audit")
    world.have_task()
    await ended_run(world)
    await body(world, "?tail=1&run=1")
    (line,) = [record.getMessage() for record in caplog.records if record.name.endswith("audit")]
    assert line.startswith(
        f"session path={LOG} query=tail=1&run=1 caller=reader peer=127.0.0.1 seconds="
    )
    assert line.endswith(" bytes=7 outcome=done")


async def test_a_slow_client_loses_nothing_and_takes_no_memory(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    async with world.get(LOG + "?follow=true") as response:
        for _ in range(15):
            await world.runs.print(CONTAINER, b"x" * 65536)
        await world.runs.end(CONTAINER)
        assert len(await response.read()) == 15 * 65536


async def test_a_client_that_takes_nothing_is_cut(world: World) -> None:
    world.have_task()
    world.logs.limit_bytes = 10**8
    await world.runs.print(CONTAINER, b"x" * 16_000_000)  # more than the sockets hold
    _, writer = await asyncio.open_connection(
        "localhost", int(world.url.rpartition(":")[2]), ssl=world.trust, limit=1024
    )
    writer.write(f"GET {LOG} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer reader\r\n\r\n".encode())
    await until(lambda: world.runs.readers == 1)
    await until(lambda: world.runs.readers == 0)
    writer.transport.abort()


async def test_a_gap_breaks_the_connection_instead_of_ending_the_output(world: World) -> None:
    world.have_task()
    await world.runs.print(CONTAINER, b"some\n")
    async with world.get(LOG + "?follow=true") as response:
        assert await response.content.readline() == b"some\n"
        await world.runs.lose(CONTAINER)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_truncated_output_is_said(world: World) -> None:
    world.have_task()
    await world.runs.print(CONTAINER, b"x" * (10**6 + 5))
    await world.runs.end(CONTAINER)
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
        ({}, "", (503, "NotReady")),  # it runs, and is not followed yet
        ({"finishedAt": "2026-11-22T10:00:00Z"}, "", (404, "NoOutput")),
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
    await world.runs.print(CONTAINER, b"first")
    await world.runs.end(CONTAINER)

    if expected[0] == 200:
        assert await body(world, query) == b"first"
    else:
        assert await reason(world, query) == expected


async def test_a_run_that_is_followed_and_has_not_started(world: World) -> None:
    world.have_task(conditions=[])
    await world.runs.add(CONTAINER)
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
    await world.runs.add(CONTAINER)
    async with asyncio.timeout(60):
        readers = await asyncio.gather(*(_get(world) for _ in range(LIMITS.streams_per_caller)))
        assert await reason(world) == (429, "TooManyStreams")
        # One who takes all that he may leaves room for others.
        async with world.get(LOG + "?follow=true", "other") as response:
            assert response.status == 200
        for reader in readers:
            reader.close()
        await until(lambda: world.runs.readers == 0)
        await world.runs.end(CONTAINER)
        assert await body(world) == b""


async def test_only_tls_is_spoken(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(world.url.replace("https", "http") + "/healthz")


async def test_an_unpinned_certificate_is_not_trusted(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(world.url + "/healthz")
