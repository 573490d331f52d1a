"""What the daemon notes about a run beside the API and the engine: hints in small files.

Nothing depends on them: without a note a stopped run is judged by ``spec.desiredState``, and a
timeout counts from the container's start. So a disk that is full loses a hint, never a verdict.
"""

import dataclasses
import datetime as dt
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from weir_nodedaemon import metrics

logger = logging.getLogger(__name__)


class StopReason(StrEnum):
    """Why the daemon stopped a run; equal to the reason that is told of it."""

    KILLED = "Killed"
    TIMED_OUT = "TimedOut"
    SUSPENDED = "Suspended"
    HOST_LOST = "HostLost"  # its Lease could not be renewed: another host may run it soon


class InstanceID(NamedTuple):
    """One run of one object."""

    uid: str
    run: int


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What was done to a run so far."""

    namespace: str
    name: str
    started: bool = False
    stop_reason: StopReason | None = None  # noted before TERM is sent
    stop_noted: dt.datetime | None = None
    stop_deadline: dt.datetime | None = None  # when KILL follows
    term_sent: bool = False
    paused_since: dt.datetime | None = None
    paused_seconds: float = 0.0  # of the pauses that are over


class Journal:
    """The records of this host's runs, a file each; what is read once stays in memory."""

    def __init__(self, root: Path) -> None:
        """Read what is there; what cannot be read is left out."""
        self._root = root
        self._known: dict[InstanceID, JournalEntry] = {}
        root.mkdir(parents=True, exist_ok=True)
        for leftover in root.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        for path in root.glob("*.json"):
            found = _read(path)
            if found is not None:
                self._known[found[0]] = found[1]

    def get(self, run: InstanceID) -> JournalEntry | None:
        """Return the record of a run, or None."""
        return self._known.get(run)

    def put(self, run: InstanceID, record: JournalEntry) -> None:
        """Note a record, atomically; a disk that refuses it costs only the hint after a restart."""
        if self._known.get(run) == record:
            return
        self._known[run] = record
        path = self._path(run)
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(_encode(run, record)))
            temporary.replace(path)
        except OSError as exc:
            metrics.RECORDS_LOST.inc()
            logger.warning("record not written path=%s: %s", path, exc)

    def uids(self) -> Mapping[str, JournalEntry]:
        """Return every uid that has records, with one of them (they name its object)."""
        return {run.uid: record for run, record in self._known.items()}

    def remove(self, uid: str) -> None:
        """Forget all runs of an object."""
        for run in [run for run in self._known if run.uid == uid]:
            del self._known[run]
            self._path(run).unlink(missing_ok=True)

    def _path(self, run: InstanceID) -> Path:
        return self._root / f"{run.uid}-{run.run}.json"


def _encode(run: InstanceID, record: JournalEntry) -> dict[str, Any]:
    values = {"uid": run.uid, "run": run.run, **dataclasses.asdict(record)}
    return {
        key: value.isoformat() if isinstance(value, dt.datetime) else value
        for key, value in values.items()
    }


def _read(path: Path) -> tuple[InstanceID, JournalEntry] | None:
    try:
        values = json.loads(path.read_text())
        run = InstanceID(values["uid"], values["run"])
        return run, JournalEntry(
            namespace=values["namespace"],
            name=values["name"],
            started=values["started"],
            stop_reason=StopReason(values["stop_reason"]) if values["stop_reason"] else None,
            stop_noted=_time(values["stop_noted"]),
            stop_deadline=_time(values["stop_deadline"]),
            term_sent=values["term_sent"],
            paused_since=_time(values["paused_since"]),
            paused_seconds=values["paused_seconds"],
        )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        logger.warning("record not readable, ignored path=%s: %s", path, exc)
        return None


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
