"""Output in files: written while a run goes on, followed, resumed, read from its end."""

import asyncio
import errno
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_nodedaemon.engines.port import LogChunk, Stream
from weir_nodedaemon.logs import (
    DiskFullError,
    LogNotFoundError,
    LogStore,
    LogStoreError,
    LogSummary,
    OutputLostError,
)
from weir_nodedaemon.logs.disk import Disk
from weir_nodedaemon.logs.reader import Reader

UID = "0b9f1c9e-9a61-4c39-9d9c-0d7b4d9c2f11"
CHUNKS = st.lists(
    st.builds(
        LogChunk,
        st.sampled_from(Stream),
        st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"a\n", b"\n\n", b"\xff\x00"])),
    ),
    max_size=30,
)


async def collected(chunks: AsyncIterator[LogChunk]) -> list[LogChunk]:
    return [chunk async for chunk in chunks]


async def body(chunks: AsyncIterator[LogChunk]) -> bytes:
    return b"".join([chunk.data async for chunk in chunks])


def per_byte(chunks: Iterable[LogChunk]) -> list[tuple[Stream, int]]:
    """Output without its chunking: which byte came on which stream, in order."""
    return [(chunk.stream, byte) for chunk in chunks for byte in chunk.data]


def out(data: bytes) -> list[LogChunk]:
    return [LogChunk(Stream.STDOUT, data)]


async def stored(store: LogStore, chunks: Iterable[LogChunk], run_id: int = 1) -> LogSummary:
    writer = await store.writer(UID, run_id)
    for chunk in chunks:
        await writer.append([chunk])
    return await writer.finish()


@settings(max_examples=40)
@given(chunks=CHUNKS, limit=st.sampled_from([1, 7, 30, 400]), over=st.booleans())
async def test_the_newest_bytes_round_trip_with_their_streams_and_order(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[LogChunk], limit: int, over: bool
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"), limit)
    writer = await store.writer(UID, 1)
    await writer.append(chunks)
    if over:
        await writer.finish()
    came = per_byte(chunks)
    assert per_byte(await collected(store.read(UID, 1))) == came[-limit:]
    expected = LogSummary(
        stdout_bytes=sum(stream is Stream.STDOUT for stream, _ in came),
        stderr_bytes=sum(stream is Stream.STDERR for stream, _ in came),
        truncated=len(came) > limit,
    )
    assert writer.summary == expected
    assert await store.summary(UID, 1) == (expected if over else None)
    assert await store.missing(UID, 1) == (max(0, len(came) - limit), False)


@settings(max_examples=30)
@given(first=CHUNKS, later=CHUNKS, limit=st.sampled_from([1, 7, 30, 400]))
async def test_a_daemon_that_is_killed_goes_on_where_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[LogChunk],
    later: list[LogChunk],
    limit: int,
) -> None:
    root = tmp_path_factory.mktemp("logs")
    before = await LogStore(root, limit).writer(UID, 1)
    await before.append(first)

    store = LogStore(root, limit)
    writer = await store.writer(UID, 1)
    assert writer.position.came == before.position.came
    for stream in Stream:
        recent, all_of_it = (
            writer.position.recent[stream],
            b"".join(chunk.data for chunk in first if chunk.stream is stream),
        )
        assert all_of_it.endswith(recent)
    await writer.append(later)
    summary = await writer.finish()
    assert summary.stdout_bytes + summary.stderr_bytes == len(per_byte(first + later))
    assert per_byte(await collected(store.read(UID, 1))) == per_byte(first + later)[-limit:]


async def test_a_frame_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    writer = await LogStore(tmp_path, 1000).writer(UID, 1)
    await writer.append(out(b"whole") + out(b"cut off"))
    (segment,) = (tmp_path / UID / "1").glob("*.frames")
    os.truncate(segment, segment.stat().st_size - 3)

    store = LogStore(tmp_path, 1000)
    again = await store.writer(UID, 1)
    assert again.position.came[Stream.STDOUT] == 5
    await again.append(out(b" and more"))
    await again.finish()
    assert await body(store.read(UID, 1)) == b"whole and more"


@pytest.mark.parametrize("left", [0, 1, 40])
async def test_a_summary_that_a_kill_cut_off_is_as_if_there_were_none(
    tmp_path: Path, left: int
) -> None:
    before = await stored(LogStore(tmp_path, 1000), out(b"all of it"))
    os.truncate(tmp_path / UID / "1" / "summary.json", left)

    store = LogStore(tmp_path, 1000)
    assert await store.summary(UID, 1) is None
    writer = await store.writer(UID, 1)
    assert writer.position.came[Stream.STDOUT] == 9
    assert await writer.finish() == before
    assert await LogStore(tmp_path, 1000).summary(UID, 1) == before


async def test_a_store_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "logs", 1000)
    shutil.rmtree(tmp_path / "logs")

    await stored(store, out(b"all of it"))
    assert await body(store.read(UID, 1)) == b"all of it"


@settings(max_examples=60)
@given(
    chunks=CHUNKS,
    stream=st.sampled_from([None, *Stream]),
    lines=st.integers(0, 12),
    later=CHUNKS,
    limit=st.sampled_from([20, 10_000]),
)
async def test_tail_is_what_splitting_all_of_it_gives_and_all_that_came_later(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[LogChunk],
    stream: Stream | None,
    lines: int,
    later: list[LogChunk],
    limit: int,
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"), limit)
    writer = await store.writer(UID, 1)
    await writer.append(chunks)
    kept = per_byte(chunks)[-limit:]
    data = bytes(byte for of, byte in kept if stream in (None, of))
    assert await body(store.read(UID, 1, tail=lines, stream=stream)) == naive_tail(data, lines)
    if sum(len(chunk.data) for chunk in chunks + later) > limit:
        return

    reading = store.read(UID, 1, tail=lines, stream=stream, follow=True)
    got = asyncio.create_task(body(reading))
    await asyncio.sleep(0.01)
    await writer.append(later)
    await writer.finish()
    more = b"".join(chunk.data for chunk in later if stream in (None, chunk.stream))
    assert await got in (
        naive_tail(data, lines) + more,
        naive_tail(data + more, lines),  # it began to read after the later ones had come
    )


def naive_tail(data: bytes, lines: int) -> bytes:
    whole = re.findall(rb"[^\n]*\n|[^\n]+\Z", data)
    return b"".join(whole[max(0, len(whole) - lines) :])


async def test_followers_get_every_byte_once_over_all_changes_of_files(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10**6)
    writer = await store.writer(UID, 1)
    followers = [asyncio.create_task(body(store.read(UID, 1, follow=True))) for _ in range(5)]
    lines = [b"%d\n" % number for number in range(20_000)]
    for start in range(0, len(lines), 100):
        await writer.append(out(b"".join(lines[start : start + 100])))
    await writer.finish()
    for follower in followers:
        assert await follower == b"".join(lines)


async def test_a_follower_that_is_too_slow_is_told_so(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 1000)
    writer = await store.writer(UID, 1)
    await writer.append(out(b"x" * 500))
    reading = store.read(UID, 1, follow=True)
    await anext(reading)
    for _ in range(30):
        await writer.append(out(b"y" * 500))
    with pytest.raises(OutputLostError):
        await collected(reading)


async def test_a_follower_that_waits_for_the_first_byte_is_told_if_it_misses_it(
    tmp_path: Path,
) -> None:
    writer = await LogStore(tmp_path, 16).writer(UID, 1)
    reader = Reader(Disk(), writer)
    await reader.begin(None, None)
    await writer.append(out(b"0123456789" * 5))  # all at once
    with pytest.raises(OutputLostError):
        await anext(reader.chunks(None))


async def test_a_reader_that_does_not_follow_ends_though_the_run_floods(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10**6)
    writer = await store.writer(UID, 1)
    await writer.append(out(b"x" * 300_000))
    size = 0
    async for chunk in store.read(UID, 1):
        size += len(chunk.data)
        await writer.append(out(b"y" * 1000))
    assert 300_000 <= size < 700_000


async def test_a_gap_is_noted_and_stays_so_after_a_restart(tmp_path: Path) -> None:
    writer = await LogStore(tmp_path, 1000).writer(UID, 1)
    await writer.append([*out(b"before"), LogChunk(Stream.STDOUT, b"", gap=True), *out(b"after")])
    store = LogStore(tmp_path, 1000)
    again = await store.writer(UID, 1)
    assert not again.position.exact
    assert await store.missing(UID, 1) == (0, True)
    assert await again.finish() == LogSummary(11, 0, truncated=True)
    assert await body(store.read(UID, 1)) == b"beforeafter"
    assert await store.missing(UID, 1) == (0, True)
    assert await LogStore(tmp_path, 1000).missing(UID, 1) == (0, True)


async def test_a_gap_stays_noted_though_nothing_was_written_after_it_before_a_kill(
    tmp_path: Path,
) -> None:
    writer = await LogStore(tmp_path, 1000).writer(UID, 1)
    await writer.append([*out(b"before"), LogChunk(Stream.STDOUT, b"", gap=True), *out(b"cut")])
    os.truncate(writer.segments.files[-1].path, 3)
    again = await LogStore(tmp_path, 1000).writer(UID, 1)
    await again.append(out(b"after"))
    third = LogStore(tmp_path, 1000)
    assert await (await third.writer(UID, 1)).finish() == LogSummary(11, 0, truncated=True)
    assert await third.missing(UID, 1) == (0, True)
    assert await body(third.read(UID, 1)) == b"beforeafter"


@pytest.mark.parametrize("after", [b"", b"after"])
async def test_who_follows_over_a_gap_is_cut_off_at_it(tmp_path: Path, after: bytes) -> None:
    store = LogStore(tmp_path, 1000)
    writer = await store.writer(UID, 1)
    await writer.append(out(b"before"))
    reading = store.read(UID, 1, follow=True)
    assert (await anext(reading)).data == b"before"
    await writer.append([LogChunk(Stream.STDOUT, b"", gap=True), *out(after)])
    await writer.finish()
    with pytest.raises(OutputLostError):
        await anext(reading)


async def test_finishing_twice_keeps_the_first(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 100)
    first = await stored(store, out(b"first"))
    assert await stored(store, out(b"second")) == first
    assert await body(store.read(UID, 1)) == b"first"


async def test_a_long_output_takes_little_more_than_the_limit_on_the_disk(tmp_path: Path) -> None:
    limit = 2**20
    store = LogStore(tmp_path, limit)
    line = b"0123456789abcdef" * 1024
    summary = await stored(store, [LogChunk(Stream.STDOUT, line)] * 640)
    assert summary == LogSummary(640 * len(line), 0, truncated=True)
    used = sum(path.stat().st_size for path in (tmp_path / UID / "1").iterdir())
    assert limit <= used < 1.15 * limit
    assert len(await body(store.read(UID, 1))) == limit


@pytest.mark.parametrize("written", [0, 7])
async def test_a_full_disk_is_said_and_what_is_stored_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    store = LogStore(tmp_path, 10**6)
    writer = await store.writer(UID, 1)
    await writer.append(out(b"before"))
    real = os.write
    calls = iter([written])

    def full(file: int, data: bytes) -> int:
        if (room := next(calls, 0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, bytes(data)[:room])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFullError, match="No space left") as failure:
        await writer.append(out(b"does not fit"))
    assert (failure.value.reason, failure.value.retry_after_seconds) == ("DiskFull", 30.0)
    assert writer.position.came[Stream.STDOUT] == 6
    monkeypatch.setattr(os, "write", real)
    await writer.append(out(b" and after"))
    assert await writer.finish() == LogSummary(16, 0, truncated=False)
    assert await body(store.read(UID, 1)) == b"before and after"


async def test_nobody_reads_a_frame_that_the_disk_takes_only_half_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a disk that refuses to take the half away leave anything of it."""
    store = LogStore(tmp_path, 10**6)
    writer = await store.writer(UID, 1)
    await writer.append(out(b"before"))
    reading = store.read(UID, 1, follow=True)
    assert (await anext(reading)).data == b"before"
    real, half, goes = os.write, threading.Event(), threading.Event()

    def full(file: int, data: bytes) -> int:
        if not half.is_set():
            written = real(file, bytes(data)[:12])
            half.set()
            return written
        assert goes.wait(30)
        raise OSError(errno.ENOSPC, "No space left on device")

    def failing(file: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "ftruncate", failing)
    appending = asyncio.create_task(writer.append(out(b"does not fit")))
    await asyncio.to_thread(half.wait, 30)
    assert await body(store.read(UID, 1)) == b"before"
    rest = asyncio.create_task(body(reading))
    writer._wake()
    assert await body(store.read(UID, 1)) == b"before"
    goes.set()
    with pytest.raises(LogStoreError):
        await appending
    monkeypatch.setattr(os, "write", real)
    await writer.append(out(b" and something longer"))
    await writer.finish()
    assert await asyncio.wait_for(rest, 60) == b" and something longer"
    assert await body(store.read(UID, 1)) == b"before and something longer"


async def test_output_can_be_removed_from_a_disk_without_room_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LogStore(tmp_path, 100)
    await stored(store, out(b"x"))

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    await store.remove(UID)
    assert await store.uids() == set()
    monkeypatch.undo()
    await stored(store, out(b"x"))
    monkeypatch.setattr(os, "mkdir", full)
    monkeypatch.setattr(Path, "rename", full)
    await store.remove(UID)
    assert await store.uids() == set()


async def test_a_disk_that_refuses_the_summary_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LogStore(tmp_path, 100)
    monkeypatch.setattr(Path, "write_text", full)
    assert await stored(store, out(b"all of it")) == LogSummary(9, 0, truncated=False)
    assert await body(LogStore(tmp_path, 100).read(UID, 1)) == b"all of it"


async def test_removed_output_is_gone_and_removing_again_is_no_error(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 100)
    await stored(store, out(b"x"))
    await stored(store, [], run_id=2)
    assert await store.uids() == {UID}
    await store.remove(UID)
    await store.remove(UID)
    assert await store.uids() == set()
    assert await store.summary(UID, 1) is None
    with pytest.raises(LogNotFoundError):
        await collected(store.read(UID, 1))


async def test_a_follower_of_what_is_removed_hears_of_it(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 100)
    await (await store.writer(UID, 1)).append(out(b"x"))
    reading = store.read(UID, 1, follow=True)
    await anext(reading)
    rest = asyncio.create_task(collected(reading))
    await asyncio.sleep(0)
    await store.remove(UID)
    with pytest.raises(LogNotFoundError):
        await asyncio.wait_for(rest, 60)


async def test_damaged_output_is_an_error(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10_000)
    await stored(store, out(b"x" * 100))
    (segment,) = (tmp_path / UID / "1").glob("*.frames")
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(LogStoreError, match="damaged"):
        await collected(store.read(UID, 1))
    segment.write_bytes(b"no frames at all" * 10)
    for tail in (None, 1):
        with pytest.raises(LogStoreError, match="damaged"):
            await collected(store.read(UID, 1, tail=tail))


async def test_a_file_whose_end_a_power_cut_has_damaged_is_gone_on_with(tmp_path: Path) -> None:
    writer = await LogStore(tmp_path, 100).writer(UID, 1)
    await writer.append(out(b"kept"))
    with writer.segments.files[-1].path.open("ab") as file:
        file.write(bytes(20))
    again = LogStore(tmp_path, 100)
    writer = await again.writer(UID, 1)
    assert (writer.position.came[Stream.STDOUT], writer.position.exact) == (4, False)
    await writer.append(out(b" and more"))
    assert (await writer.finish()).truncated
    assert await body(again.read(UID, 1)) == b"kept and more"


@pytest.mark.parametrize("damage", [0, 5])
async def test_a_file_that_a_power_cut_has_shortened_in_the_middle_is_an_error(
    tmp_path: Path, damage: int
) -> None:
    """Not one that is looked for again and again."""
    writer = await LogStore(tmp_path, 160).writer(UID, 1)
    for _ in range(4):
        await writer.append(out(b"0123456789"))
    os.truncate(writer.segments.files[1].path, damage)
    again = LogStore(tmp_path, 160)
    await again.writer(UID, 1)
    with pytest.raises(LogStoreError, match="damaged"):
        await asyncio.wait_for(body(again.read(UID, 1)), 60)


async def test_a_run_that_lost_its_summary_is_still_all_there(tmp_path: Path) -> None:
    await stored(LogStore(tmp_path, 1000), out(b"one\ntwo\n"))
    (tmp_path / UID / "1" / "summary.json").write_text("")
    store = LogStore(tmp_path, 1000)
    assert await store.summary(UID, 1) is None
    assert await body(store.read(UID, 1)) == b"one\ntwo\n"


async def test_what_an_older_daemon_archived_is_read(tmp_path: Path) -> None:
    folder = tmp_path / UID / "1"
    folder.mkdir(parents=True)
    frame = b"\1\0\0\0\0\0\0\4"
    (folder / "00000000.frames").write_bytes(frame + b"old\n" + frame + b"one\n")
    (folder / "00000001.frames").write_bytes(frame + b"two\n")
    (folder / "summary.json").write_text(
        '{"stdoutBytes": 20, "stderrBytes": 0, "truncated": true,'
        ' "segmentBytes": 12, "skipBytes": 4, "droppedBytes": 12}'
    )
    store = LogStore(tmp_path, 8)
    assert await store.summary(UID, 1) == LogSummary(20, 0, truncated=True)
    assert await body(store.read(UID, 1)) == b"one\ntwo\n"
    assert await body(store.read(UID, 1, tail=1, follow=True)) == b"two\n"
    assert await store.missing(UID, 1) == (12, False)


@pytest.mark.parametrize("uid", ["", "..", "a/b", ".removed", "x" * 65])
async def test_what_is_no_uid_never_becomes_a_path(tmp_path: Path, uid: str) -> None:
    store = LogStore(tmp_path, 1000)
    with pytest.raises(ValueError, match="not a uid"):
        await store.remove(uid)


async def test_opening_drops_what_an_interrupted_removal_left(tmp_path: Path) -> None:
    (tmp_path / ".removed" / "tmpx").mkdir(parents=True)
    LogStore(tmp_path, 1000)
    assert list((tmp_path / ".removed").iterdir()) == []
