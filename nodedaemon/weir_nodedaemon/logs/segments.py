"""The files of one run's output: frames in segments, the oldest of which goes when it may.

A frame is that of Docker's multiplexed stream (``engines/docker/frames.py``), so both streams stay
in order. A segment is named after how many bytes of each stream came before it, ``-gap`` added
where bytes are known to be missing between it and the one before. So after a crash at any line the
names, and the frames of the last segment, say how far the output is kept; nothing is synced, and a
frame that was cut off is dropped. Where the last segment is damaged, it ends, and a gap follows.

All of this blocks: it runs in threads, and never two at a time for one run's writer.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from weir_nodedaemon.engines.docker.frames import frame_header, frames
from weir_nodedaemon.engines.port import LogChunk, Stream

FRAME_BYTES = 32 * 1024
SEGMENTS = 16  # a run takes at most (1 + 1 / SEGMENTS) times its limit on the disk, and headers
RECENT_BYTES = 4096
_NAME = re.compile(r"(\d{15})-(\d{15})(-gap)?\.frames")


@dataclass(slots=True)
class Segment:
    """One file."""

    path: Path
    start: dict[Stream, int]  # bytes of each stream that came before it
    after_gap: bool = False
    size_bytes: int = 0  # of output in it, both streams
    file_bytes: int | None = None  # so much of the file is whole frames; None: all of it


@dataclass(slots=True)
class Segments:
    """The segments of one run as its only writer knows them.

    Attributes:
        folder: where they are; made with the first one.
        limit_bytes: how much of the newest output is kept.
        came: bytes of each stream so far, what was dropped included.
        recent: the last bytes of each stream.
        gaps: places where bytes are missing that are not counted in ``came``.
    """

    folder: Path
    limit_bytes: int
    files: list[Segment] = field(default_factory=list)
    came: dict[Stream, int] = field(default_factory=lambda: dict.fromkeys(Stream, 0))
    recent: dict[Stream, bytes] = field(default_factory=lambda: dict.fromkeys(Stream, b""))
    gaps: int = 0
    _file: int | None = None
    _gap_next: bool = False

    @property
    def kept_bytes(self) -> int:
        """Output in all segments."""
        return sum(segment.size_bytes for segment in self.files)

    @property
    def skip_bytes(self) -> int:
        """How much of the oldest segment is beyond the limit."""
        return max(0, self.kept_bytes - self.limit_bytes)

    @property
    def dropped_bytes(self) -> int:
        """How much of the oldest output is not kept."""
        return max(0, sum(self.came.values()) - self.limit_bytes)

    @property
    def segment_limit(self) -> int:
        """How much output is put into one segment."""
        return max(1, self.limit_bytes // SEGMENTS)

    def append(self, chunk: LogChunk) -> None:
        """Write a chunk, and drop the oldest segments that are beyond the limit.

        Raises:
            OSError: the disk refused it. What of it is whole in the file is counted; no more.
        """
        if chunk.gap and not self._gap_next:
            self.gaps += 1
            self._gap_next = True
        data = memoryview(chunk.data)
        step = min(FRAME_BYTES, self.segment_limit)
        while data:
            if self._file is None or self._gap_next or self._is_full():
                self._next()
            part = bytes(data[:step])
            self._write(frame_header(chunk.stream, len(part)) + part)
            self.files[-1].size_bytes += len(part)
            self.came[chunk.stream] += len(part)
            self.recent[chunk.stream] = (self.recent[chunk.stream] + part)[-RECENT_BYTES:]
            data = data[step:]
        while self.files and self.kept_bytes - self.files[0].size_bytes >= self.limit_bytes:
            self.files[0].path.unlink(missing_ok=True)
            del self.files[0]

    def close(self) -> None:
        """Close the open file; ``append`` begins another."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _is_full(self) -> bool:
        return self.files[-1].size_bytes >= self.segment_limit

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        segment, written = self.files[-1], 0
        before = segment.file_bytes or 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            os.lseek(self._file, before, os.SEEK_SET)  # never half a frame before a whole one
            with suppress(OSError):
                os.ftruncate(self._file, before)
            raise
        segment.file_bytes = before + len(data)

    def _next(self) -> None:
        self.close()
        if self.files and not self.files[-1].size_bytes:  # the disk was full, or a kill cut it off
            self._gap_next |= self.files[-1].after_gap
            self.files[-1].path.unlink(missing_ok=True)
            del self.files[-1]
        make_folder(self.folder)
        gap = "-gap" if self._gap_next else ""
        stdout, stderr = self.came[Stream.STDOUT], self.came[Stream.STDERR]
        path = self.folder / f"{stdout:015d}-{stderr:015d}{gap}.frames"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.files.append(Segment(path, dict(self.came), bool(gap), file_bytes=0))
        self._gap_next = False


def make_folder(folder: Path) -> None:
    """Make a run's folder, and its object's; those that are there stay."""
    try:
        for each in (folder.parent, folder):
            with suppress(FileExistsError):
                each.mkdir()
    except FileNotFoundError:  # somebody removed the whole store
        folder.mkdir(parents=True, exist_ok=True)


def recover(folder: Path, limit_bytes: int) -> Segments:
    """Return what a writer that was killed has left, ready to go on.

    Raises:
        OSError: the disk failed.
    """
    found = Segments(folder, limit_bytes)
    segments = (named_segment(path) for path in sorted(folder.glob("*.frames")))
    found.files = [segment for segment in segments if segment]  # others are of an older version
    found.gaps = sum(segment.after_gap for segment in found.files)
    for segment, after in zip(found.files, found.files[1:], strict=False):
        segment.size_bytes = sum(after.start.values()) - sum(segment.start.values())
    if found.files:
        last = found.files[-1]
        found.came = dict(last.start)
        whole = 0
        data = last.path.read_bytes()
        try:
            for stream, begin, end in frames(data):
                if begin == end:
                    raise ValueError("an empty frame, which nobody writes")
                found.came[stream] += end - begin
                last.size_bytes += end - begin
                whole = end
        except ValueError:  # a machine without power leaves zeros, say
            found.gaps += 1
            found._gap_next = True
        if whole < len(data):
            os.truncate(last.path, whole)
        found.recent = _recent(found.files)
    return found


def named_segment(path: Path) -> Segment | None:
    """Return a segment by what its name says; None: it is of an older version."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    start = {Stream.STDOUT: int(match[1]), Stream.STDERR: int(match[2])}
    return Segment(path, start, match[3] is not None)


def _recent(files: list[Segment]) -> dict[Stream, bytes]:
    recent = dict.fromkeys(Stream, b"")
    for segment in reversed(files):
        data = segment.path.read_bytes()
        for stream, start, end in reversed(list(frames(data))):
            if len(recent[stream]) < RECENT_BYTES:
                recent[stream] = (data[start:end] + recent[stream])[-RECENT_BYTES:]
        if segment.after_gap or all(len(part) >= RECENT_BYTES for part in recent.values()):
            break
    return recent


def tail_start(
    paths: list[Path], skip_bytes: int, lines: int, stream: Stream | None
) -> tuple[int, int]:
    """Return where the last lines begin: index of the segment, bytes of output to skip in it.

    Read from the end: no more than the lines take is looked at. An unfinished last line counts.

    Args:
        paths: of the segments, oldest first.
        skip_bytes: of the oldest one, which are not kept.
        lines: how many.
        stream: whose lines; None: both streams together, as they came.

    Raises:
        OSError: the disk failed.
    """
    if lines == 0:
        last = frames(paths[-1].read_bytes()) if paths else ()
        return max(0, len(paths) - 1), sum(end - start for _, start, end in last)
    left: int | None = None  # newlines to pass; None: the last byte is not seen yet
    for index in range(len(paths) - 1, -1, -1):
        data = paths[index].read_bytes()
        found = list(frames(data))
        offset = sum(end - start for _, start, end in found)
        for of, start, end in reversed(found):
            offset -= end - start
            if stream not in (None, of) or start == end:
                continue
            if left is None:  # the newline that ends the last line is not one between two
                left = lines if data[end - 1 : end] == b"\n" else lines - 1
            position = end
            while (position := data.rfind(b"\n", start, position)) >= 0:
                if left == 0:
                    offset += position + 1 - start
                    return index, max(offset, skip_bytes) if index == 0 else offset
                left -= 1
    return 0, skip_bytes
