"""Docker that is not there, hangs, or goes away within an answer."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from weir_nodedaemon.engines.docker import logs as docker_logs
from weir_nodedaemon.engines.docker.engine import DockerEngine
from weir_nodedaemon.engines.port import (
    ContainerSpec,
    EngineRefusedError,
    EngineUnavailableError,
    ImagePullError,
    InstanceState,
    LogPosition,
    Stream,
)

DEADLINE = 0.4  # of a Docker that never answers
SLOW = 3.0  # of one that answers some requests: those must be in time on a busy machine
PATIENT = 60.0  # of one that answers all
SPEC = ContainerSpec(name="weir-u-1", image="busybox", labels={})
CALLS: dict[str, Callable[[DockerEngine], Awaitable[object]]] = {
    "info": lambda engine: engine.info(),
    "observe": lambda engine: engine.observe(),
    "inspect": lambda engine: engine.inspect("weir-u-1"),
    "has_image": lambda engine: engine.has_image("busybox"),
    "pull": lambda engine: engine.pull("127.0.0.1:9/none:1"),
    "create": lambda engine: engine.create(SPEC),
    "start": lambda engine: engine.start("weir-u-1"),
    "pause": lambda engine: engine.pause("weir-u-1"),
    "resume": lambda engine: engine.resume("weir-u-1"),
    "signal": lambda engine: engine.signal("weir-u-1", 15),
    "remove": lambda engine: engine.remove("weir-u-1"),
    "update_cpus": lambda engine: engine.update_cpus("weir-u-1", (0,)),
    "start_again": lambda engine: engine.start_again("weir-u-1"),
    "commit": lambda engine: engine.commit("weir-u-1", "kept:1"),
    "usage": lambda engine: engine.usage("weir-u-1"),
    "follow": lambda engine: anext(engine.follow("weir-u-1")),
    "events": lambda engine: anext(engine.events()),
}

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def docker_that(
    answers: Answer | None, folder: Path, deadline: float = PATIENT
) -> AsyncIterator[DockerEngine]:
    """Listen as Docker does, with these answers to a request's path; None: never answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if answers is None:
                    await asyncio.sleep(3600)
                length = re.search(rb"content-length: (\d+)", head.lower())
                if length:
                    await reader.readexactly(int(length[1]))
                await answers(head.split()[1].decode(), writer)  # type: ignore[misc]
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    path = folder / "docker.sock"
    server = await asyncio.start_unix_server(serve, path)
    engine = DockerEngine(
        "h",
        f"unix://{path}",
        look_seconds=deadline,
        act_seconds=deadline,
        pull_silence_seconds=deadline,
    )
    try:
        yield engine
    finally:
        await engine.close()
        server.close()


def json_answer(body: object) -> bytes:
    data = json.dumps(body).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        + f"{len(data)}\r\n\r\n".encode()
        + data
    )


@pytest.mark.parametrize("name", CALLS)
async def test_a_docker_that_hangs_is_given_up(tmp_path: Path, name: str) -> None:
    async with docker_that(None, tmp_path, DEADLINE) as engine, asyncio.timeout(60):
        with pytest.raises(EngineUnavailableError):
            await CALLS[name](engine)


async def test_a_docker_that_hangs_costs_no_more_threads_however_often_it_is_asked(
    tmp_path: Path,
) -> None:
    """Nor do the calls wait for each other, which would take minutes."""
    async with docker_that(None, tmp_path, DEADLINE) as engine, asyncio.timeout(60):
        threads = threading.active_count()
        calls = [call(engine) for call in CALLS.values() for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {EngineUnavailableError}
        assert threading.active_count() <= threads + 40


@pytest.mark.parametrize("name", CALLS)
async def test_a_docker_that_is_not_there_is_told_at_once(tmp_path: Path, name: str) -> None:
    engine = DockerEngine("h", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnavailableError):
        await asyncio.wait_for(CALLS[name](engine), 60)
    await engine.close()


VERSION = json_answer({"ApiVersion": "1.41", "Version": "20.10"})


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"pull", "info"}))  # which is lenient
async def test_a_docker_that_is_busy_with_itself_is_no_verdict_on_a_container(
    tmp_path: Path, name: str
) -> None:
    """503, whatever the words."""

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
        writer.write(VERSION if path == "/version" else busy)

    async with docker_that(answers, tmp_path) as engine:
        engine._unstarted.add("weir-u-1")  # as after a create
        with pytest.raises(EngineUnavailableError, match="busy"):
            await CALLS[name](engine)


async def test_what_docker_said_of_its_cores_holds_while_it_is_busy(tmp_path: Path) -> None:
    """Else a Host would offer cores that Docker lacks, for as long as it takes."""
    lacks = "Requested CPUs are not available - requested 8191, available: 0-1"
    refused = json_answer({"message": lacks}).replace(b"200 OK", b"400 Bad Request")
    busy = False

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/version":
            writer.write(VERSION)
        elif busy:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
        elif path.endswith("/info"):
            writer.write(json_answer({"DockerRootDir": "/data/docker"}))
        else:
            writer.write(refused)

    async with docker_that(answers, tmp_path) as engine:
        before = await engine.info()
        busy = True
        assert (before.cpus, before.root_dir) == ((0, 1), "/data/docker")
        assert await engine.info() == before


async def test_a_docker_that_comes_back_is_used_again(tmp_path: Path) -> None:
    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(VERSION if path == "/version" else json_answer({"ServerVersion": "20.10"}))

    engine = DockerEngine("h", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineUnavailableError):
        await engine.info()
    async with docker_that(answers, tmp_path):
        assert (await engine.info()).version == "20.10"
    await engine.close()


async def test_a_pull_that_stands_still_is_no_fault_of_docker(tmp_path: Path) -> None:
    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        if path.endswith("/version"):
            writer.write(VERSION)
        else:
            await asyncio.sleep(3600)

    async with docker_that(answers, tmp_path, SLOW) as engine:
        with pytest.raises(ImagePullError, match="stood still") as caught:
            await engine.pull("127.0.0.1:9/none:1")
        assert not caught.value.permanent


async def test_one_container_with_a_broken_log_does_not_hide_the_others(tmp_path: Path) -> None:
    def container(id: str, code: int) -> dict[str, object]:
        return {
            "Id": id,
            "Name": f"/weir-{id}-1",
            "State": {"Status": "exited", "ExitCode": code},
            "Config": {"Labels": {"weir.dev/host": "h", "weir.dev/uid": id}},
            "HostConfig": {},
        }

    listed = [
        {
            "Id": id,
            "State": state,
            "Names": [f"/weir-{id}-1"],
            "Labels": {"weir.dev/host": "h", "weir.dev/uid": id},
        }
        for id, state in (("a", "exited"), ("b", "exited"), ("c", "dead"))
    ]

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        known = {
            "/version": VERSION,
            "/v1.41/containers/json": json_answer(listed),
            "/v1.41/containers/a/json": json_answer(container("a", 127)),
            "/v1.41/containers/b/json": json_answer(container("b", 0)),
        }
        refusal = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        writer.write(known.get(path.partition("?")[0], refusal))

    async with docker_that(answers, tmp_path) as engine:
        observed = await engine.observe()
    assert {name: (seen.state, seen.exit_code) for name, seen in observed.items()} == {
        "weir-a-1": (InstanceState.EXITED, 127),
        "weir-b-1": (InstanceState.EXITED, 0),
        "weir-c-1": (InstanceState.REMOVING, None),
    }


def container_that_is(status: str) -> dict[str, object]:
    return {
        "Name": "/weir-u-1",
        "State": {"Status": status, "ExitCode": 0},
        "Config": {"Labels": {"weir.dev/host": "h", "weir.dev/uid": "u"}},
        "HostConfig": {},
        "Id": "1",
    }


FRAME = b"\1\0\0\0\0\0\0\3abc"
STREAM = b"HTTP/1.1 200 OK\r\n\r\n"
FAR_AWAY = "2999-01-01T00:00:00Z"


@pytest.mark.parametrize("is_dead", [True, False])
async def test_the_end_of_an_attached_stream_is_one_only_if_docker_lives_on(
    tmp_path: Path, is_dead: bool
) -> None:
    events: list[asyncio.StreamWriter] = []

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        if path.endswith("/version"):
            writer.write(VERSION)
        elif path.endswith("/json"):
            writer.write(json_answer(container_that_is("created")))
        elif path.endswith("/_ping"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif "/events" in path:
            events.append(writer)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            writer.write(STREAM + FRAME)
            await writer.drain()
            for cut in [*events, writer] if is_dead else [writer]:
                cut.close()

    async with docker_that(answers, tmp_path) as engine:
        chunks = engine.follow("weir-u-1")
        assert (await anext(chunks)).data == b""
        assert (await anext(chunks)).data == b"abc"
        if is_dead:
            with pytest.raises(EngineUnavailableError):
                await anext(chunks)
        else:
            assert await anext(chunks, None) is None


@pytest.mark.parametrize("is_deaf", [True, False], ids=["deaf", "alive"])
async def test_a_stream_that_says_nothing_after_docker_was_away_makes_up_for_nothing(
    tmp_path: Path, is_deaf: bool
) -> None:
    """A Docker that died in the instant of an end may serve streams that never give a byte."""
    cuts: list[asyncio.StreamWriter] = []
    status, output = "created", FRAME

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal status, output
        if path.endswith("/version"):
            writer.write(VERSION)
        elif path.endswith("/json"):
            shown = container_that_is(status)
            shown["State"] = {"Status": status, "ExitCode": 0, "FinishedAt": FAR_AWAY}
            writer.write(json_answer(shown))
        elif path.endswith("/_ping"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif "/events" in path:
            cuts.append(writer)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif "/logs" in path:
            writer.write(STREAM + output)
            await writer.drain()
            writer.close()
        elif status == "created":
            status = "running"
            writer.write(STREAM + FRAME)
            await writer.drain()
            for cut in [*cuts, writer]:
                cut.close()
        elif is_deaf:
            writer.write(STREAM)
        else:
            output += FRAME
            writer.write(STREAM + FRAME)

    async with docker_that(answers, tmp_path) as engine, asyncio.timeout(60):
        with pytest.raises(EngineUnavailableError):
            async for _ in engine.follow("weir-u-1"):
                pass
        came = LogPosition({Stream.STDOUT: 3, Stream.STDERR: 0}, {Stream.STDOUT: b"abc"})
        async with aclosing(engine.follow("weir-u-1", came)) as chunks:
            assert (await anext(chunks)).data == b""
            following = asyncio.ensure_future(anext(chunks))
            await asyncio.wait([following], timeout=DEADLINE if is_deaf else PATIENT)
            assert following.done() is not is_deaf
            following.cancel()  # who follows has given up
            await asyncio.wait([following])
        status = "exited"
        ended = [chunk async for chunk in engine.follow("weir-u-1", came)]
    assert any(chunk.gap for chunk in ended) is is_deaf
    assert b"".join(chunk.data for chunk in ended) == (b"" if is_deaf else b"abc")


def listed(*ids: str) -> list[dict[str, object]]:
    return [
        {
            "Id": id,
            "State": "exited",
            "Names": [f"/weir-{id}-1"],
            "Labels": {"weir.dev/host": "h", "weir.dev/uid": id},
        }
        for id in ids
    ]


def exited(id: str, code: int) -> dict[str, object]:
    return {
        "Id": id,
        "Name": f"/weir-{id}-1",
        "State": {"Status": "exited", "ExitCode": code},
        "Config": {"Labels": {"weir.dev/host": "h", "weir.dev/uid": id}},
        "HostConfig": {},
    }


async def test_one_container_that_docker_cannot_show_in_time_hides_no_other(tmp_path: Path) -> None:
    """As while Docker starts it."""

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        where = path.partition("?")[0].removeprefix("/v1.41")
        if where == "/containers/slow/json":
            await asyncio.sleep(3600)
        known = {
            "/version": VERSION,
            "/containers/json": json_answer(listed("slow", "b")),
            "/containers/b/json": json_answer(exited("b", 3)),
        }
        writer.write(known[where])

    async with docker_that(answers, tmp_path, SLOW) as engine:
        observed = await engine.observe()
    assert {name: (seen.state, seen.exit_code) for name, seen in observed.items()} == {
        "weir-slow-1": (InstanceState.UNKNOWN, None),
        "weir-b-1": (InstanceState.EXITED, 3),
    }


LOG_ANSWERS = {
    "an error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "silence": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("what", LOG_ANSWERS)
async def test_a_log_that_does_not_come_holds_nothing_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Neither who reads it nor, of a program that init could not run, who observes."""

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        where = path.partition("?")[0].removeprefix("/v1.41")
        known = {
            "/version": VERSION,
            "/containers/json": json_answer(listed("a")),
            "/containers/a/json": json_answer(exited("a", 127)),
            "/containers/weir-a-1/json": json_answer(exited("a", 127)),
        }
        writer.write(known.get(where, LOG_ANSWERS[what]))

    monkeypatch.setattr(docker_logs, "_INIT_OUTPUT_SECONDS", 1.2 * SLOW)
    async with docker_that(answers, tmp_path, SLOW) as engine, asyncio.timeout(60):
        while (await engine.observe())["weir-a-1"].exit_code != 127:
            pass  # each takes until Docker's deadline
        with pytest.raises((EngineUnavailableError, EngineRefusedError)):
            [chunk async for chunk in engine.follow("weir-a-1")]


NO_PROGRAM = b"[FATAL tini (7)] exec /no/such/program failed: No such file or directory\n"
MOMENTS = {
    "busy": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
    "cut": LOG_ANSWERS["silence"],
    "silent": LOG_ANSWERS["silence"],
}


@pytest.mark.parametrize("what", MOMENTS)
async def test_why_a_program_did_not_run_is_asked_until_docker_says_it(
    tmp_path: Path, what: str
) -> None:
    """Else a bad moment of Docker's decides how a Task ended."""
    frame = b"\2\0\0\0" + len(NO_PROGRAM).to_bytes(4, "big") + NO_PROGRAM
    log = f"HTTP/1.1 200 OK\r\nContent-Length: {len(frame)}\r\n\r\n".encode() + frame
    bad_moments = 2

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal bad_moments
        where = path.partition("?")[0].removeprefix("/v1.41")
        known = {
            "/version": VERSION,
            "/containers/json": json_answer(listed("a")),
            "/containers/a/json": json_answer(exited("a", 127)),
            "/containers/weir-a-1/json": json_answer(exited("a", 127)),
        }
        if where in known:
            writer.write(known[where])
        elif bad_moments:
            bad_moments -= 1
            writer.write(MOMENTS[what])
            if what == "cut":
                await writer.drain()
                writer.close()
        else:
            writer.write(log)

    async with docker_that(answers, tmp_path, SLOW) as engine:
        assert (await engine.observe())["weir-a-1"].state is InstanceState.UNKNOWN
        with pytest.raises(EngineUnavailableError):
            await engine.inspect("weir-a-1")
        for seen in (await engine.inspect("weir-a-1"), (await engine.observe())["weir-a-1"]):
            assert seen is not None
            assert (seen.exit_code, seen.error[:5]) == (127, "exec ")


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"pull", "follow", "info"}))
async def test_a_docker_that_refuses_is_not_away(tmp_path: Path, name: str) -> None:
    """500 and words that nobody knows: it answers, so asking it all anew helps nothing."""

    async def answers(path: str, writer: asyncio.StreamWriter) -> None:
        body = b'{"message": "the moon is full"}'
        head = f"HTTP/1.1 500 Internal Server Error\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(VERSION if path == "/version" else head.encode() + body)

    async with docker_that(answers, tmp_path) as engine:
        engine._unstarted.add("weir-u-1")  # as after a create
        with pytest.raises(EngineRefusedError, match="the moon is full"):
            await CALLS[name](engine)


async def test_a_docker_that_shows_no_container_any_more_still_takes_a_signal(
    tmp_path: Path,
) -> None:
    """Whoever stops one has looked at it: that the next look takes long holds up no KILL."""
    shown = {
        "Id": "1" * 64,
        "Name": "/weir-u-1",
        "State": {"Status": "running", "ExitCode": 0},
        "Config": {"Labels": {"weir.dev/host": "h", "weir.dev/uid": "u"}},
        "HostConfig": {},
    }
    looks: list[str] = []
    signals: list[str] = []

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/version":
            writer.write(VERSION)
        elif "/kill" in path:
            signals.append(path.partition("signal=")[2])
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif looks:
            await asyncio.sleep(3600)
        else:
            looks.append(path)
            writer.write(json_answer(shown))

    async with docker_that(answer, tmp_path) as engine:
        seen = await engine.inspect("weir-u-1")
        assert seen is not None
        assert seen.state is InstanceState.RUNNING

        await engine.signal("weir-u-1", 15)

    assert signals == ["15"]
