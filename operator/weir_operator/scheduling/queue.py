"""What waits, in the order in which it is tried: priority, then fair share, then age. Pure."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from operator import attrgetter
from typing import NamedTuple

from weir_crds.demand import Request
from weir_kube.store import Object
from weir_operator.scheduling.workload import WorkloadKey, owner_of

_SLACK = 16
Share = Callable[[str], tuple[float, int]]
"""Tells how much an owner has already; who has least goes first."""


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


_Entry = tuple[str, int, str]
"""When one was created, when it arrived, and its uid."""
_NOBODY: _Entry = ("", 0, "")


class Lane:
    """Those of equal priority, owner and request, oldest first.

    When its head fits nowhere, none of the lane does.
    """

    __slots__ = (
        "_live",
        "cores",
        "entries",
        "gpus",
        "head",
        "memory_bytes",
        "owner",
        "priority",
        "request",
    )

    def __init__(self, priority: int, owner: str, request: Request) -> None:
        """Make an empty lane; what a cheap test of a host needs is kept at hand."""
        self.priority = priority
        self.owner = owner
        self.request = request
        self.cores = request.cores
        self.memory_bytes = request.memory_bytes
        self.gpus = request.gpus
        self.entries: list[_Entry] = []
        self.head: _Entry = _NOBODY
        """The oldest."""
        self._live = 0

    def add(self, entry: _Entry) -> None:
        """Put one in."""
        heapq.heappush(self.entries, entry)
        self.head = self.entries[0]
        self._live += 1

    def remove(self, is_in: Callable[[_Entry], bool]) -> bool:
        """Note that one has left; tell whether any is left.

        Args:
            is_in: tells whether an entry is still in the lane.
        """
        self._live -= 1
        entries = self.entries
        if len(entries) > 2 * self._live + _SLACK:
            entries[:] = filter(is_in, entries)
            heapq.heapify(entries)
        while entries and not is_in(entries[0]):
            heapq.heappop(entries)
        self.head = entries[0] if entries else _NOBODY
        return bool(entries)


class Spare(NamedTuple):
    """What a host has left at most: a lane that asks for more certainly does not fit."""

    cores: float = inf
    memory_bytes: float = inf
    gpus: float = inf


_ANY = Spare()
_HEAD = attrgetter("head")


class _Lanes:
    """Some lanes by priority, owner and cores: looking for those that could fit skips the rest."""

    def __init__(self) -> None:
        self._by_priority: dict[int, dict[str, dict[int, dict[Lane, None]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_priority)

    def priorities(self) -> Iterable[int]:
        return self._by_priority

    def owners(self, priority: int) -> Iterable[str]:
        return self._by_priority.get(priority, ())

    def of(self, priority: int, owner: str, spare: Spare) -> list[Lane]:
        """Return the lanes that could fit."""
        most_cores, memory, gpus = spare
        return [
            lane
            for cores, lanes in self._by_priority.get(priority, {}).get(owner, {}).items()
            if cores <= most_cores
            for lane in lanes
            if lane.memory_bytes <= memory and lane.gpus <= gpus
        ]

    def add(self, lane: Lane) -> None:
        by_owner = self._by_priority.setdefault(lane.priority, {})
        by_owner.setdefault(lane.owner, {}).setdefault(lane.cores, {})[lane] = None

    def discard(self, lane: Lane) -> None:
        by_owner = self._by_priority.get(lane.priority, {})
        by_cores = by_owner.get(lane.owner, {})
        lanes = by_cores.get(lane.cores, {})
        if lane not in lanes:
            return
        del lanes[lane]
        if not lanes:
            del by_cores[lane.cores]
        if not by_cores:
            del by_owner[lane.owner]
        if not by_owner:
            del self._by_priority[lane.priority]


_LaneKey = tuple[int, str, Request]


@dataclass(slots=True)
class PendingQueue:
    """Pending workloads in lanes, and what is known of their requests.

    A request is *refused* from the moment at which no host had room for it until it waits no more:
    hosts that get room later are looked at one by one. All others are *untried*.
    """

    _items: dict[str, tuple[Pending, int]] = field(default_factory=dict)
    _lanes: dict[_LaneKey, Lane] = field(default_factory=dict)
    _by_request: dict[Request, dict[Lane, None]] = field(default_factory=dict)
    _by_host: dict[str | None, _Lanes] = field(default_factory=dict)
    _all: _Lanes = field(default_factory=_Lanes)
    _untried: _Lanes = field(default_factory=_Lanes)
    _refused: set[Request] = field(default_factory=set)
    _arrivals: int = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._items)

    def __contains__(self, uid: object) -> bool:
        """Tell whether that one waits."""
        return uid in self._items

    @property
    def has_refused(self) -> bool:
        """Whether any request that waits was refused by all hosts."""
        return bool(self._refused)

    def get(self, uid: str) -> Pending | None:
        """Return a waiting one, or None."""
        item = self._items.get(uid)
        return item[0] if item else None

    def is_refused(self, request: Request) -> bool:
        """Tell whether no host had room for a request when all were looked at."""
        return request in self._refused

    def add(self, pending: Pending) -> bool:
        """Put one in, or move it when its priority, owner or request changed.

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
        key = _lane_key(pending)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(*key)
            self._all.add(lane)
            self._by_request.setdefault(lane.request, {})[lane] = None
            self._by_host.setdefault(lane.request.host_name, _Lanes()).add(lane)
            if lane.request not in self._refused:
                self._untried.add(lane)
        lane.add((pending.created, arrival, pending.uid))
        return True

    def remove(self, uid: str) -> None:
        """Take one out, if it is in."""
        item = self._items.pop(uid, None)
        if item is None:
            return
        key = _lane_key(item[0])
        lane = self._lanes[key]
        if lane.remove(lambda entry: self._is_in(entry, key)):
            return
        del self._lanes[key]
        self._all.discard(lane)
        self._untried.discard(lane)
        host = lane.request.host_name
        self._by_host[host].discard(lane)
        if not self._by_host[host]:
            del self._by_host[host]
        del self._by_request[lane.request][lane]
        if not self._by_request[lane.request]:
            del self._by_request[lane.request]
            self._refused.discard(lane.request)

    def refuse(self, request: Request) -> list[Pending]:
        """Note that no host has room for a request; return the heads of its lanes."""
        lanes = self._by_request.get(request, {})
        if lanes:
            self._refused.add(request)
        for lane in lanes:
            self._untried.discard(lane)
        return [self._head(lane) for lane in lanes]

    def next_untried(self, share: Share, barred: Set[str] = frozenset()) -> Pending | None:
        """Return the one to try next among those not known to fit nowhere; it stays in.

        Args:
            share: as everywhere.
            barred: owners that are passed over.
        """
        return self._choose([self._untried], share, _ANY, lambda _: True, barred)

    def next_for_host(
        self,
        host: str,
        share: Share,
        spare: Spare,
        fits: Callable[[Request], bool],
        barred: Set[str] = frozenset(),
    ) -> Pending | None:
        """Return the one to try next on a host that got room, refused or not; it stays in.

        Args:
            host: those that ask for another one by name are passed over.
            share: as everywhere.
            spare: what the host has left.
            fits: tells whether a request fits there.
            barred: owners that are passed over.
        """
        found = (self._by_host.get(host), self._by_host.get(None))
        return self._choose([lanes for lanes in found if lanes], share, spare, fits, barred)

    def heads_by_priority(self) -> Iterator[list[Pending]]:
        """Return the oldest of each lane, those of the highest priority first."""
        for priority in sorted(self._all.priorities(), reverse=True):
            owners = self._all.owners(priority)
            lanes = [lane for owner in owners for lane in self._all.of(priority, owner, _ANY)]
            yield [self._head(lane) for lane in lanes]

    def _choose(
        self,
        among: list[_Lanes],
        share: Share,
        spare: Spare,
        fits: Callable[[Request], bool],
        barred: Set[str],
    ) -> Pending | None:
        priorities = {priority for lanes in among for priority in lanes.priorities()}
        for priority in sorted(priorities, reverse=True):
            owners = {owner for lanes in among for owner in lanes.owners(priority)}
            owners.difference_update(barred)
            for _, alike in groupby(sorted(owners, key=share), key=share):
                order = [
                    lane
                    for owner in alike
                    for lanes in among
                    for lane in lanes.of(priority, owner, spare)
                ]
                if not order:
                    continue
                oldest = min(order, key=_HEAD)  # mostly it fits, and sorting all is dear
                if fits(oldest.request):
                    return self._head(oldest)
                for lane in sorted(order, key=_HEAD)[1:]:
                    if fits(lane.request):
                        return self._head(lane)
        return None

    def _head(self, lane: Lane) -> Pending:
        return self._items[lane.head[2]][0]

    def _is_in(self, entry: _Entry, key: _LaneKey) -> bool:
        item = self._items.get(entry[2])
        return item is not None and item[1] == entry[1] and _lane_key(item[0]) == key


def _lane_key(pending: Pending) -> _LaneKey:
    return (pending.priority, pending.owner, pending.request)


def pending_of(key: WorkloadKey, obj: Object, wants: Request) -> Pending:
    """Return an object that wants a host, as it stands in the queue."""
    metadata = obj["metadata"]
    return Pending(
        uid=metadata["uid"],
        key=key,
        owner=owner_of(obj),
        priority=obj["spec"].get("priority") or 0,
        created=metadata.get("creationTimestamp") or "",
        request=wants,
    )
