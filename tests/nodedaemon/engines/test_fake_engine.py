"""What only the fake engine has: its words, its switches, its speed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.engine_rig import Rig
from weir_nodedaemon.engines.fake.engine import FakeEngine, FakeWorld
from weir_nodedaemon.engines.fake.program import (
    Die,
    EatMemory,
    Exit,
    Sleep,
    Step,
    Trap,
    Write,
    parse,
)
from weir_nodedaemon.engines.port import EngineUnavailableError, InstanceState, Stream

IMAGE = "localhost/busybox:demo"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    world = FakeWorld()
    world.images.add(IMAGE)
    rig = Rig(FakeEngine("h", world), IMAGE, lambda host: FakeEngine(host, world))
    yield rig
    await rig.close()


@pytest.mark.parametrize(
    ("argv", "steps"),
    [
        (["true"], []),
        (["/bin/false"], [Exit(1)]),
        (["exit", "3"], [Exit(3)]),
        (["sleep", "0.5"], [Sleep(0.5)]),
        (["sleep", "2m"], [Sleep(120)]),
        (["sleep", "infinity"], [Sleep(1e9)]),
        (["print", "a", "b"], [Write(Stream.STDOUT, b"a b\n")]),
        (["tail", "/dev/zero"], [EatMemory()]),
        (["python", "train.py"], None),
        (
            ["sh", "-c", "echo 'a;b' >&2; echo -n $X && exit 2"],
            [Write(Stream.STDERR, b"a;b\n"), Write(Stream.STDOUT, b"1"), Exit(2)],
        ),
        (["sh", "-c", "echo 1\nsleep 1 & wait"], [Write(Stream.STDOUT, b"1\n"), Sleep(1)]),
        (["sh", "-c", "trap '' TERM; kill -9 $$"], [Trap(15, None), Die(9)]),
        (["sh", "-c", "trap 'exit 5' INT"], [Trap(2, 5)]),
        (["sh", "-c", r"printf 'a\377\n'"], [Write(Stream.STDOUT, b"a\xff\n")]),
        (["sh", "-c", "yes ab | head -c 7"], [Write(Stream.STDOUT, b"ab\nab\na")]),
        (["sh", "-c", "nope x"], [Write(Stream.STDERR, b"sh: nope: not found\n")]),
    ],
)
def test_a_program_is_read(argv: list[str], steps: list[Step] | None) -> None:
    assert parse(argv, {"X": "1"}) == steps


async def test_a_world_that_is_switched_off_fails_every_call_and_ends_events(rig: Rig) -> None:
    world = rig.engine.world  # type: ignore[attr-defined]
    events = rig.engine.events()
    assert (await anext(events)).action == ""
    world.available = False
    with pytest.raises(EngineUnavailableError):
        await rig.engine.observe()
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    world.available = True
    assert await rig.engine.observe() == {}


async def test_containers_outlive_the_engine_that_made_them(rig: Rig) -> None:
    name = await rig.run("sleep 0.1; exit 3")
    await rig.engine.close()
    rig.engine = rig.engine_of("h")
    assert (await rig.engine.observe())[name].state is InstanceState.RUNNING
    assert (await rig.ended(name)).exit_code == 3


async def test_a_flood_is_bounded(rig: Rig) -> None:
    name = await rig.run("yes abc | head -c 1000000", log_buffer_bytes=100_000)
    await rig.ended(name)
    chunks = [chunk async for chunk in rig.engine.follow(name)]
    assert [chunk.gap for chunk in chunks if chunk.gap] == [True]
    kept = b"".join(chunk.data for chunk in chunks)
    assert 30_000 <= len(kept) <= 100_000
    assert (b"abc\n" * 250_000).endswith(kept)


async def test_two_thousand_containers_are_no_work(rig: Rig) -> None:
    async def live() -> int | None:
        name = await rig.run("echo hello; sleep 0.05; exit 3")
        await rig.output(name)
        code = (await rig.ended(name)).exit_code
        await rig.engine.remove(name)
        return code

    async with asyncio.timeout(90):  # one after the other would take longer
        assert set(await asyncio.gather(*(live() for _ in range(2000)))) == {3}
