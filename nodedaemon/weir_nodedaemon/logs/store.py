"""The archive of logs in the daemon's state directory.

``<root>/<uid>/<run>/`` holds segments of frames, in the format of Docker's multiplexed stream
(``engines/frames.py``), so that both streams stay in order, and ``summary.json``. It appears whole,
by one rename, or not at all. Nothing is synced to the disk: after a power cut an archive may be
missing, and the daemon makes it again while the engine still has the container.
"""

import asyncio
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from weir_crds.errors import WeirError
from weir_nodedaemon.engines.docker.frames import FrameDecoder, frame_header
from weir_nodedaemon.engines.port import LogChunk, Stream
from weir_nodedaemon.logs.filters import closing, skip_bytes

_BLOCK_BYTES = 256 * 1024
_FRAME_BYTES = 32 * 1024
_SEGMENTS = 4  # an archive takes at most (1 + 1 / _SEGMENTS) times its limit on the disk
_SUMMARY = "summary.json"
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LogArchiveError(WeirError):
    """The archive could not be written or read."""

    reason = "LogArchiveFailed"
    retry_after_seconds = 15.0


class DiskFullError(LogArchiveError):
    """There is no room for the archive on the disk of the state directory."""

    reason = "DiskFull"
    retry_after_seconds = 30.0


class LogNotFoundError(WeirError):
    """There is no archive of that run (any more)."""

    reason = "LogNotFound"


@dataclass(frozen=True, slots=True)
class LogSummary:
    """How much a run printed. ``truncated``: more than the archive keeps; the newest is kept."""

    stdout_bytes: int
    stderr_bytes: int
    truncated: bool

    @property
    def total_bytes(self) -> int:
        """Both streams together."""
        return self.stdout_bytes + self.stderr_bytes


@dataclass(frozen=True, slots=True)
class _Stored:
    """What ``summary.json`` tells."""

    summary: LogSummary
    segment_bytes: int  # output in all segments
    skip_bytes: int  # of the oldest segment, which would be more than the limit
    dropped_bytes: int  # came and is not kept


class LogStore:
    """Archived logs by uid and run, each capped at the newest ``limit_bytes`` bytes printed.

    Safe for concurrent use within one process; no other process may use the same ``root``.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        """Open the archive, dropping what an interrupted attempt left."""
        if limit_bytes < 1:
            raise ValueError(f"limit_bytes must be at least 1, not {limit_bytes}")
        self._root = root
        self._limit_bytes = limit_bytes
        self._scratch = root / ".scratch"
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True, exist_ok=True)

    async def archive(self, uid: str, run_id: int, chunks: AsyncIterator[LogChunk]) -> LogSummary:
        """Store a run's whole output; one that is stored already is left as it is.

        ``chunks`` is closed in any case. What it raises comes through, and nothing is stored.

        Raises:
            DiskFullError: no room; nothing was stored.
            LogArchiveError: another failure of the disk; nothing was stored.
        """
        final = self._folder(uid, run_id)
        async with closing(chunks):
            stored = await _in_thread(_read_summary, final)
            if stored is not None:
                return stored.summary
            writer = await _in_thread(_Writer, self._scratch, self._limit_bytes)
            try:
                async for chunk in chunks:
                    writer.add(chunk)
                    if writer.pending_bytes >= _BLOCK_BYTES:
                        await _in_thread(writer.flush)
                return await _in_thread(writer.publish, final)
            finally:
                await _in_thread(writer.discard)

    def summary(self, uid: str, run_id: int) -> LogSummary | None:
        """Return the summary of an archived run; None: not archived. Reads one small file."""
        try:
            stored = _read_summary(self._folder(uid, run_id))
        except OSError as error:
            raise _translated(error) from error
        return stored.summary if stored else None

    async def dropped_bytes(self, uid: str, run_id: int) -> int:
        """Return how much of an archived run's oldest output was not kept; 0 if not archived."""
        stored = await _in_thread(_read_summary, self._folder(uid, run_id))
        return stored.dropped_bytes if stored else 0

    async def read(self, uid: str, run_id: int) -> AsyncIterator[LogChunk]:
        """Yield the kept output of an archived run, block by block.

        Raises:
            LogNotFoundError: it is not archived, or was removed meanwhile.
            LogArchiveError: the disk failed, or the archive is damaged.
        """
        folder = self._folder(uid, run_id)
        stored = await _in_thread(_read_summary, folder)
        if stored is None:
            raise LogNotFoundError(f"run {run_id} of {uid} is not archived")
        segments = _read_segments(folder, stored.segment_bytes)
        async with closing(skip_bytes(segments, stored.skip_bytes)) as kept:
            async for chunk in kept:
                yield chunk

    def uids(self) -> set[str]:
        """Return the uids of which something is archived."""
        return {entry.name for entry in os.scandir(self._root) if _UID.fullmatch(entry.name)}

    async def remove(self, uid: str) -> None:
        """Remove all runs of a uid; none being there is no error."""
        folder = self._folder(uid)
        await _in_thread(_remove, folder, self._scratch)

    def _folder(self, uid: str, run_id: int | None = None) -> Path:
        if not _UID.fullmatch(uid):
            raise ValueError(f"not a uid: {uid!r}")
        return self._root / uid if run_id is None else self._root / uid / str(run_id)


class _Writer:
    """Writes frames into segments and drops the oldest once the rest holds the limit."""

    def __init__(self, scratch: Path, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._segment_limit = max(1, limit_bytes // _SEGMENTS)
        self._segments: list[tuple[Path, int]] = []  # with the bytes of payload in each
        self._made = 0
        self._file: BinaryIO | None = None
        self._pending: list[tuple[Stream, bytearray]] = []
        self.pending_bytes = 0
        self._came = dict.fromkeys(Stream, 0)
        self._folder = Path(tempfile.mkdtemp(dir=scratch))

    def add(self, chunk: LogChunk) -> None:
        """Take a chunk; neighbours of one stream become one frame. No I/O."""
        frame_limit = min(_FRAME_BYTES, self._segment_limit)
        data = memoryview(chunk.data)
        self._came[chunk.stream] += len(data)
        self.pending_bytes += len(data)
        while data:
            last = self._pending[-1] if self._pending else None
            if last is None or last[0] is not chunk.stream or len(last[1]) >= frame_limit:
                last = (chunk.stream, bytearray())
                self._pending.append(last)
            room = frame_limit - len(last[1])
            last[1].extend(data[:room])
            data = data[room:]

    def flush(self) -> None:
        """Write what is pending."""
        for stream, payload in self._pending:
            if self._file is None or self._segments[-1][1] >= self._segment_limit:
                self._next_segment()
            assert self._file is not None
            self._file.write(frame_header(stream, len(payload)))
            self._file.write(payload)
            path, size = self._segments[-1]
            self._segments[-1] = (path, size + len(payload))
        self._pending.clear()
        self.pending_bytes = 0

    def publish(self, final: Path) -> LogSummary:
        """Finish and move everything to ``final``, unless another attempt was faster."""
        self.flush()
        if self._file is not None:
            self._file.close()
        came = sum(self._came.values())
        kept = sum(size for _, size in self._segments)
        summary = LogSummary(
            self._came[Stream.STDOUT], self._came[Stream.STDERR], came > self._limit_bytes
        )
        stored = {
            "stdoutBytes": summary.stdout_bytes,
            "stderrBytes": summary.stderr_bytes,
            "truncated": summary.truncated,
            "segmentBytes": kept,
            "skipBytes": max(0, kept - self._limit_bytes),
            "droppedBytes": max(0, came - self._limit_bytes),
        }
        (self._folder / _SUMMARY).write_text(json.dumps(stored))
        final.parent.mkdir(exist_ok=True)
        try:
            self._folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            faster = _read_summary(final)
            if faster is not None:
                return faster.summary
            shutil.rmtree(final)  # lost its summary in a power cut
            self._folder.rename(final)
        return summary

    def discard(self) -> None:
        """Drop what was not published."""
        if self._file is not None:
            with suppress(OSError):  # closing writes the buffer: the disk may be full
                self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _next_segment(self) -> None:
        if self._file is not None:
            self._file.close()
        while sum(size for _, size in self._segments[1:]) >= self._limit_bytes:
            self._segments.pop(0)[0].unlink()
        self._made += 1
        path = self._folder / f"{self._made:09d}.frames"
        self._file = path.open("wb")
        self._segments.append((path, 0))


def _read_summary(folder: Path) -> _Stored | None:
    try:
        stored = json.loads((folder / _SUMMARY).read_text())
        summary = LogSummary(stored["stdoutBytes"], stored["stderrBytes"], stored["truncated"])
        return _Stored(summary, stored["segmentBytes"], stored["skipBytes"], stored["droppedBytes"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


async def _read_segments(folder: Path, size_bytes: int) -> AsyncIterator[LogChunk]:
    """Yield all chunks of the segments; ``size_bytes`` of output must be in them."""
    decoder = FrameDecoder()
    for path in await _in_thread(lambda: sorted(folder.glob("*.frames"))):
        file = await _in_thread(_open, path)
        try:
            while block := await _in_thread(file.read, _BLOCK_BYTES):
                try:
                    chunks = decoder.feed(block)
                except ValueError as error:
                    raise LogArchiveError(f"{path} is damaged: {error}") from error
                for chunk in chunks:
                    size_bytes -= len(chunk.data)
                    yield chunk
        finally:
            await _in_thread(file.close)
    if size_bytes:
        raise LogArchiveError(f"{folder} is damaged: {size_bytes} bytes are missing")


def _open(path: Path) -> FileIO:
    try:
        return FileIO(path)
    except FileNotFoundError as error:
        raise LogNotFoundError(f"the archive was removed while it was read: {error}") from error


def _remove(folder: Path, scratch: Path) -> None:
    """Remove by way of a rename, so that no half of an archive can be read."""
    aside = Path(tempfile.mkdtemp(dir=scratch))
    with suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


async def _in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking file I/O off the event loop; a cancelled caller still waits for its end.

    Raises:
        LogArchiveError: what the disk said, translated.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.gather(call, return_exceptions=True)
        raise
    except OSError as error:
        raise _translated(error) from error


def _translated(error: OSError) -> LogArchiveError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"no room for the log archive: {error}")
    return LogArchiveError(f"the log archive failed: {error}")
