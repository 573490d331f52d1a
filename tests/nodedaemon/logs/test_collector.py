"""Output is followed into the store, whatever breaks off meanwhile, and holds nobody up."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from support.aio import until
from weir_nodedaemon.engines.port import (
    BEGINNING,
    EngineUnavailableError,
    InstanceGoneError,
    LogChunk,
    LogPosition,
    Stream,
)
from weir_nodedaemon.logs import Collector, LogStore, LogSummary
from weir_nodedaemon.logs import collector as module
from weir_nodedaemon.logs import run as run_module
from weir_nodedaemon.logs.segments import FRAME_BYTES

UID = "0b9f1c9e-9a61-4c39-9d9c-0d7b4d9c2f11"
NAME = f"weir-{UID}-1"
RUN = (UID, 1, NAME)


class Engine:
    """One instance that writes when the test says so; follows the port's contract."""

    def __init__(self) -> None:
        self.written = b""
        self.is_over = False
        self.is_gone = False
        self.is_silent = False  # who follows gets nothing more, and no end
        self.kept_waiting = 0  # for good
        self.answers = True
        self.follows = 0
        self.followers = 0
        self.read_bytes = 0  # by all of them
        self._changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written += data
        self._wake()

    def end(self) -> None:
        self.is_over = True
        self._wake()

    def cut(self) -> None:
        """Break off all followers; nobody is answered until ``back``."""
        self.answers = False
        self._wake()

    def back(self) -> None:
        self.answers = True

    async def follow(
        self, name: str, after: LogPosition = BEGINNING
    ) -> AsyncGenerator[LogChunk, None]:
        assert name == NAME
        self.follows += 1
        if self.is_gone:
            raise InstanceGoneError(name)
        if not self.answers:
            raise EngineUnavailableError("away")
        self.followers += 1
        try:
            yield LogChunk(Stream.STDOUT, b"")
            at = after.came[Stream.STDOUT]
            while True:
                changed = self._changed
                if not self.answers:
                    raise EngineUnavailableError("cut")
                if self.is_silent:
                    self.kept_waiting += 1
                    await asyncio.Event().wait()
                if at < len(self.written):
                    data, at = self.written[at:], len(self.written)
                    self.read_bytes += len(data)
                    yield LogChunk(Stream.STDOUT, data)
                elif self.is_over:
                    return
                else:
                    await changed.wait()
        finally:
            self.followers -= 1

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path, 10**6)


@pytest.fixture
async def collector(engine: Engine, store: LogStore) -> AsyncIterator[Collector]:
    collector = Collector(engine, store, still_seconds=0.3, silent_seconds=0.1)
    yield collector
    await collector.close()


async def kept(store: LogStore) -> bytes:
    return b"".join([chunk.data async for chunk in store.read(UID, 1)])


async def test_what_is_written_can_be_read_at_once_and_is_final_at_the_end(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    followed = module.FOLLOWED._value.get
    before = followed()
    await collector.begin(*RUN)
    assert followed() == before + 1
    reading = store.read(UID, 1, follow=True)
    first = asyncio.ensure_future(anext(reading))
    engine.write(b"10%\r")
    assert (await asyncio.wait_for(first, 60)).data == b"10%\r"
    engine.write(b"20%\r")
    engine.end()
    output = await collector.finish(*RUN)
    assert output.complete
    assert output.summary == LogSummary(8, 0, truncated=False)
    assert b"".join([chunk.data async for chunk in reading]) == b"20%\r"
    assert await collector.finish(*RUN) == output
    assert engine.follows == 1
    assert followed() == before


async def test_an_engine_that_was_away_costs_nothing(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    await collector.begin(*RUN)
    engine.write(b"before ")
    await until(lambda: store._writers[UID, 1].position.came[Stream.STDOUT] == 7)
    engine.cut()
    engine.write(b"meanwhile ")
    await asyncio.sleep(0.05)
    engine.back()
    engine.write(b"after")
    engine.end()
    assert (await collector.finish(*RUN)).summary == LogSummary(22, 0, truncated=False)
    assert await kept(store) == b"before meanwhile after"


async def test_a_daemon_that_is_killed_goes_on_where_it_was(
    engine: Engine, store: LogStore, tmp_path: Path
) -> None:
    before = Collector(engine, store)
    await before.begin(*RUN)
    engine.write(b"before ")
    await until(lambda: store._writers[UID, 1].position.came[Stream.STDOUT] == 7)
    await before.close()
    engine.write(b"after")
    engine.end()
    again = LogStore(tmp_path, 10**6)
    collector = Collector(engine, again)
    assert (await collector.finish(*RUN)).summary == LogSummary(12, 0, truncated=False)
    assert await kept(again) == b"before after"


async def test_the_end_of_a_run_does_not_wait_for_an_engine_that_stands_still(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    await collector.begin(*RUN)
    engine.write(b"some")
    output = await asyncio.wait_for(collector.finish(*RUN), 60)  # it never says that it is over
    assert not output.complete
    assert output.summary == LogSummary(4, 0, truncated=True)
    engine.write(b" more")
    engine.end()
    output = await collector.finish(*RUN)
    assert output.complete
    assert output.summary == LogSummary(9, 0, truncated=False)
    assert await kept(store) == b"some more"


async def test_a_start_that_is_tried_again_is_followed_anew(
    engine: Engine, collector: Collector, store: LogStore
) -> None:
    """That of the first try was removed before its start, and Docker ends no stream of it."""
    await collector.begin(*RUN)
    engine.is_silent = True
    engine.write(b"?")
    await until(lambda: engine.kept_waiting == 1)
    engine.is_silent, engine.written = False, b""
    await collector.begin(*RUN)
    engine.write(b"out")
    await until(lambda: engine.read_bytes == 3)
    engine.end()
    assert (await collector.finish(*RUN)).summary == LogSummary(3, 0, truncated=False)
    assert await kept(store) == b"out"


async def test_a_stream_that_never_ends_is_given_up_once_the_run_has_ended(
    engine: Engine, store: LogStore
) -> None:
    collector = Collector(engine, store, still_seconds=3600, silent_seconds=0.1)
    await collector.begin(*RUN)
    engine.write(b"before, ")
    await until(lambda: engine.read_bytes == 8)
    engine.is_silent = True
    engine.write(b"after")
    await until(lambda: engine.kept_waiting == 1)
    engine.end()
    ending = asyncio.ensure_future(collector.finish(*RUN))
    engine.is_silent = False
    output = await asyncio.wait_for(ending, 60)
    assert output.complete
    assert output.summary == LogSummary(13, 0, truncated=False)
    assert await kept(store) == b"before, after"
    assert engine.follows == 2
    await collector.close()


async def test_the_end_of_a_run_does_not_wait_for_an_engine_that_refuses(
    engine: Engine, collector: Collector
) -> None:
    engine.cut()
    output = await asyncio.wait_for(collector.finish(*RUN), 60)
    assert not output.complete
    assert output.summary == LogSummary(0, 0, truncated=True)


async def test_while_the_disk_is_full_nothing_is_lost_that_the_engine_keeps(
    engine: Engine, store: LogStore, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    await collector.begin(*RUN)
    engine.write(b"before ")
    await until(lambda: store._writers[UID, 1].position.came[Stream.STDOUT] == 7)
    real = os.write
    monkeypatch.setattr(os, "write", full)
    engine.write(b"while it was full ")
    engine.end()
    output = await collector.finish(*RUN)
    assert not output.complete
    assert output.summary == LogSummary(7, 0, truncated=True)
    monkeypatch.setattr(os, "write", real)
    output = await collector.finish(*RUN)
    assert output.complete
    assert output.summary == LogSummary(25, 0, truncated=False)
    assert await kept(store) == b"before while it was full "


async def test_a_disk_that_stands_still_holds_no_program_up(
    engine: Engine, store: LogStore, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine may lose what is not read: it is left, and gone on with later."""
    monkeypatch.setattr(module, "_STANDSTILL_SECONDS", 0.05)
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.02,))
    await collector.begin(*RUN)
    writes = threading.Event()
    real = os.write

    def hangs(file: int, data: bytes) -> int:
        assert writes.wait(30)
        return real(file, data)

    monkeypatch.setattr(os, "write", hangs)
    try:
        engine.write(b"before ")
        await until(lambda: engine.read_bytes == 7)
        engine.write(b"x" * module._AHEAD_BYTES)
        await until(lambda: not engine.followers)
        engine.write(b" after")
        engine.end()
        output = await asyncio.wait_for(collector.finish(*RUN), 60)
        assert not output.complete
        assert output.summary.truncated
    finally:
        writes.set()
    output = await collector.finish(*RUN)
    assert output.complete
    assert output.summary == LogSummary(13 + module._AHEAD_BYTES, 0, truncated=False)
    assert await kept(store) == engine.written


async def test_a_disk_that_is_slow_is_waited_for(
    engine: Engine, store: LogStore, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it takes something, the program is no faster than the disk."""
    await collector.begin(*RUN)
    turn = threading.Semaphore(0)
    real = os.write

    def slow(file: int, data: bytes) -> int:
        assert turn.acquire(timeout=30)
        return real(file, data)

    monkeypatch.setattr(os, "write", slow)
    for _ in range(3):
        engine.write(b"x" * module._AHEAD_BYTES)
        turn.release(module._AHEAD_BYTES // FRAME_BYTES)
        await until(lambda: engine.read_bytes == len(engine.written))
    turn.release(100)
    engine.end()
    assert (await collector.finish(*RUN)).complete
    assert engine.follows == 1
    assert await kept(store) == engine.written


async def test_a_disk_that_hangs_in_the_note_of_an_end_holds_no_end_up(
    engine: Engine, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await collector.begin(*RUN)
    engine.write(b"all")
    engine.end()
    await until(lambda: collector.follow(*RUN).complete)
    goes_on = threading.Event()
    monkeypatch.setattr(run_module, "_write_summary", lambda *_: goes_on.wait(30))
    try:
        output = await asyncio.wait_for(collector.finish(*RUN), 60)
    finally:
        goes_on.set()
    assert output.complete
    assert output.summary == LogSummary(3, 0, truncated=False)


async def test_an_instance_removed_while_it_was_followed_has_all_it_wrote(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    await collector.begin(*RUN)
    engine.write(b"all of it")
    engine.end()
    await until(lambda: collector.follow(*RUN).complete)
    engine.is_gone = True  # as after docker container prune
    assert (await collector.finish(*RUN)).summary == LogSummary(9, 0, truncated=False)


async def test_an_instance_removed_while_nobody_followed_may_have_written_more(
    engine: Engine, store: LogStore, tmp_path: Path
) -> None:
    before = Collector(engine, store)
    await before.begin(*RUN)
    engine.write(b"before")
    await until(lambda: store._writers[UID, 1].position.came[Stream.STDOUT] == 6)
    await before.close()
    engine.is_gone = True
    collector = Collector(engine, LogStore(tmp_path, 10**6))
    output = await collector.finish(*RUN)
    assert output.complete
    assert output.summary == LogSummary(6, 0, truncated=True)


async def test_a_run_begun_anew_under_the_same_name_is_followed_anew(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    await collector.begin(*RUN)
    engine.end()
    await until(lambda: collector.follow(*RUN).complete)
    engine.is_over = False
    await collector.begin(*RUN)
    engine.write(b"second try")
    engine.end()
    assert (await collector.finish(*RUN)).summary == LogSummary(10, 0, truncated=False)


async def test_an_instance_that_somebody_started_again_is_followed_on(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    await collector.begin(*RUN)
    engine.write(b"first")
    engine.end()
    await until(lambda: collector.follow(*RUN).complete)
    engine.is_over = False
    collector.follow_running(*RUN)
    engine.write(b" and second")
    await until(lambda: store._writers[UID, 1].position.came[Stream.STDOUT] == 16)
    collector.follow_running(*RUN)
    assert engine.follows == 2
    engine.end()
    assert (await collector.finish(*RUN)).summary == LogSummary(16, 0, truncated=False)


async def test_what_is_forgotten_is_followed_no_more_and_gone(
    engine: Engine, store: LogStore, collector: Collector
) -> None:
    await collector.begin(*RUN)
    engine.write(b"x")
    await until(lambda: store._writers[UID, 1].position.came[Stream.STDOUT] == 1)
    await collector.forget(UID)
    assert await store.uids() == set()
    engine.write(b"more")
    await asyncio.sleep(0.05)
    assert await store.uids() == set()
