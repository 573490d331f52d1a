"""Who holds what on which host, kept up to date by changes. No I/O, no clock."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from weir_crds.demand import Holding
from weir_crds.facts import HostFacts


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one bound or assumed workload holds, of what kind it is and on whose account."""

    holding: Holding
    owner: str
    kind: str


@dataclass(slots=True)
class Pool:
    """The shared pool, or the part of its users that is tied to one NUMA node."""

    millis: int = 0
    tasks: int = 0

    def cores_needed(self) -> int:
        """Return how many cores have to stay shared: never less than one while anyone is in it."""
        return max(-(-self.millis // 1000), 1 if self.tasks else 0)


class HostState:
    """One host: its facts, and what its bound and assumed Tasks hold.

    Two Tasks may be said to hold the same core (a host that shrank, a hand-made status): it is free
    only when the last of them is gone.
    """

    def __init__(self, name: str) -> None:
        """Make the account of a host of which nothing is known yet."""
        self.name = name
        self.facts: HostFacts | None = None
        self.freed_at = 0
        """Version of the ledger at which this host last got room for something."""
        self.free: dict[int, set[int]] = {}
        """Cores that nobody has exclusively, by NUMA node: the shared pool."""
        self.shared = Pool()
        self.shared_by_node: defaultdict[int, Pool] = defaultdict(Pool)
        self.memory_used = 0
        self._memory_tied: defaultdict[int, int] = defaultdict(int)
        """Bytes promised to those whose memory comes from one NUMA node only, by node."""
        self.allocations: dict[str, Allocation] = {}
        self._core_holders: defaultdict[int, set[str]] = defaultdict(set)
        self._gpu_holders: defaultdict[int, set[str]] = defaultdict(set)

    @property
    def memory_free(self) -> int:
        """Bytes not promised to anyone; negative when the host shrank."""
        return (self.facts.memory_bytes if self.facts else 0) - self.memory_used

    def memory_free_on(self, node: int) -> int:
        """Return how many bytes a NUMA node has for those who use no other, at most."""
        told = self.facts.numa_memory.get(node) if self.facts else None
        if told is None:
            return self.memory_free
        return min(self.memory_free, told - self._memory_tied[node])

    @property
    def cores_free(self) -> int:
        """How many cores nobody has exclusively."""
        return sum(map(len, self.free.values()))

    @property
    def cores_held(self) -> int:
        """How many cores are held exclusively."""
        return len(self._core_holders)

    def gpu_is_free(self, index: int) -> bool:
        """Tell whether nobody has that GPU."""
        return index not in self._gpu_holders

    def gpus_held(self) -> list[int]:
        """Return the indices of the GPUs that are held, in order."""
        return sorted(self._gpu_holders)

    def set_facts(self, facts: HostFacts | None) -> None:
        """Take what the Host object says now."""
        self.facts = facts
        self.free = (
            {
                node: {core for core in cores if core not in self._core_holders}
                for node, cores in facts.numa.items()
            }
            if facts
            else {}
        )

    def add(self, uid: str, allocation: Allocation) -> None:
        """Note what a Task holds from now on."""
        self.allocations[uid] = allocation
        holding = allocation.holding
        self._count_memory(holding, 1)
        for pool in self._pools(holding):
            pool.millis += holding.shared_millis or 0
            pool.tasks += 1
        for core in holding.cpus:
            self._core_holders[core].add(uid)
            node = self.facts.node_of(core) if self.facts else None
            if node is not None:
                self.free[node].discard(core)
        for gpu in holding.gpus:
            self._gpu_holders[gpu].add(uid)

    def remove(self, uid: str) -> None:
        """Note that a Task holds nothing any more."""
        holding = self.allocations.pop(uid).holding
        self._count_memory(holding, -1)
        for pool in self._pools(holding):
            pool.millis -= holding.shared_millis or 0
            pool.tasks -= 1
        for core in holding.cpus:
            holders = self._core_holders[core]
            holders.discard(uid)
            if holders:
                continue
            del self._core_holders[core]
            node = self.facts.node_of(core) if self.facts else None
            if node is not None:
                self.free[node].add(core)
        for gpu in holding.gpus:
            self._gpu_holders[gpu].discard(uid)
            if not self._gpu_holders[gpu]:
                del self._gpu_holders[gpu]

    def count(self, kind: str) -> int:
        """Return how many of a kind have something here."""
        return sum(allocation.kind == kind for allocation in self.allocations.values())

    def _count_memory(self, holding: Holding, sign: int) -> None:
        self.memory_used += sign * holding.memory_bytes
        if holding.numa_node is not None:
            self._memory_tied[holding.numa_node] += sign * holding.memory_bytes

    def _pools(self, holding: Holding) -> Iterable[Pool]:
        if holding.shared_millis is None:
            return ()
        if holding.numa_node is None:
            return (self.shared,)
        return (self.shared, self.shared_by_node[holding.numa_node])


@dataclass(slots=True)
class Usage:
    """What an owner's Tasks hold together, over all hosts."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    gpus: int = 0
    tasks: int = 0

    def change(self, holding: Holding, sign: int) -> None:
        """Add (1) or take off (-1) what a workload holds."""
        self.cpu_millis += sign * holding.cpu_millis
        self.memory_bytes += sign * holding.memory_bytes
        self.gpus += sign * len(holding.gpus)
        self.tasks += sign


@dataclass(slots=True)
class Ledger:
    """All hosts' accounts. Every operation costs what changes, not what there is."""

    on_change: Callable[[str], None] = lambda _host: None
    """Told the name of each host whose account changed."""
    hosts: dict[str, HostState] = field(default_factory=dict)
    version: int = 0
    """Grows whenever room was made anywhere."""
    total: Usage = field(default_factory=Usage)
    """What all known hosts have for work together."""
    _usage: defaultdict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    _host_of: dict[str, str] = field(default_factory=dict)

    def known_hosts(self) -> list[HostState]:
        """Return the hosts that have a Host object."""
        return [state for state in self.hosts.values() if state.facts is not None]

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
        self._made_room(state)
        self._drop_if_empty(state)
        self.on_change(name)
        return True

    def hold(self, uid: str, allocation: Allocation) -> None:
        """Note what a bound or assumed workload holds; again and again is the same as once."""
        current = self.allocation(uid)
        if current == allocation:
            return
        if current is not None:
            self.release(uid)
        host = allocation.holding.host
        state = self.hosts.get(host)
        if state is None:
            state = self.hosts[host] = HostState(host)
        state.add(uid, allocation)
        self._host_of[uid] = host
        self._usage[allocation.owner].change(allocation.holding, 1)
        self.on_change(host)

    def release(self, uid: str) -> bool:
        """Note that a workload holds nothing any more; tell whether it held something."""
        name = self._host_of.pop(uid, None)
        if name is None:
            return False
        state = self.hosts[name]
        allocation = state.allocations[uid]
        state.remove(uid)
        usage = self._usage[allocation.owner]
        usage.change(allocation.holding, -1)
        if not usage.tasks:
            del self._usage[allocation.owner]
        self._made_room(state)
        self._drop_if_empty(state)
        self.on_change(name)
        return True

    def allocation(self, uid: str) -> Allocation | None:
        """Return what a Task holds, or None."""
        name = self._host_of.get(uid)
        return None if name is None else self.hosts[name].allocations[uid]

    def share(self, owner: str) -> tuple[float, int]:
        """Return how much an owner has: the largest of its fractions of a resource, then Tasks.

        https://www.usenix.org/legacy/events/nsdi11/tech/full_papers/Ghodsi.pdf
        """
        usage = self._usage.get(owner)
        if usage is None:
            return (0.0, 0)
        pairs = (
            (usage.cpu_millis, self.total.cpu_millis),
            (usage.memory_bytes, self.total.memory_bytes),
            (usage.gpus, self.total.gpus),
        )
        return (max(used / total if total else 0.0 for used, total in pairs), usage.tasks)

    def _change_total(self, facts: HostFacts | None, sign: int) -> None:
        if facts is None:
            return
        self.total.cpu_millis += sign * 1000 * facts.cores
        self.total.memory_bytes += sign * facts.memory_bytes
        self.total.gpus += sign * len(facts.gpus)

    def _made_room(self, state: HostState) -> None:
        self.version += 1
        state.freed_at = self.version

    def _drop_if_empty(self, state: HostState) -> None:
        if state.facts is None and not state.allocations:
            del self.hosts[state.name]
