"""What the daemon notes about an instance beside the API and the engine: hints in small files.

Nothing depends on them: without a note a stopped run is judged by ``spec.desiredState``, and a
timeout counts from the container's start. So a disk that is full loses a hint, never a verdict, and
one that stands still holds up neither a stop nor the Lease: notes are kept in memory and written
behind, by a thread of their own. They outlive the daemon. They need not outlive the machine, with
which every instance ends, so no write waits until the disk has it.
"""

import asyncio
import dataclasses
import datetime as dt
import json
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.files import write_json
from weir_nodedaemon.instances.fence_limits import FenceLimits
from weir_nodedaemon.instances.identity import InstanceID

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0
_GATHER_SECONDS = 0.25  # a run is noted at its start, once it runs, and at its end


class StopReason(StrEnum):
    """Why the daemon stopped a run; equal to the reason that its status gives."""

    KILLED = "Killed"
    TIMED_OUT = "TimedOut"
    SUSPENDED = "Suspended"
    HOST_LOST = "HostLost"  # its Lease could not be renewed: another host may run it soon


@dataclass(frozen=True, slots=True)
class Ended:
    """How an instance ended, as the engine showed it first: it may not be there to ask again."""

    exit_code: int | None
    oom_killed: bool
    error: str
    started_at: dt.datetime | None
    finished_at: dt.datetime | None

    @classmethod
    def of(cls, seen: ObservedInstance) -> "Ended":
        """Return the end of an exited instance."""
        return cls(seen.exit_code, seen.oom_killed, seen.error, seen.started_at, seen.finished_at)

    def as_observed(self, name: str) -> ObservedInstance:
        """Return the instance as it was when it had ended."""
        return ObservedInstance(
            name=name,
            labels={},
            state=InstanceState.EXITED,
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            error=self.error,
            started_at=self.started_at,
            finished_at=self.finished_at,
        )


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What was done to an instance so far. ``*_uptime``: seconds since the machine's boot."""

    kind: str
    namespace: str
    name: str
    started: bool = False
    started_uptime: float | None = None  # when its program began
    stop_reason: StopReason | None = None  # noted before TERM is sent
    stop_noted: dt.datetime | None = None  # None: unknown, or the clock was set since
    stop_uptime: float | None = None  # the same moment
    kill_uptime: float | None = None  # when KILL follows
    term_sent: bool = False
    paused_uptime: float | None = None  # since when it is paused
    paused_seconds: float = 0.0  # of the pauses that are over
    ended: Ended | None = None
    fence: FenceLimits | None = None  # while nobody hears from this host; None: it waits


class Journal:
    """The notes on this host's instances, a file each; what is read once stays in memory."""

    def __init__(self, root: Path) -> None:
        """Read what is there; what cannot be read is left out."""
        self._root = root
        self._entries: dict[InstanceID, JournalEntry] = {}
        self._unwritten: set[InstanceID] = set()
        self._writing: set[InstanceID] = set()
        self._written = asyncio.Event()
        self._hurry = asyncio.Event()  # somebody waits: gather no more
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        root.mkdir(parents=True, exist_ok=True)
        for leftover in (*root.glob("*.tmp"), *root.glob(".*.draft")):
            with suppress(OSError):  # a disk that is read-only by now
                leftover.unlink()
        self._unreadable: dict[Path, str] = {}
        for path in root.glob("*.json"):
            found = _read(path)
            if found is None:
                self._unreadable[path] = path.stem.rpartition("-")[0]  # the uid, by ``_path``
            else:
                self._entries[found[0]] = found[1]

    def get(self, id: InstanceID) -> JournalEntry | None:
        """Return what is noted of an instance, or None."""
        return self._entries.get(id)

    def put(self, id: InstanceID, entry: JournalEntry) -> None:
        """Note it; it is written soon, or lost. Does no I/O."""
        if self._entries.get(id) == entry:
            return
        self._entries[id] = entry
        self._unwritten.add(id)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_behind(), name="journal")

    async def flush(self, id: InstanceID) -> None:
        """Wait until what is noted of an instance is written, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                while id in self._unwritten or id in self._writing:
                    self._hurry.set()
                    await self._written.wait()

    def entries(self) -> Mapping[InstanceID, JournalEntry]:
        """Return all that is noted."""
        return self._entries

    def objects(self) -> Mapping[str, JournalEntry]:
        """Return every uid of which there are notes, with one of them: they name its object."""
        return {id.uid: entry for id, entry in self._entries.items()}

    async def remove_unreadable(self, but: Collection[str]) -> None:
        """Remove the files that say nothing, but those of these uids: they may be written anew."""
        gone = [path for path, uid in self._unreadable.items() if uid not in but]
        for path in gone:
            del self._unreadable[path]
            if not any(self._path(id) == path for id in self._entries):
                logger.warning("removing note that cannot be read path=%s", path)
                await self._unlink([path])

    async def remove(self, uid: str) -> None:
        """Forget all instances of an object."""
        gone = [id for id in self._entries if id.uid == uid]
        for id in gone:
            del self._entries[id]
            self._unwritten.discard(id)
        await self._unlink([self._path(id) for id in gone])

    async def _unlink(self, paths: list[Path]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, _unlink, paths)

    async def close(self) -> None:
        """Write what is not written yet, and let the thread end."""
        if self._writer is not None:
            self._hurry.set()
            await asyncio.wait({self._writer}, timeout=_FLUSH_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _write_behind(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unwritten:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GATHER_SECONDS):
                        await self._hurry.wait()
                self._hurry.clear()
                self._writing, self._unwritten = self._unwritten, set()
                batch = {self._path(id): _encode(id, self._entries[id]) for id in self._writing}
                await loop.run_in_executor(self._thread, _write, batch)
                self._writing = set()
                written, self._written = self._written, asyncio.Event()
                written.set()
        finally:
            self._writer = None

    def _path(self, id: InstanceID) -> Path:
        return self._root / f"{id.uid}-{id.incarnation}.json"


def _write(batch: Mapping[Path, dict[str, Any]]) -> None:
    for path, values in batch.items():
        try:
            write_json(path, values, sync=False)
        except OSError as exc:
            metrics.RECORDS_LOST.inc()
            logger.warning("note not written path=%s: %s", path, exc)


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _encode(id: InstanceID, entry: JournalEntry) -> dict[str, Any]:
    return {"uid": id.uid, "incarnation": id.incarnation, **_jsonable(entry)}


def _jsonable(value: Any) -> Any:
    if isinstance(value, JournalEntry | Ended | FenceLimits):
        fields = dataclasses.fields(value)
        return {field.name: _jsonable(getattr(value, field.name)) for field in fields}
    return value.isoformat() if isinstance(value, dt.datetime) else value


def _read(path: Path) -> tuple[InstanceID, JournalEntry] | None:
    """Return a note; what it does not hold is as if nothing had been noted of it.

    Notes of earlier versions say ``run``, name no kind (there were only Tasks), and have deadlines
    by the time of day, which are not taken over: a stop begins anew, for the same reason.
    """
    try:
        values = json.loads(path.read_text())
        incarnation = values["incarnation"] if "incarnation" in values else values["run"]
        ended, fence = values.get("ended"), values.get("fence")
        by_uptime = "kill_uptime" in values
        return InstanceID(str(values["uid"]), int(incarnation)), JournalEntry(
            kind=str(values.get("kind", "Task")),
            namespace=str(values["namespace"]),
            name=str(values["name"]),
            started=bool(values.get("started")),
            started_uptime=_number(values.get("started_uptime")),
            stop_reason=StopReason(values["stop_reason"]) if values.get("stop_reason") else None,
            stop_noted=_time(values.get("stop_noted")),
            stop_uptime=_number(values.get("stop_uptime")),
            kill_uptime=_number(values.get("kill_uptime")),
            term_sent=by_uptime and bool(values.get("term_sent")),
            paused_uptime=_number(values.get("paused_uptime")),
            paused_seconds=_number(values.get("paused_seconds")) or 0.0,
            ended=Ended(
                exit_code=ended["exit_code"],
                oom_killed=ended["oom_killed"],
                error=ended["error"],
                started_at=_time(ended["started_at"]),
                finished_at=_time(ended["finished_at"]),
            )
            if ended
            else None,
            fence=FenceLimits(float(fence["term_after"]), float(fence["kill_after"]))
            if fence
            else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        logger.warning("note not readable, ignored path=%s: %s", path, exc)
        return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC) if text else None
