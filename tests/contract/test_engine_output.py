"""What every container engine promises about output and events."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from support.engine_rig import Rig, until
from weir_nodedaemon.engines.port import (
    EngineEvent,
    InstanceGoneError,
    InstanceState,
    LogChunk,
    LogPosition,
    Stream,
)

# Ten million bytes, in a second.
LINE = "0123456789" * 8
FLOOD = f"yes {LINE} | head -c 10000000"
FLOOD_BYTES = (f"{LINE}\n".encode() * 125_000)[:10_000_000]
BYTES = r"printf 'a\377\000\r\nno newline'; printf '\200err' >&2"
NOTHING = dict.fromkeys(Stream, b"")


async def started(
    rig: Rig, script: str, **changes: Any
) -> tuple[str, asyncio.Task[list[LogChunk]]]:
    """Start a container that is followed from before its start; return its name and all output."""
    name = await rig.create(script, **changes)
    attached = asyncio.Event()

    async def read() -> list[LogChunk]:
        got = []
        async with aclosing(rig.engine.follow(name)) as chunks:
            async for chunk in chunks:
                attached.set()
                got.append(chunk)
        return got

    reading = asyncio.create_task(read())
    await asyncio.wait_for(attached.wait(), 60)
    await rig.engine.start(name)
    return name, reading


def joined(chunks: list[LogChunk]) -> dict[Stream, bytes]:
    assert not any(chunk.gap for chunk in chunks)
    return {of: b"".join(chunk.data for chunk in chunks if chunk.stream is of) for of in Stream}


@pytest.mark.parametrize("late", [False, True])
async def test_bytes_come_back_as_they_were_and_streams_apart(rig: Rig, late: bool) -> None:
    expected = {Stream.STDOUT: b"a\xff\x00\r\nno newline", Stream.STDERR: b"\x80err"}
    if late:
        name = await rig.run(BYTES)
        await rig.ended(name)
        assert await rig.output(name) == expected
    else:
        _, reading = await started(rig, BYTES)
        assert joined(await reading) == expected


async def test_chunks_come_in_the_order_in_which_they_were_written(rig: Rig) -> None:
    _, reading = await started(rig, "echo 1; sleep 1; echo 2 >&2; sleep 1; echo 3")
    assert [chunk for chunk in await reading if chunk.data] == [
        LogChunk(Stream.STDOUT, b"1\n"),
        LogChunk(Stream.STDERR, b"2\n"),
        LogChunk(Stream.STDOUT, b"3\n"),
    ]


async def test_ten_megabytes_in_a_second_are_all_there(rig: Rig) -> None:
    _, reading = await started(rig, FLOOD)
    output = joined(await reading)[Stream.STDOUT]
    assert len(output) == len(FLOOD_BYTES)
    assert output == FLOOD_BYTES


@pytest.mark.docker
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("length", [16_383, 16_385, 20_000, 40_000])
async def test_a_line_longer_than_any_buffer_is_one_line(
    docker_rig: Rig, length: int, late: bool
) -> None:
    """Docker's log cuts lines of 16 KiB, and loses the newline of one that it has cut."""
    script = (
        f"for i in 1 2 3; do printf $i; head -c {length - 1} /dev/zero | tr '\\0' x; echo; done;"
        " echo short"
    )
    expected = b"".join(b"%d" % n + b"x" * (length - 1) + b"\n" for n in (1, 2, 3)) + b"short\n"
    if late:
        name = await docker_rig.run(script)
        await docker_rig.ended(name)
        output = await docker_rig.output(name)
    else:
        _, reading = await started(docker_rig, script)
        output = joined(await reading)
    assert output[Stream.STDOUT] == expected


async def test_a_prompt_without_a_newline_comes_at_once(rig: Rig) -> None:
    name = await rig.create("sleep 0.3; printf '10 of 100\r'; sleep 60")
    async with aclosing(rig.engine.follow(name)) as chunks:
        assert await anext(chunks) == LogChunk(Stream.STDOUT, b"")
        await rig.engine.start(name)
        assert await asyncio.wait_for(anext(chunks), 60) == LogChunk(Stream.STDOUT, b"10 of 100\r")


async def test_follow_tells_at_once_and_ends_when_the_program_ends(rig: Rig) -> None:
    name = await rig.create("echo first; sleep 3; echo last")
    async with aclosing(rig.engine.follow(name)) as chunks:
        assert (await anext(chunks)).data == b""
        await rig.engine.start(name)
        assert await anext(chunks) == LogChunk(Stream.STDOUT, b"first\n")
        assert (await rig.seen(name)).exit_code is None
        assert [chunk async for chunk in chunks] == [LogChunk(Stream.STDOUT, b"last\n")]
    assert (await rig.ended(name)).exit_code == 0


@pytest.mark.parametrize("skip", [0, 3, 7])
async def test_of_what_has_ended_what_follows_a_position_is_there(rig: Rig, skip: int) -> None:
    name = await rig.run("echo all; echo of it; echo err >&2")
    await rig.ended(name)
    before = b"all\nof it\n"[:skip]
    after = LogPosition({Stream.STDOUT: skip, Stream.STDERR: 0}, {**NOTHING, Stream.STDOUT: before})
    assert await rig.output(name, after) == {
        Stream.STDOUT: b"all\nof it\n"[skip:],
        Stream.STDERR: b"err\n",
    }


@pytest.mark.parametrize(
    "script",
    [
        "for i in $(seq 1 200); do echo line $i; echo err $i >&2; sleep 0.01; done",
        "seq 1 100; sleep 2; seq 101 200; printf end",
    ],
)
async def test_a_follower_that_was_cut_off_goes_on_without_loss_or_doubling(
    rig: Rig, script: str
) -> None:
    name = await rig.create(script)
    got: dict[Stream, bytes] = dict(NOTHING)
    for cut_after in (5, 30, 10**9):
        after = LogPosition({of: len(data) for of, data in got.items()}, got)
        seen = 0
        async with aclosing(rig.engine.follow(name, after)) as chunks:
            async for chunk in chunks:
                assert not chunk.gap
                if (await rig.seen(name)).state is InstanceState.CREATED:
                    await rig.engine.start(name)
                got[chunk.stream] += chunk.data
                seen += chunk.data.count(b"\n")
                if seen >= cut_after:
                    break
        await asyncio.sleep(0.3)
    await rig.ended(name)
    name = await rig.run(script)
    await rig.ended(name)
    assert got == await rig.output(name)


async def test_follow_ends_when_the_container_is_removed(rig: Rig) -> None:
    name = await rig.create("echo up; sleep 60")
    async with aclosing(rig.engine.follow(name)) as chunks:
        await anext(chunks)
        await rig.engine.start(name)
        assert (await anext(chunks)).data == b"up\n"
        await rig.engine.remove(name)
        assert await asyncio.wait_for(anext(chunks, None), 60) is None


async def test_what_is_not_there_has_no_output(rig: Rig) -> None:
    with pytest.raises(InstanceGoneError):
        await rig.output(rig.spec().name)


async def test_a_hundred_followers_hold_nobody_up_and_leave_nothing_behind(rig: Rig) -> None:
    name = await rig.run("echo up; sleep 60")
    async with aclosing(rig.engine.follow(name)) as first:
        await anext(first)
    tasks_before = len(asyncio.all_tasks())
    heard = asyncio.Semaphore(0)

    async def follow() -> None:
        async with aclosing(rig.engine.follow(name)) as chunks:
            async for chunk in chunks:
                if chunk.data:
                    heard.release()

    followers = [asyncio.create_task(follow()) for _ in range(100)]
    for _ in followers:
        await asyncio.wait_for(heard.acquire(), 60)
    assert (await asyncio.wait_for(rig.result("exit 3"), 60)).exit_code == 3
    for follower in followers:
        follower.cancel()
    await asyncio.wait(followers, timeout=60)
    assert all(follower.cancelled() for follower in followers)

    async def nothing_left() -> bool:
        return len(asyncio.all_tasks()) <= tasks_before

    await until(nothing_left, "no task of a follower is left")


async def test_a_follower_that_does_not_read_loses_nothing(rig: Rig) -> None:
    name = await rig.create("echo first; sleep 0.5; " + FLOOD, log_buffer_bytes=32 * 2**20)
    async with aclosing(rig.engine.follow(name)) as chunks:
        await anext(chunks)
        await rig.engine.start(name)
        assert (await anext(chunks)).data == b"first\n"
        assert (await asyncio.wait_for(rig.result("exit 3"), 60)).exit_code == 3
        await asyncio.sleep(1)
        rest = b"".join([chunk.data async for chunk in chunks])
    assert len(rest) == len(FLOOD_BYTES)
    assert rest == FLOOD_BYTES


async def blocked(rig: Rig, name: str) -> None:
    """Wait until a program that only prints gets on no more."""
    used = -1.0

    async def look() -> bool:
        nonlocal used
        await asyncio.sleep(0.3)
        usage = await rig.engine.usage(name)
        assert usage is not None, "it has ended"
        before, used = used, usage.cpu_seconds
        return 0 <= used - before < 0.01 and before >= 0  # its init wakes up now and then

    await until(look, "the program stands still")


@pytest.mark.docker
@pytest.mark.parametrize("is_back", [True, False])
async def test_a_program_held_up_by_a_follower_goes_on_when_it_is_back_or_gone(
    docker_rig: Rig, is_back: bool
) -> None:
    """As when a daemon stands still (SIGSTOP, say): Docker waits for whom it has attached."""
    name = await docker_rig.create(f"{FLOOD}; exit 3")
    rest = b""
    async with aclosing(docker_rig.engine.follow(name)) as chunks:
        await anext(chunks)
        await docker_rig.engine.start(name)
        await anext(chunks)
        await blocked(docker_rig, name)
        if is_back:
            rest = b"".join([chunk.data async for chunk in chunks])
    assert (await docker_rig.ended(name)).exit_code == 3
    if is_back:
        assert FLOOD_BYTES.endswith(rest)
        assert len(rest) > 8_000_000


async def test_events_tell_what_happens_to_this_hosts_containers(rig: Rig) -> None:
    other = rig.other_host()
    events: list[EngineEvent] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async for event in rig.engine.events():
            events.append(event)
            listening.set()

    listener = asyncio.create_task(listen())
    await asyncio.wait_for(listening.wait(), 60)
    await other.create(rig.spec())
    name = await rig.run("sleep 60")
    await rig.engine.pause(name)
    await rig.engine.resume(name)
    await rig.engine.signal(name, 9)
    await rig.ended(name)
    await rig.engine.remove(name)
    actions = ["create", "start", "pause", "unpause", "die", "destroy"]
    expected = [EngineEvent("", ""), *(EngineEvent(name, action) for action in actions)]

    async def all_told() -> bool:
        return events[-1] == expected[-1]

    await until(all_told, "all events")
    # Docker tells a pause and its end once more where containerd's word of them comes after both
    # calls were answered (moby, daemon/monitor.go); whoever hears of it looks once more.
    assert list(dict.fromkeys(events)) == expected
    listener.cancel()
    await asyncio.wait([listener], timeout=60)
    assert listener.cancelled()


async def test_events_tell_a_lack_of_memory(rig: Rig) -> None:
    async with aclosing(rig.engine.events()) as events:
        await anext(events)
        name = await rig.run(None, command=("tail", "/dev/zero"), memory_bytes=16 * 2**20)
        actions = []
        while "die" not in actions or "oom" not in actions:
            event = await asyncio.wait_for(anext(events), 60)
            assert event.name == name
            actions.append(event.action)
    assert actions[:2] == ["create", "start"]
