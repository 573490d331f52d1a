"""One run's output as it is written: its segments, and its summary once the run is over."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from weir_nodedaemon.engines.port import LogChunk, LogPosition, Stream
from weir_nodedaemon.files import write_file
from weir_nodedaemon.logs import segments as files
from weir_nodedaemon.logs.disk import Disk, LogStoreError
from weir_nodedaemon.logs.segments import Segment, Segments, make_folder

_SUMMARY = "summary.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogSummary:
    """How much a run printed.

    ``truncated``: not all of it is stored: the oldest was more than is kept, or some is lost.
    """

    stdout_bytes: int
    stderr_bytes: int
    truncated: bool


class Missing(NamedTuple):
    """What of a run's output is not there."""

    oldest_bytes: int  # were more than is kept
    gap: bool  # somewhere some could not be stored


class StoredRun(NamedTuple):
    """What ``summary.json`` says."""

    summary: LogSummary
    segment_bytes: int  # output in all segments
    skip_bytes: int  # of the oldest segment, which would be more than the limit
    dropped_bytes: int  # came and is not kept
    gap: bool  # some is missing that was never counted


class RunWriter:
    """Writes the output of one run. One caller at a time appends."""

    def __init__(self, disk: Disk, segments: Segments, on_over: Callable[[], None]) -> None:
        """Go on with these segments, and call ``on_over`` when the run is over."""
        self.segments = segments
        self.is_over = False
        self.changed = asyncio.Event()
        self.stored: StoredRun | None = None
        self._disk = disk
        self._on_over = on_over
        self._lock = asyncio.Lock()

    @property
    def position(self) -> LogPosition:
        """How far the output is stored."""
        return LogPosition(
            dict(self.segments.came), dict(self.segments.recent), exact=not self.segments.gaps
        )

    @property
    def summary(self) -> LogSummary:
        """How much came so far."""
        came, dropped = self.segments.came, self.segments.dropped_bytes
        truncated = self.segments.gaps > 0 or dropped > 0
        return LogSummary(came[Stream.STDOUT], came[Stream.STDERR], truncated)

    async def append(self, chunks: Iterable[LogChunk]) -> None:
        """Store what came next. Returns when followers can read it.

        Raises:
            DiskFullError: no room; ``position`` says what is stored all the same.
            LogStoreError: another failure of the disk; likewise.
        """
        async with self._lock:
            if self.is_over:
                return
            try:
                await self._disk.call(self._append, chunks)
            finally:
                self._wake()

    async def finish(self) -> LogSummary:
        """Note that the run is over, and return what it printed.

        A disk that refuses the note costs nothing: the files say the same.
        """
        async with self._lock:
            if not self.is_over:
                segments = self.segments
                stored = StoredRun(
                    self.summary,
                    segments.kept_bytes,
                    segments.skip_bytes,
                    segments.dropped_bytes,
                    segments.gaps > 0,
                )
                try:
                    await self._disk.call(_write_summary, segments, stored)
                except LogStoreError as error:
                    logger.warning("summary not written folder=%s: %s", segments.folder, error)
                self.close(stored)
                self._on_over()
            assert self.stored is not None
            return self.stored.summary

    def close(self, stored: StoredRun | None) -> None:
        """Take nothing more, and let the followers end; None: what was stored is removed."""
        self.stored = stored
        self.is_over = True
        self.segments.close()
        self._wake()

    def _append(self, chunks: Iterable[LogChunk]) -> None:
        for chunk in chunks:
            self.segments.append(chunk)

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


def open_run(folder: Path, limit_bytes: int) -> tuple[StoredRun | None, Segments]:
    """Return the summary of a run that is over, and its segments, whichever daemon wrote them."""
    stored = read_summary(folder)
    if stored is None:
        return None, files.recover(folder, limit_bytes)
    came = {
        Stream.STDOUT: stored.summary.stdout_bytes,
        Stream.STDERR: stored.summary.stderr_bytes,
    }
    found = Segments(
        folder, max(1, stored.segment_bytes - stored.skip_bytes), came=came, gaps=int(stored.gap)
    )
    before = sum(came.values()) - stored.segment_bytes
    paths = sorted(folder.glob("*.frames"))
    found.files = [
        files.named_segment(path) or Segment(path, {Stream.STDOUT: before}) for path in paths
    ]
    if found.files:  # only the sum is used of a run that is over
        found.files[0].size_bytes = stored.segment_bytes
    return stored, found


def read_summary(folder: Path) -> StoredRun | None:
    """Return what is noted of a run that is over; None: nothing that can be read."""
    try:
        stored = json.loads((folder / _SUMMARY).read_text())
        summary = LogSummary(stored["stdoutBytes"], stored["stderrBytes"], stored["truncated"])
        return StoredRun(
            summary,
            stored["segmentBytes"],
            stored["skipBytes"],
            stored["droppedBytes"],
            stored.get("gap", False),  # older daemons knew of none
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _write_summary(segments: Segments, stored: StoredRun) -> None:
    make_folder(segments.folder)
    values = {
        "stdoutBytes": stored.summary.stdout_bytes,
        "stderrBytes": stored.summary.stderr_bytes,
        "truncated": stored.summary.truncated,
        "segmentBytes": stored.segment_bytes,
        "skipBytes": stored.skip_bytes,
        "droppedBytes": stored.dropped_bytes,
        "gap": stored.gap,
    }
    # One cut off by a kill is no JSON, which is as if there were none.
    write_file(segments.folder / _SUMMARY, json.dumps(values).encode())
