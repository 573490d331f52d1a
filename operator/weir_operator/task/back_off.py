"""For how long Tasks have been backing off, by a clock that nobody sets. No I/O."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds import retry
from weir_crds.times import after
from weir_kube.store import Key, key_of


@dataclass(frozen=True, slots=True)
class _BackOff:
    uid: str
    run_id: int
    began: float
    """In monotonic seconds; before our own time, by what the wall clocks said."""


class BackOffs:
    """The pauses between runs that this process has seen, in monotonic seconds.

    When a pause began stands in the object, as a wall time. That is asked once for each pause, when
    it is first seen, and believed as far as it can be true: a pause has begun in the past, and what
    is left of it is no more than the whole. A clock that is set later neither delays nor skips a
    run.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Make a record of none yet; ``clock`` gives monotonic seconds."""
        self._clock = clock
        self._seen: dict[Key, _BackOff] = {}

    def __len__(self) -> int:
        """Return how many are kept in mind."""
        return len(self._seen)

    def time_of(self, task: Mapping[str, Any], now: dt.datetime) -> dt.datetime:
        """Return the time by which a Task's back-off is to be judged; else it is ``now``.

        Raises:
            InvalidTimeError: a time that the CRD should have refused.
        """
        status = task.get("status") or {}
        pause = retry.pause_of(task["spec"], status)
        if pause is None:
            if self._seen:
                self._seen.pop(key_of(task), None)
            return now
        key, uid, clock = key_of(task), task["metadata"]["uid"], self._clock()
        seen = self._seen.get(key)
        if seen is None or (seen.uid, seen.run_id) != (uid, status["runID"]):
            passed = min(max(0.0, (now - pause.since).total_seconds()), pause.seconds)
            seen = self._seen[key] = _BackOff(uid, status["runID"], clock - passed)
        return after(pause.since, clock - seen.began)

    def forget(self, key: Key) -> None:
        """Drop what is known of a Task that is gone."""
        self._seen.pop(key, None)
