"""Filters over output that comes in chunks; none of them holds more than one chunk."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from weir_nodedaemon.engines.port import LogChunk, Stream

Opener = Callable[[], AsyncIterator[LogChunk]]

_HEAD_BYTES = 1024
_TAIL_TRIES = 3


@dataclass(frozen=True, slots=True)
class Extent:
    """How long some output is, streams together as they came."""

    size_bytes: int
    lines: int  # an unfinished last line counts
    head: bytes  # how it begins, to know it again


@asynccontextmanager
async def closing(chunks: AsyncIterator[LogChunk]) -> AsyncIterator[AsyncIterator[LogChunk]]:
    """Close ``chunks`` in any case, so that its engine stream or file does not stay open."""
    try:
        yield chunks
    finally:
        aclose = getattr(chunks, "aclose", None)
        if aclose is not None:
            await aclose()


async def select(chunks: AsyncIterator[LogChunk], stream: Stream | None) -> AsyncIterator[LogChunk]:
    """Yield only what one stream printed; None: both, in order."""
    async with closing(chunks):
        async for chunk in chunks:
            if stream is None or chunk.stream is stream:
                yield chunk


async def measure(chunks: AsyncIterator[LogChunk]) -> Extent:
    """Count bytes and lines to the end of ``chunks``."""
    size = newlines = 0
    head, last = b"", b"\n"
    async with closing(chunks):
        async for chunk in chunks:
            if chunk.data:
                size += len(chunk.data)
                newlines += chunk.data.count(b"\n")
                last = chunk.data[-1:]
                if len(head) < _HEAD_BYTES:
                    head += chunk.data[: _HEAD_BYTES - len(head)]
    return Extent(size, newlines + (last != b"\n"), head)


async def skip_bytes(chunks: AsyncIterator[LogChunk], count: int) -> AsyncIterator[LogChunk]:
    """Yield what comes after the first ``count`` bytes."""
    async with closing(chunks):
        async for chunk in chunks:
            if count >= len(chunk.data):
                count -= len(chunk.data)
                continue
            yield LogChunk(chunk.stream, chunk.data[count:]) if count else chunk
            count = 0


async def skip_lines(chunks: AsyncIterator[LogChunk], count: int) -> AsyncIterator[LogChunk]:
    """Yield what comes after the first ``count`` lines."""
    async with closing(chunks):
        async for chunk in chunks:
            data = chunk.data
            if count:
                here = data.count(b"\n")
                if here < count:
                    count -= here
                    continue
                start = 0
                for _ in range(count):
                    start = data.index(b"\n", start) + 1
                count = 0
                data = data[start:]
            if data:
                yield LogChunk(chunk.stream, data)


async def tail(open_snapshot: Opener, open_chunks: Opener, lines: int) -> AsyncIterator[LogChunk]:
    """Yield the last ``lines`` lines of a snapshot, and what came since.

    Two readings instead of a buffer: the last lines may be as long as the whole output. When the
    engine drops its oldest output between the two, the snapshot is measured anew; when that happens
    every time, everything is yielded.

    Args:
        open_snapshot: opens the output up to now.
        open_chunks: opens the same output, which may go on for as long as the run does.
        lines: how many.
    """
    for _ in range(_TAIL_TRIES):
        extent = await measure(open_snapshot())
        async with closing(open_chunks()) as chunks:
            first = await _take(chunks, len(extent.head))
            if not b"".join(chunk.data for chunk in first).startswith(extent.head):
                continue
            whole = _chained(first, chunks)
            if lines == 0:
                rest = skip_bytes(whole, extent.size_bytes)
            else:
                rest = skip_lines(whole, max(0, extent.lines - lines))
            async for chunk in rest:
                yield chunk
            return
    async with closing(open_chunks()) as chunks:
        async for chunk in chunks:
            yield chunk


async def _take(chunks: AsyncIterator[LogChunk], count: int) -> list[LogChunk]:
    """Read until ``count`` bytes have come, or the end."""
    taken: list[LogChunk] = []
    while count > 0 and (chunk := await anext(chunks, None)) is not None:
        taken.append(chunk)
        count -= len(chunk.data)
    return taken


async def _chained(first: list[LogChunk], rest: AsyncIterator[LogChunk]) -> AsyncIterator[LogChunk]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk
