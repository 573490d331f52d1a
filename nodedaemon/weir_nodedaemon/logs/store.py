"""What runs print, in the daemon's state directory: written while they run, read from there only.

``<root>/<uid>/<run>/`` holds the segments (``segments.py``), and ``summary.json`` once the run is
over. Followers read the same files and are woken by their writer, so a slow one holds nobody up and
takes no memory.
"""

import re
import secrets
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

from weir_nodedaemon.engines.port import LogChunk, Stream
from weir_nodedaemon.logs.disk import Disk, LogNotFoundError
from weir_nodedaemon.logs.reader import Reader
from weir_nodedaemon.logs.run import (
    LogSummary,
    Missing,
    RunWriter,
    StoredRun,
    open_run,
    read_summary,
)
from weir_nodedaemon.logs.segments import Segments

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class LogStore:
    """Output by uid and run, each capped at the newest ``limit_bytes`` bytes printed.

    No other process may use the same ``root``.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        """Open the store, dropping what an interrupted removal left."""
        if limit_bytes < 1:
            raise ValueError(f"limit_bytes must be at least 1, not {limit_bytes}")
        self.limit_bytes = limit_bytes
        self._root = root
        self._writers: dict[tuple[str, int], RunWriter] = {}
        self._disk = Disk()
        self._removed = root / ".removed"
        shutil.rmtree(self._removed, ignore_errors=True)
        self._removed.mkdir(parents=True, exist_ok=True)
        # Of no other is anything on the disk: a new run has nothing to look for.
        self._stored_uids = {entry.name for entry in root.iterdir()}

    async def writer(self, uid: str, run_id: int) -> RunWriter:
        """Return the one writer of a run, which goes on where an earlier daemon was cut off.

        Of a run that is over the writer is closed: it takes nothing more.

        Raises:
            LogStoreError: the disk failed.
        """
        known = self._writers.get((uid, run_id))
        if known is None:
            folder = self._folder(uid, run_id)
            stored, found = None, Segments(folder, self.limit_bytes)
            if uid in self._stored_uids:
                stored, found = await self._disk.call(open_run, folder, self.limit_bytes)
            self._stored_uids.add(uid)
            # Another caller may have been faster: there is one writer.
            known = self._writers.setdefault(
                (uid, run_id), RunWriter(self._disk, found, lambda: self._over(uid, run_id))
            )
            if stored is not None:
                known.close(stored)
                del self._writers[uid, run_id]
        return known

    async def summary(self, uid: str, run_id: int) -> LogSummary | None:
        """Return the summary of a run that is over and stored; None: it is not.

        Raises:
            LogStoreError: the disk failed.
        """
        if self.is_written(uid, run_id):
            return None
        stored = await self._stored(uid, run_id)
        return stored.summary if stored else None

    def is_written(self, uid: str, run_id: int) -> bool:
        """Tell whether a run's output is being stored: it is not over."""
        return (uid, run_id) in self._writers

    async def has(self, uid: str, run_id: int) -> bool:
        """Tell whether output of a run is stored or being stored."""
        if self.is_written(uid, run_id):
            return True
        return await self._disk.call(self._folder(uid, run_id).is_dir)

    async def has_begun(self, uid: str, run_id: int) -> bool:
        """Tell whether anything that a run printed is stored, or its end."""
        writer = self._writers.get((uid, run_id))
        if writer is not None:
            return not writer.position.is_beginning
        return await self._disk.call(self._folder(uid, run_id).is_dir)

    async def missing(self, uid: str, run_id: int) -> Missing:
        """Return what is not there of a run's output; nothing if there is none."""
        writer = self._writers.get((uid, run_id))
        if writer is not None:
            return Missing(writer.segments.dropped_bytes, writer.segments.gaps > 0)
        stored = await self._stored(uid, run_id)
        return Missing(stored.dropped_bytes, stored.gap) if stored else Missing(0, False)

    async def read(
        self,
        uid: str,
        run_id: int,
        *,
        follow: bool = False,
        tail: int | None = None,
        stream: Stream | None = None,
    ) -> AsyncGenerator[LogChunk, None]:
        """Yield the kept output of a run, block by block.

        Args:
            uid: of the object.
            run_id: which run.
            follow: go on until the run is over; else: what there is now.
            tail: begin with so many last lines, those of ``stream`` if one is named.
            stream: what one stream printed; None: both, in order.

        Raises:
            LogNotFoundError: nothing is stored, or it was removed meanwhile.
            OutputLostError: what comes next is not there: the reader was so slow that it is not
                kept any more, or it could not be stored (since the reading began; ``missing`` says
                whether some could not before).
            LogStoreError: the disk failed, or the files are damaged.
        """
        if not await self.has(uid, run_id):
            raise LogNotFoundError(f"there is no output of run {run_id} of {uid}")
        writer = await self.writer(uid, run_id)
        reader = Reader(self._disk, writer)
        try:
            await reader.begin(tail, stream)
            end = None if follow else sum(writer.segments.came.values())
            async for chunk in reader.chunks(end):
                if stream in (None, chunk.stream):
                    yield chunk
        finally:
            await reader.close()

    async def uids(self) -> set[str]:
        """Return the uids of which something is stored; raises LogStoreError."""
        found = await self._disk.call(lambda: [entry.name for entry in self._root.iterdir()])
        return {name for name in found if _UID.fullmatch(name)}

    async def remove(self, uid: str) -> None:
        """Remove all runs of a uid; none being there is no error."""
        folder = self._folder(uid)
        for key in [key for key in self._writers if key[0] == uid]:
            self._writers.pop(key).close(None)
        await self._disk.call(_remove, folder, self._removed)
        if not any(key[0] == uid for key in self._writers):
            self._stored_uids.discard(uid)

    def _over(self, uid: str, run_id: int) -> None:
        self._writers.pop((uid, run_id), None)

    async def _stored(self, uid: str, run_id: int) -> StoredRun | None:
        return await self._disk.call(read_summary, self._folder(uid, run_id))

    def _folder(self, uid: str, run_id: int | None = None) -> Path:
        if not _UID.fullmatch(uid):
            raise ValueError(f"not a uid: {uid!r}")
        return self._root / uid if run_id is None else self._root / uid / str(run_id)


def _remove(folder: Path, removed: Path) -> None:
    """Remove by way of a rename, so that no half of it can be read; a full disk may refuse that."""
    aside = removed / f"{folder.name}-{secrets.token_hex(8)}"
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(folder)
    else:
        shutil.rmtree(aside, ignore_errors=True)
