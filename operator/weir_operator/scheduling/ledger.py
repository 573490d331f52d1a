"""Who holds what on which host, kept up to date by changes. No I/O, no clock."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from weir_crds.demand import Holding, Request
from weir_crds.facts import HostFacts
from weir_crds.host_state import HostState


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one bound or assumed workload holds, of what kind it is and on whose account."""

    holding: Holding
    owner: str
    kind: str


@dataclass(slots=True)
class Usage:
    """What an owner's workloads hold together, over all hosts."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    gpus: int = 0
    workloads: int = 0

    def change(self, holding: Holding, sign: int) -> None:
        """Add (1) or take off (-1) what a workload holds."""
        self.cpu_millis += sign * holding.cpu_millis
        self.memory_bytes += sign * holding.memory_bytes
        self.gpus += sign * len(holding.gpus)
        self.workloads += sign


_Shelf = tuple[int, int]
"""How many GPUs a host has, and how many of its cores are free."""


@dataclass(slots=True)
class Ledger:
    """All hosts' accounts. Every operation costs what changes, not what there is."""

    on_change: Callable[[str], None] = lambda _host: None
    """Called with the name of each host whose account changed."""
    hosts: dict[str, HostState] = field(default_factory=dict)
    version: int = 0
    """Grows with every change of any account."""
    facts_version: int = 0
    """Grows with every change of what a Host says of itself."""
    freed: dict[str, None] = field(default_factory=dict)
    """Hosts that got room for something since they were last taken out of here, oldest first."""
    total: Usage = field(default_factory=Usage)
    """What all known hosts have for work together."""
    _allocations: dict[str, Allocation] = field(default_factory=dict)
    _usage: defaultdict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    _shares: dict[str, tuple[float, int]] = field(default_factory=dict)
    """What ``share`` found, until it changes."""
    _kinds: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _shelves: defaultdict[_Shelf, dict[str, HostState]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _shelf_of: dict[str, _Shelf] = field(default_factory=dict)

    def known_hosts(self) -> list[HostState]:
        """Return the hosts that have a Host object."""
        return [state for state in self.hosts.values() if state.facts is not None]

    def candidates(self, request: Request) -> Iterator[HostState]:
        """Go through the hosts that may have room, those first that are likely to fit best.

        Hosts without GPUs come before those with some, fuller ones before emptier ones.
        """
        if request.host_name is not None:
            state = self.hosts.get(request.host_name)
            if state is not None and state.facts is not None:
                yield state
            return
        gpus, cores = request.gpus, max(1, request.cores)
        for shelf in sorted(self._shelves):
            if shelf[0] >= gpus and shelf[1] >= cores:
                yield from self._shelves[shelf].values()

    def set_host(self, name: str, facts: HostFacts | None) -> bool:
        """Take what a Host object says now (None: it is gone); tell whether that is news."""
        state = self.hosts.get(name)
        if state is None:
            if facts is None:
                return False
            state = self.hosts[name] = HostState(name)
        if state.facts == facts:
            return False
        self._change_total(state.facts, -1)
        state.set_facts(facts)
        self._change_total(facts, 1)
        self.facts_version += 1
        self._made_room(state)
        self._drop_if_empty(state)
        self._changed(state)
        return True

    def hold(self, uid: str, allocation: Allocation) -> None:
        """Note what a bound or assumed workload holds; again and again is the same as once."""
        current = self._allocations.get(uid)
        if current == allocation:
            return
        if current is not None:
            self.release(uid)
        host = allocation.holding.host
        state = self.hosts.get(host)
        if state is None:
            state = self.hosts[host] = HostState(host)
        state.hold(uid, allocation.holding)
        self._allocations[uid] = allocation
        self._kinds[host][allocation.kind] += 1
        self._usage[allocation.owner].change(allocation.holding, 1)
        self._shares.pop(allocation.owner, None)
        self._changed(state)

    def release(self, uid: str) -> bool:
        """Note that a workload holds nothing any more; tell whether it held something."""
        allocation = self._allocations.pop(uid, None)
        if allocation is None:
            return False
        state = self.hosts[allocation.holding.host]
        state.release(uid)
        self._kinds[state.name][allocation.kind] -= 1
        usage = self._usage[allocation.owner]
        usage.change(allocation.holding, -1)
        self._shares.pop(allocation.owner, None)
        if not usage.workloads:
            del self._usage[allocation.owner]
        self._made_room(state)
        self._drop_if_empty(state)
        self._changed(state)
        return True

    def allocation(self, uid: str) -> Allocation | None:
        """Return what a workload holds, or None."""
        return self._allocations.get(uid)

    def count(self, host: str, kind: str) -> int:
        """Return how many of a kind hold something on a host."""
        return self._kinds[host][kind] if host in self._kinds else 0

    def share(self, owner: str) -> tuple[float, int]:
        """Return how much an owner has: its largest fraction of a resource, then its workloads.

        https://www.usenix.org/legacy/events/nsdi11/tech/full_papers/Ghodsi.pdf
        """
        found = self._shares.get(owner)
        if found is not None:
            return found
        usage = self._usage.get(owner)
        if usage is None:
            return (0.0, 0)
        pairs = (
            (usage.cpu_millis, self.total.cpu_millis),
            (usage.memory_bytes, self.total.memory_bytes),
            (usage.gpus, self.total.gpus),
        )
        largest = max(used / total if total else 0.0 for used, total in pairs)
        found = self._shares[owner] = (largest, usage.workloads)
        return found

    def _change_total(self, facts: HostFacts | None, sign: int) -> None:
        if facts is None:
            return
        self._shares.clear()
        self.total.cpu_millis += sign * 1000 * facts.cores
        self.total.memory_bytes += sign * facts.memory_bytes
        self.total.gpus += sign * len(facts.gpus)

    def _made_room(self, state: HostState) -> None:
        if state.facts is not None:
            self.freed[state.name] = None
        else:
            self.freed.pop(state.name, None)

    def _drop_if_empty(self, state: HostState) -> None:
        if state.facts is None and not state.holdings:
            del self.hosts[state.name]
            self._kinds.pop(state.name, None)

    def _changed(self, state: HostState) -> None:
        self.version += 1
        facts = state.facts
        takes_work = facts is not None and not facts.obstacles
        shelf = (len(facts.gpus), state.cores_free) if facts and takes_work else None
        old = self._shelf_of.get(state.name)
        if shelf != old:
            if old is not None:
                del self._shelves[old][state.name]
                if not self._shelves[old]:
                    del self._shelves[old]
                del self._shelf_of[state.name]
            if shelf is not None:
                self._shelves[shelf][state.name] = state
                self._shelf_of[state.name] = shelf
        self.on_change(state.name)
