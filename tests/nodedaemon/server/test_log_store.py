import asyncio
import errno
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_nodedaemon.engines.port import LogChunk, Stream
from weir_nodedaemon.logs import (
    DiskFullError,
    LogArchiveError,
    LogNotFoundError,
    LogStore,
    LogSummary,
    select,
    tail,
)

UID = "0b9f1c9e-9a61-4c39-9d9c-0d7b4d9c2f11"
CHUNKS = st.lists(
    st.builds(
        LogChunk,
        st.sampled_from(Stream),
        st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"a\n", b"\n\n", b"\xff\x00"])),
    ),
    max_size=30,
)


async def coming(chunks: Iterable[LogChunk]) -> AsyncIterator[LogChunk]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


async def collected(chunks: AsyncIterator[LogChunk]) -> list[LogChunk]:
    return [chunk async for chunk in chunks]


def per_byte(chunks: Iterable[LogChunk]) -> list[tuple[Stream, int]]:
    """Output without its chunking: which byte came on which stream, in order."""
    return [(chunk.stream, byte) for chunk in chunks for byte in chunk.data]


@settings(max_examples=60, deadline=None)
@given(chunks=CHUNKS, limit=st.integers(1, 400))
async def test_the_newest_bytes_round_trip_with_their_streams_and_order(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[LogChunk], limit: int
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"), limit)
    summary = await store.archive(UID, 1, coming(chunks))
    came = per_byte(chunks)
    assert per_byte(await collected(store.read(UID, 1))) == came[-limit:]
    assert summary == LogSummary(
        stdout_bytes=sum(stream is Stream.STDOUT for stream, _ in came),
        stderr_bytes=sum(stream is Stream.STDERR for stream, _ in came),
        truncated=len(came) > limit,
    )
    assert store.summary(UID, 1) == summary
    assert await store.dropped_bytes(UID, 1) == max(0, len(came) - limit)


@settings(max_examples=200, deadline=None)
@given(
    chunks=CHUNKS,
    stream=st.sampled_from([None, *Stream]),
    lines=st.integers(0, 12),
    later=CHUNKS,
)
async def test_tail_is_what_splitting_all_of_it_gives_and_all_that_came_later(
    chunks: list[LogChunk], stream: Stream | None, lines: int, later: list[LogChunk]
) -> None:
    got = await collected(
        tail(
            lambda: select(coming(chunks), stream),
            lambda: select(coming(chunks + later), stream),
            lines,
        )
    )
    data, more = (
        b"".join(c.data for c in some if stream in (None, c.stream)) for some in (chunks, later)
    )
    assert b"".join(c.data for c in got) == b"".join(naive_tail(data, lines)) + more


def naive_tail(data: bytes, lines: int) -> list[bytes]:
    whole = re.findall(rb"[^\n]*\n|[^\n]+\Z", data)
    return whole[max(0, len(whole) - lines) :]


async def test_tail_measures_again_when_the_oldest_output_was_dropped_meanwhile() -> None:
    output = [LogChunk(Stream.STDOUT, b"line %d\n" % number) for number in range(1000)]
    snapshots = [output[:500], output[300:600]]

    def next_snapshot() -> AsyncIterator[LogChunk]:
        return coming(snapshots.pop(0))

    got = await collected(tail(next_snapshot, lambda: coming(output[300:700]), 10))
    assert got == output[590:700]


async def test_tail_gives_everything_rather_than_too_little_when_all_keeps_changing() -> None:
    output = [LogChunk(Stream.STDOUT, b"line %d\n" % number) for number in range(1000)]
    starts = iter(range(100))
    got = await collected(
        tail(lambda: coming(output[next(starts) :]), lambda: coming(output[next(starts) :]), 10)
    )
    assert got == output[6:]


async def test_archiving_twice_keeps_the_first_and_closes_the_second(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 100)
    first = await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"first")]))
    second = coming([LogChunk(Stream.STDOUT, b"second")])
    assert await store.archive(UID, 1, second) == first
    with pytest.raises(StopAsyncIteration):
        await anext(second)
    assert (await collected(store.read(UID, 1)))[0].data == b"first"


async def test_two_attempts_at_once_leave_one_archive_and_no_scratch(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 100)
    same = [LogChunk(Stream.STDERR, b"same")]
    one, other = await asyncio.gather(
        store.archive(UID, 1, coming(same)), store.archive(UID, 1, coming(same))
    )
    assert one == other == LogSummary(0, 4, truncated=False)
    assert list((tmp_path / ".scratch").iterdir()) == []


async def test_output_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[LogChunk]:
        yield LogChunk(Stream.STDOUT, b"x" * 10**6)
        raise RuntimeError("engine gone")

    store = LogStore(tmp_path, 10**7)
    with pytest.raises(RuntimeError, match="engine gone"):
        await store.archive(UID, 1, failing())
    assert store.summary(UID, 1) is None
    assert store.uids() == set()
    assert list((tmp_path / ".scratch").iterdir()) == []
    await store.archive(UID, 1, coming([]))
    assert store.summary(UID, 1) == LogSummary(0, 0, truncated=False)


async def test_a_cancelled_attempt_leaves_nothing(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[LogChunk]:
        while True:
            yield LogChunk(Stream.STDOUT, b"x" * 10**5)
            await asyncio.sleep(0)

    store = LogStore(tmp_path, 10**6)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.archive(UID, 1, endless()), 0.2)
    assert store.uids() == set()
    assert list((tmp_path / ".scratch").iterdir()) == []


async def test_a_long_output_takes_little_more_than_the_limit_on_the_disk(tmp_path: Path) -> None:
    limit = 2**20
    store = LogStore(tmp_path, limit)
    line = b"0123456789abcdef" * 1024
    summary = await store.archive(UID, 1, coming(LogChunk(Stream.STDOUT, line) for _ in range(640)))
    assert summary == LogSummary(640 * len(line), 0, truncated=True)
    used = sum(path.stat().st_size for path in (tmp_path / UID / "1").iterdir())
    assert limit <= used < 1.4 * limit
    assert sum(len(c.data) for c in await collected(store.read(UID, 1))) == limit


async def test_a_full_disk_is_said_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LogStore(tmp_path, 10**6)
    real = Path.write_text

    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFullError, match="No space left") as failure:
        await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"x")]))
    assert (failure.value.reason, failure.value.retry_after_seconds) == ("DiskFull", 30.0)
    assert store.uids() == set()
    monkeypatch.setattr(Path, "write_text", real)
    await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"x")]))


async def test_removed_archives_are_gone_and_removing_again_is_no_error(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 100)
    await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"x")]))
    await store.archive(UID, 2, coming([]))
    assert store.uids() == {UID}
    await store.remove(UID)
    await store.remove(UID)
    assert store.uids() == set()
    assert store.summary(UID, 1) is None
    with pytest.raises(LogNotFoundError):
        await collected(store.read(UID, 1))


async def test_an_archive_removed_while_it_is_read_is_an_error_not_an_end(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 1000)
    await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"x" * 900)]))
    reading = store.read(UID, 1)
    await anext(reading)
    await store.remove(UID)
    with pytest.raises(LogNotFoundError):
        await collected(reading)


async def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 1000)
    await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"x" * 100)]))
    (segment,) = (tmp_path / UID / "1").glob("*.frames")
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(LogArchiveError, match="damaged"):
        await collected(store.read(UID, 1))


async def test_an_archive_that_lost_its_summary_is_made_again(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 1000)
    await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"old")]))
    (tmp_path / UID / "1" / "summary.json").write_text("")
    assert store.summary(UID, 1) is None
    await store.archive(UID, 1, coming([LogChunk(Stream.STDOUT, b"new")]))
    assert (await collected(store.read(UID, 1)))[0].data == b"new"


@pytest.mark.parametrize("uid", ["", "..", "a/b", ".scratch", "x" * 65])
async def test_what_is_no_uid_never_becomes_a_path(tmp_path: Path, uid: str) -> None:
    store = LogStore(tmp_path, 1000)
    with pytest.raises(ValueError, match="not a uid"):
        await store.remove(uid)


async def test_opening_drops_what_an_interrupted_attempt_left(tmp_path: Path) -> None:
    (tmp_path / ".scratch" / "tmpx").mkdir(parents=True)
    LogStore(tmp_path, 1000)
    assert list((tmp_path / ".scratch").iterdir()) == []
