"""Which finished objects are to go: those past their time, and the oldest beyond a cap. Pure.

Nothing here walks all finished objects: the sorted heaps are touched where something changes.
Times are monotonic seconds: a wall clock that is set must delete nothing early, nor keep it longer.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from weir_kube.store import Key


@dataclass(frozen=True, slots=True)
class Finished:
    """An object that is over for good."""

    key: Key
    uid: str
    ended_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Overdue:
    """A finished object that is to be deleted, and why: ``ttl`` or ``cap``."""

    object: Finished
    why: str


_Entry = tuple[float, Key, str]
_SLACK = 2  # heaps are cleared of what is gone when they are this many times too large


@dataclass(slots=True)
class Retention:
    """The finished objects of a kind by when they expire, and by age within their namespace."""

    cap: int
    """How many finished objects a namespace keeps."""
    _objects: dict[Key, Finished] = field(default_factory=dict)
    _by_expiry: list[_Entry] = field(default_factory=list)
    _by_age: dict[str, list[_Entry]] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        """Return how many finished objects are kept."""
        return len(self._objects)

    def track(self, finished: Finished) -> bool:
        """Take in a finished object, or its changed expiry; tell whether that was news."""
        current = self._objects.get(finished.key)
        if current == finished:
            return False
        if current is None:
            self._counts[finished.key.namespace] += 1
        self._objects[finished.key] = finished
        heapq.heappush(self._by_expiry, (finished.expires_at, finished.key, finished.uid))
        if current is None or current.uid != finished.uid:
            ages = self._by_age.setdefault(finished.key.namespace, [])
            heapq.heappush(ages, (finished.ended_at, finished.key, finished.uid))
        return True

    def forget(self, key: Key) -> None:
        """Drop one that is gone or not finished, if it is in."""
        if self._objects.pop(key, None) is None:
            return
        self._counts[key.namespace] -= 1
        if not self._counts[key.namespace]:
            del self._counts[key.namespace]
            self._by_age.pop(key.namespace, None)
        elif len(ages := self._by_age[key.namespace]) > _SLACK * self._counts[key.namespace] + 100:
            ages[:] = filter(self._is_current_age, ages)
            heapq.heapify(ages)
        if len(self._by_expiry) > _SLACK * len(self._objects) + 100:
            self._by_expiry[:] = filter(self._is_current_expiry, self._by_expiry)
            heapq.heapify(self._by_expiry)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a finished object of that key."""
        return key in self._objects

    def get(self, key: Key) -> Finished | None:
        """Return the finished object of that key, or None."""
        return self._objects.get(key)

    def next_expiry(self) -> float | None:
        """Return when the next one expires, or None."""
        while self._by_expiry:
            if self._is_current_expiry(self._by_expiry[0]):
                return self._by_expiry[0][0]
            heapq.heappop(self._by_expiry)
        return None

    def take_overdue(self, now: float, limit: int) -> list[Overdue]:
        """Take out and return what is to be deleted, oldest first, at most ``limit``.

        One whose deletion fails has to be tracked again.
        """
        found: list[Overdue] = []
        while len(found) < limit:
            expiry = self.next_expiry()
            if expiry is None or expiry > now:
                break
            found.append(Overdue(self._objects[self._by_expiry[0][1]], "ttl"))
            self.forget(found[-1].object.key)
        for namespace in sorted(name for name, count in self._counts.items() if count > self.cap):
            for oldest in self._beyond_cap(namespace):
                if len(found) >= limit:
                    return found
                found.append(Overdue(oldest, "cap"))
                self.forget(oldest.key)
        return found

    def _beyond_cap(self, namespace: str) -> Iterator[Finished]:
        ages = self._by_age[namespace]
        while self._counts[namespace] > self.cap:
            if self._is_current_age(ages[0]):
                yield self._objects[ages[0][1]]
            else:
                heapq.heappop(ages)

    def _is_current_expiry(self, entry: _Entry) -> bool:
        found = self._objects.get(entry[1])
        return found is not None and (found.expires_at, found.uid) == (entry[0], entry[2])

    def _is_current_age(self, entry: _Entry) -> bool:
        found = self._objects.get(entry[1])
        return found is not None and (found.ended_at, found.uid) == (entry[0], entry[2])
