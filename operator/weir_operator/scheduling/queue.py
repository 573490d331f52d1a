"""What waits, in the order in which it is tried: priority, then fair share, then age. Pure."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from weir_crds.demand import Request
from weir_operator.scheduling.workload import WorkloadKey


@dataclass(frozen=True, slots=True)
class Pending:
    """A workload that waits for a host."""

    uid: str
    key: WorkloadKey
    owner: str
    priority: int
    created: str
    """``metadata.creationTimestamp``; whole seconds, so the order of arrival breaks ties."""
    request: Request


_Lane = tuple[int, str, Request]


@dataclass(slots=True)
class PendingQueue:
    """Pending Tasks in lanes of equal priority, owner and request.

    Within a lane all are alike and the oldest is first; so when its head fits nowhere none of the
    lane does, and choosing costs the number of lanes, not of Tasks.
    """

    _lanes: dict[_Lane, list[tuple[str, int, str]]] = field(default_factory=dict)
    _items: dict[str, tuple[Pending, int]] = field(default_factory=dict)
    _lanes_of: Counter[Request] = field(default_factory=Counter)
    _arrivals: int = 0

    def __len__(self) -> int:
        """Return how many Tasks wait."""
        return len(self._items)

    def __contains__(self, uid: object) -> bool:
        """Tell whether that Task waits."""
        return uid in self._items

    def requests(self) -> set[Request]:
        """Return the different requests that wait."""
        return set(self._lanes_of)

    def get(self, uid: str) -> Pending | None:
        """Return a waiting Task, or None."""
        item = self._items.get(uid)
        return item[0] if item else None

    def add(self, pending: Pending) -> bool:
        """Put a Task in, or move it when its priority, owner or request changed.

        Its place by age stays. Returns whether anything changed.
        """
        current = self._items.get(pending.uid)
        if current is not None and current[0] == pending:
            return False
        if current is None:
            self._arrivals += 1
            arrival = self._arrivals
        else:
            arrival = current[1]
            self.remove(pending.uid)
        self._items[pending.uid] = (pending, arrival)
        lane = self._lanes.get(_lane_of(pending))
        if lane is None:
            lane = self._lanes[_lane_of(pending)] = []
            self._lanes_of[pending.request] += 1
        heapq.heappush(lane, (pending.created, arrival, pending.uid))
        return True

    def remove(self, uid: str) -> None:
        """Take a Task out, if it is in."""
        item = self._items.pop(uid, None)
        if item is not None:
            self._tidy(_lane_of(item[0]))

    def choose(
        self,
        share: Callable[[str], tuple[float, int]],
        skip: Callable[[Request], bool],
    ) -> Pending | None:
        """Return the Task to try next; it stays in.

        Args:
            share: how much an owner has already; the smallest goes first.
            skip: tells whether a request is known to fit nowhere now.
        """
        lanes = _most_urgent(lane for lane in self._lanes if not skip(lane[2]))
        shares = {owner: share(owner) for owner in {owner for _, owner, _ in lanes}}
        best = min(
            lanes,
            key=lambda lane: (shares[lane[1]], self._lanes[lane][0][:2]),
            default=None,
        )
        return None if best is None else self._items[self._lanes[best][0][2]][0]

    def _tidy(self, key: _Lane) -> None:
        """Drop what is gone or moved from the head of a lane, and the lane when it is empty."""
        lane = self._lanes[key]
        while lane:
            _, arrival, uid = lane[0]
            item = self._items.get(uid)
            if item is not None and item[1] == arrival and _lane_of(item[0]) == key:
                return
            heapq.heappop(lane)
        del self._lanes[key]
        self._lanes_of[key[2]] -= 1
        if not self._lanes_of[key[2]]:
            del self._lanes_of[key[2]]


def _lane_of(pending: Pending) -> _Lane:
    return (pending.priority, pending.owner, pending.request)


def _most_urgent(lanes: Iterable[_Lane]) -> list[_Lane]:
    found: list[_Lane] = []
    for lane in lanes:
        if found and lane[0] < found[0][0]:
            continue
        if found and lane[0] > found[0][0]:
            found.clear()
        found.append(lane)
    return found
