"""Filters over output that comes in chunks; none of them holds more than one chunk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from weir_nodedaemon.engines.port import LogChunk, Stream


@dataclass(frozen=True, slots=True)
class Extent:
    """How long some output is, streams together as they came."""

    bytes: int
    lines: int  # an unfinished last line counts


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
    last = b"\n"
    async with closing(chunks):
        async for chunk in chunks:
            if chunk.data:
                size += len(chunk.data)
                newlines += chunk.data.count(b"\n")
                last = chunk.data[-1:]
    return Extent(size, newlines + (last != b"\n"))


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


def tail(chunks: AsyncIterator[LogChunk], extent: Extent, lines: int) -> AsyncIterator[LogChunk]:
    """Yield the last ``lines`` lines of output that was measured before, and what came since.

    Two readings instead of a buffer: the last lines may be as long as the whole output.
    """
    if lines == 0:
        return skip_bytes(chunks, extent.bytes)
    return skip_lines(chunks, max(0, extent.lines - lines))
