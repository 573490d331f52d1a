"""Reads the output of one run while it is written, or afterwards."""

from collections.abc import AsyncGenerator, Callable
from io import FileIO
from typing import ParamSpec, TypeVar

from weir_nodedaemon.engines.docker.frames import FrameDecoder
from weir_nodedaemon.engines.port import LogChunk, Stream
from weir_nodedaemon.logs import segments as files
from weir_nodedaemon.logs.disk import Disk, LogNotFoundError, LogStoreError, OutputLostError
from weir_nodedaemon.logs.run import RunWriter
from weir_nodedaemon.logs.segments import Segment

_BLOCK_BYTES = 256 * 1024

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Reader:
    """Reads the segments of one run, one after the other, as far as they are written."""

    def __init__(self, disk: Disk, writer: RunWriter) -> None:
        """Read what this one writes."""
        self._disk = disk
        self._writer = writer
        self._decoder = FrameDecoder()
        self._segment: Segment | None = None
        self._file: FileIO | None = None
        self._file_position = 0
        self._skip = 0
        self._position = 0  # bytes of output that came before what is read next
        self._whole = True  # nothing that is kept is left out
        self._gaps = writer.segments.gaps  # which the reader knows of

    async def begin(self, tail: int | None, stream: Stream | None) -> None:
        """Find where to begin."""
        segments = self._writer.segments
        known = list(segments.files)
        index, self._skip = 0, segments.skip_bytes
        if tail is not None:
            paths = [segment.path for segment in known]
            index, self._skip = await self._read(
                files.tail_start, paths, segments.skip_bytes, tail, stream
            )
        if known:
            self._position = sum(known[index].start.values())
            self._whole = index == 0
            await self._open(known[index])

    async def chunks(self, end: int | None) -> AsyncGenerator[LogChunk, None]:
        """Yield what follows, up to a position, or until the run is over."""
        while True:
            writer = self._writer
            # All of this before the read: what is written afterwards wakes us.
            changed, is_over, known = writer.changed, writer.is_over, list(writer.segments.files)
            if block := await self._next_block():
                for chunk in self._decode(block):
                    yield chunk
            elif (after := self._after(known)) is not None:
                if after.after_gap:
                    self._check_gaps()
                missing = sum(after.start.values()) - self._position
                if missing > 0 or not self._decoder.is_between_frames:
                    raise _damaged(missing)
                await self._open(after)
            elif is_over:
                self._check_gaps()
                self._check()
                return
            elif end is None:
                await changed.wait()
            elif self._position < end:
                raise _damaged(end - self._position)
            if end is not None and self._position >= end and not is_over:
                return

    async def _next_block(self) -> bytes:
        """Return what follows in the open file: no frame that the disk may still refuse."""
        if self._file is None or self._segment is None:
            return b""
        most = self._segment.file_bytes
        wanted = _BLOCK_BYTES if most is None else min(_BLOCK_BYTES, most - self._file_position)
        if wanted <= 0:
            return b""
        block: bytes = await self._read(self._file.read, wanted)
        self._file_position += len(block)
        return block

    async def close(self) -> None:
        """Close the open file."""
        file, self._file = self._file, None
        if file is not None:
            await self._disk.call(file.close)

    def _decode(self, block: bytes) -> list[LogChunk]:
        try:
            chunks = self._decoder.feed(block)
        except ValueError as error:
            raise LogStoreError(f"stored output is damaged: {error}") from error
        kept: list[LogChunk] = []
        for chunk in chunks:
            self._position += len(chunk.data)
            if self._skip >= len(chunk.data):
                self._skip -= len(chunk.data)
            else:
                kept.append(LogChunk(chunk.stream, chunk.data[self._skip :]))
                self._skip = 0
        return kept

    def _after(self, known: list[Segment]) -> Segment | None:
        """Return the segment that follows the one that is open."""
        if self._segment is None and not known:
            return None
        for index, segment in enumerate(known):
            if segment is self._segment:
                return known[index + 1] if index + 1 < len(known) else None
        later = known[0] if known else None
        if later is None or sum(later.start.values()) != self._position:
            raise OutputLostError("the run printed more than is kept while it was read")
        return later

    async def _open(self, segment: Segment) -> None:
        await self.close()
        try:
            self._file = await self._read(FileIO, segment.path)
        except LogNotFoundError:
            if self._writer.is_over:
                raise
            raise OutputLostError("the run printed more than is kept while it was read") from None
        self._segment = segment
        self._file_position = 0

    async def _read(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await self._disk.call(function, *args, **kwargs)
        except LogStoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                gone = LogNotFoundError(f"the output was removed while it was read: {error}")
                raise gone from error
            raise
        except ValueError as error:
            raise LogStoreError(f"stored output is damaged: {error}") from error

    def _check_gaps(self) -> None:
        if self._writer.segments.gaps > self._gaps:
            raise OutputLostError("some of what was printed here could not be stored")

    def _check(self) -> None:
        stored = self._writer.stored
        if stored is None:
            raise LogNotFoundError("the output was removed while it was read")
        missing = sum(self._writer.segments.came.values()) - self._position
        if missing > 0 and self._whole:
            raise _damaged(missing)


def _damaged(missing: int) -> LogStoreError:
    return LogStoreError(f"stored output is damaged: {missing} bytes are missing")
