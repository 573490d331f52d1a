"""Output of Docker's containers in the store, while the disk, the daemon or Docker stand still."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from support.aio import until
from support.engine_rig import Rig
from weir_nodedaemon.engines.port import Stream
from weir_nodedaemon.logs import Collector, LogStore, Output

pytestmark = pytest.mark.docker

LINE = b"0123456789" * 8 + b"\n"
# Docker waits for a reader when a million bytes are unread; what is in the socket comes to that.
HELD_UP_BYTES = 1_200_000


WAITS = 'trap go=1 USR1; echo waits; until [ -n "$go" ]; do sleep 0.05; done'


def prints(size: int) -> str:
    return f"yes {LINE[:-1].decode()} | head -c {size}"


def printed(size: int) -> bytes:
    return (LINE * (size // len(LINE) + 1))[:size]


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path, 32 << 20)


@pytest.fixture
async def collector(docker_rig: Rig, store: LogStore) -> AsyncIterator[Collector]:
    collector = Collector(docker_rig.engine, store, still_seconds=0.5)
    yield collector
    await collector.close()


class Disk:
    """Takes what is written, but while it stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes = threading.Event()
        self.goes.set()
        write = os.write

        def waits(file: int, data: bytes) -> int:
            assert self.goes.wait(60)
            return write(file, data)

        monkeypatch.setattr(os, "write", waits)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.goes.set()


async def stored(collector: Collector, name: str) -> Output:
    """Wait until all of a run is stored."""
    async with asyncio.timeout(60):
        while not (output := await collector.finish(*run(name))).complete:
            pass  # waits by itself
    return output


def run(name: str) -> tuple[str, int, str]:
    return name.removeprefix("weir-").removesuffix("-1"), 1, name


async def kept(store: LogStore, name: str) -> bytes:
    return b"".join([chunk.data async for chunk in store.read(*run(name)[:2])])


@pytest.mark.parametrize("size", [300_000, 1_450_000, 6_000_000])
async def test_a_disk_that_stands_still_holds_no_program_up_and_loses_nothing(
    docker_rig: Rig, store: LogStore, collector: Collector, disk: Disk, size: int
) -> None:
    name = await docker_rig.create(f"{prints(size)}; exit 3")
    await collector.begin(*run(name))
    disk.goes.clear()
    await docker_rig.engine.start(name)
    assert (await docker_rig.ended(name)).exit_code == 3
    assert not (await collector.finish(*run(name))).complete
    disk.goes.set()
    output = await stored(collector, name)
    assert not output.summary.truncated
    assert output.summary.stdout_bytes == size
    assert await kept(store, name) == printed(size)


async def test_six_megabytes_in_short_lines_are_all_there(
    docker_rig: Rig, store: LogStore, collector: Collector
) -> None:
    """In Docker's log each such line takes eighteen times its size."""
    size = 6_000_000
    name = await docker_rig.create(f"yes x | head -c {size}")
    await collector.begin(*run(name))
    await docker_rig.engine.start(name)
    await docker_rig.ended(name)
    output = await stored(collector, name)
    assert not output.summary.truncated
    assert await kept(store, name) == b"x\n" * (size // 2)


async def test_a_daemon_that_is_killed_again_and_again_loses_nothing_untold(
    docker_rig: Rig, tmp_path: Path
) -> None:
    """The next one knows what is in the files, and what Docker has kept."""
    script = (
        "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo line $i;"
        " [ $((i % 1000)) -gt 0 ] || sleep 0.05; done; printf end"
    )
    name = await docker_rig.create(script)
    expected = b"".join(b"line %d\n" % n for n in range(1, 40_001)) + b"end"
    store = LogStore(tmp_path, 32 << 20)
    collector = Collector(docker_rig.engine, store, still_seconds=0.5)
    await collector.begin(*run(name))
    await docker_rig.engine.start(name)
    for _ in range(4):
        follower = collector.follow(*run(name))
        at = follower.progress
        await until(lambda f=follower, at=at: f.progress >= at + 2 or f.complete)
        await collector.close()
        store = LogStore(tmp_path, 32 << 20)
        collector = Collector(docker_rig.engine, store, still_seconds=0.5)
    await docker_rig.ended(name)
    output = await stored(collector, name)
    await collector.close()
    assert not output.summary.truncated
    assert await kept(store, name) == expected


async def test_a_container_that_somebody_starts_again_is_followed_on(
    docker_rig: Rig, store: LogStore, collector: Collector
) -> None:
    name = await docker_rig.create("echo begin; exec sleep 1000")
    await collector.begin(*run(name))
    await docker_rig.engine.start(name)
    first = collector.follow(*run(name))
    await until(lambda: first.progress > 0)
    await docker_rig.engine._client.call("POST", f"/containers/{name}/restart", params={"t": "0"})
    await until(lambda: first.complete)
    collector.follow_running(*run(name))
    expected = b"begin\n" * 2
    await until(lambda: store._writers[run(name)[:2]].position.came[Stream.STDOUT] == len(expected))
    await docker_rig.engine.signal(name, signal.SIGKILL)
    await docker_rig.ended(name)
    output = await stored(collector, name)
    assert not output.summary.truncated


@pytest.mark.parametrize("size", [100_000, 1_300_000, 1_450_000, 1_600_000])
async def test_what_is_lost_while_a_reader_stood_still_is_said(docker_rig: Rig, size: int) -> None:
    """As when the daemon is stopped (SIGSTOP) while a program ends with a full pipe."""
    name = await docker_rig.create(f"{WAITS}; {prints(size)}")
    rest = b""
    gap = False
    async with aclosing(docker_rig.engine.follow(name)) as chunks:
        await anext(chunks)
        await docker_rig.engine.start(name)
        assert (await anext(chunks)).data == b"waits\n"
        # Now: Docker shows nothing of a program that has ended with a full pipe.
        program = (await docker_rig.engine._client.get(f"/containers/{name}/json"))["State"]["Pid"]
        await docker_rig.engine.signal(name, signal.SIGUSR1)
        first = await anext(chunks)
        rest += first.data
        await gone_or_held_up(program)
        async for chunk in chunks:
            rest += chunk.data
            gap = gap or chunk.gap
    await docker_rig.ended(name)
    assert printed(size).startswith(rest)
    assert len(rest) == size or gap
    assert len(rest) > min(size - 1, HELD_UP_BYTES - 300_000)
    if size == 100_000:
        assert not gap


async def gone_or_held_up(pid: int) -> None:
    """Wait until a program is over, and Docker waits no more for who reads its output; or stuck."""
    stat, used, still = Path(f"/proc/{pid}/stat"), -1, 0
    while still < 8:
        await asyncio.sleep(0.5)
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # noqa: ASYNC240
            now = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
        except (FileNotFoundError, ProcessLookupError):
            now = -2
        still, used = still + 1 if now == used else 0, now
