"""What every container engine promises about output and events."""

import asyncio
from contextlib import aclosing

import pytest

from support.engine_rig import Rig, until
from weir_nodedaemon.engines.port import EngineEvent, InstanceGoneError, LogChunk, Stream

# Ten million bytes, in a second.
LINE = "0123456789" * 8
FLOOD = f"yes {LINE} | head -c 10000000"
FLOOD_BYTES = (f"{LINE}\n".encode() * 125_000)[:10_000_000]


@pytest.mark.parametrize("follow", [False, True])
async def test_bytes_come_back_as_they_were_and_streams_apart(rig: Rig, follow: bool) -> None:
    name = await rig.run(r"printf 'a\377\000\r\nno newline'; printf '\200err' >&2")
    if not follow:
        await rig.ended(name)
    assert await rig.output(name, follow=follow) == {
        Stream.STDOUT: b"a\xff\x00\r\nno newline",
        Stream.STDERR: b"\x80err",
    }


async def test_chunks_come_in_the_order_in_which_they_were_written(rig: Rig) -> None:
    name = await rig.run("echo 1; sleep 1; echo 2 >&2; sleep 1; echo 3")
    await rig.ended(name)
    assert [chunk async for chunk in rig.engine.logs(name)] == [
        LogChunk(Stream.STDOUT, b"1\n"),
        LogChunk(Stream.STDERR, b"2\n"),
        LogChunk(Stream.STDOUT, b"3\n"),
    ]


@pytest.mark.parametrize("follow", [False, True])
async def test_ten_megabytes_in_a_second_are_all_there(rig: Rig, follow: bool) -> None:
    name = await rig.run(FLOOD)
    if not follow:
        await rig.ended(name)
    output = await rig.output(name, follow=follow)
    assert len(output[Stream.STDOUT]) == len(FLOOD_BYTES)
    assert output[Stream.STDOUT] == FLOOD_BYTES


async def test_a_line_longer_than_any_buffer_is_one_line(rig: Rig) -> None:
    name = await rig.run("yes aaaaaaaa | head -c 300000")
    await rig.ended(name)
    output = await rig.output(name)
    assert output[Stream.STDOUT] == (b"aaaaaaaa\n" * 40000)[:300_000]


async def test_follow_tells_at_once_and_ends_when_the_program_ends(rig: Rig) -> None:
    name = await rig.run("echo first; sleep 3; echo last")
    async with aclosing(rig.engine.logs(name, follow=True)) as chunks:
        assert await anext(chunks) == LogChunk(Stream.STDOUT, b"first\n")
        assert (await rig.seen(name)).exit_code is None
        assert [chunk async for chunk in chunks] == [LogChunk(Stream.STDOUT, b"last\n")]
    assert (await rig.ended(name)).exit_code == 0


async def test_follow_of_what_has_ended_ends(rig: Rig) -> None:
    name = await rig.run("echo all")
    await rig.ended(name)
    assert (await rig.output(name, follow=True))[Stream.STDOUT] == b"all\n"


async def test_what_has_not_run_has_no_output(rig: Rig) -> None:
    name = await rig.create("echo never")
    assert set((await rig.output(name)).values()) == {b""}


async def test_follow_ends_when_the_container_is_removed(rig: Rig) -> None:
    name = await rig.run("echo up; sleep 60")
    async with aclosing(rig.engine.logs(name, follow=True)) as chunks:
        assert (await anext(chunks)).data == b"up\n"
        await rig.engine.remove(name)
        assert await asyncio.wait_for(anext(chunks, None), 60) is None


@pytest.mark.parametrize("follow", [False, True])
async def test_what_is_not_there_has_no_output(rig: Rig, follow: bool) -> None:
    with pytest.raises(InstanceGoneError):
        await rig.output(rig.spec().name, follow=follow)


async def test_a_hundred_followers_hold_nobody_up_and_leave_nothing_behind(rig: Rig) -> None:
    name = await rig.run("echo up; sleep 60")
    tasks_before = len(asyncio.all_tasks())
    heard = asyncio.Semaphore(0)

    async def follow() -> None:
        async with aclosing(rig.engine.logs(name, follow=True)) as chunks:
            async for _ in chunks:
                heard.release()

    followers = [asyncio.create_task(follow()) for _ in range(100)]
    for _ in followers:
        await asyncio.wait_for(heard.acquire(), 60)
    assert (await asyncio.wait_for(rig.result("exit 3"), 60)).exit_code == 3
    for follower in followers:
        follower.cancel()
    await asyncio.wait(followers, timeout=60)
    assert all(follower.cancelled() for follower in followers)
    assert len(asyncio.all_tasks()) <= tasks_before


async def test_a_follower_that_does_not_read_holds_nobody_up_and_loses_nothing(rig: Rig) -> None:
    name = await rig.run("echo first; sleep 0.5; " + FLOOD)
    async with aclosing(rig.engine.logs(name, follow=True)) as chunks:
        assert (await anext(chunks)).data == b"first\n"
        await rig.ended(name)
        rest = b"".join([chunk.data async for chunk in chunks])
    assert len(rest) == len(FLOOD_BYTES)
    assert rest == FLOOD_BYTES


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
        return len(events) >= len(expected)

    await until(all_told, "all events")
    assert events == expected
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
