"""Which finished Tasks are to go: those past their time, and the oldest beyond a cap. Pure.

Nothing here walks all finished Tasks: the sorted heaps are touched where something changes.
"""

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from weir_kube.store import Key


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished Task."""

    key: Key
    uid: str
    finished_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Overdue:
    """A finished Task that is to be deleted, and why: ``ttl`` or ``cap``."""

    task: Finished
    why: str


_Entry = tuple[dt.datetime, Key, str]
_SLACK = 2  # heaps are cleared of what is gone when they are this many times too large


@dataclass(slots=True)
class Retention:
    """The finished Tasks by when they expire, and by age within their namespace."""

    cap: int
    """How many finished Tasks a namespace keeps."""
    _tasks: dict[Key, Finished] = field(default_factory=dict)
    _by_expiry: list[_Entry] = field(default_factory=list)
    _by_age: dict[str, list[_Entry]] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        """Return how many finished Tasks are kept."""
        return len(self._tasks)

    def track(self, task: Finished) -> bool:
        """Take in a finished Task, or its changed expiry; tell whether that was news."""
        current = self._tasks.get(task.key)
        if current == task:
            return False
        if current is None:
            self._counts[task.key.namespace] += 1
        self._tasks[task.key] = task
        heapq.heappush(self._by_expiry, (task.expires_at, task.key, task.uid))
        if current is None or current.uid != task.uid:
            ages = self._by_age.setdefault(task.key.namespace, [])
            heapq.heappush(ages, (task.finished_at, task.key, task.uid))
        return True

    def forget(self, key: Key) -> None:
        """Drop a Task that is gone or not finished, if it is in."""
        if self._tasks.pop(key, None) is None:
            return
        self._counts[key.namespace] -= 1
        if not self._counts[key.namespace]:
            del self._counts[key.namespace]
            self._by_age.pop(key.namespace, None)
        elif len(ages := self._by_age[key.namespace]) > _SLACK * self._counts[key.namespace] + 100:
            ages[:] = filter(self._is_current_age, ages)
            heapq.heapify(ages)
        if len(self._by_expiry) > _SLACK * len(self._tasks) + 100:
            self._by_expiry[:] = filter(self._is_current_expiry, self._by_expiry)
            heapq.heapify(self._by_expiry)

    def next_expiry(self) -> dt.datetime | None:
        """Return when the next Task expires, or None."""
        while self._by_expiry:
            if self._is_current_expiry(self._by_expiry[0]):
                return self._by_expiry[0][0]
            heapq.heappop(self._by_expiry)
        return None

    def take_overdue(self, now: dt.datetime, limit: int) -> list[Overdue]:
        """Take out and return Tasks that are to be deleted, oldest first, at most ``limit``.

        One whose deletion fails has to be tracked again.
        """
        found: list[Overdue] = []
        while len(found) < limit:
            expiry = self.next_expiry()
            if expiry is None or expiry > now:
                break
            found.append(Overdue(self._tasks[self._by_expiry[0][1]], "ttl"))
            self.forget(found[-1].task.key)
        for namespace in sorted(name for name, count in self._counts.items() if count > self.cap):
            for task in self._beyond_cap(namespace):
                if len(found) >= limit:
                    return found
                found.append(Overdue(task, "cap"))
                self.forget(task.key)
        return found

    def _beyond_cap(self, namespace: str) -> Iterator[Finished]:
        ages = self._by_age[namespace]
        while self._counts[namespace] > self.cap:
            if self._is_current_age(ages[0]):
                yield self._tasks[ages[0][1]]
            else:
                heapq.heappop(ages)

    def _is_current_expiry(self, entry: _Entry) -> bool:
        task = self._tasks.get(entry[1])
        return task is not None and (task.expires_at, task.uid) == (entry[0], entry[2])

    def _is_current_age(self, entry: _Entry) -> bool:
        task = self._tasks.get(entry[1])
        return task is not None and (task.finished_at, task.uid) == (entry[0], entry[2])
