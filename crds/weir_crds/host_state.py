"""One host's account: what it has, and what is held of it. Pure: no clock, no order of events."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from weir_crds.demand import Holding
from weir_crds.facts import HostFacts


@dataclass(slots=True)
class Pool:
    """The shared pool, or the part of its users that is tied to one NUMA node."""

    millis: int = 0
    users: int = 0

    def cores_needed(self) -> int:
        """Return how many cores have to stay shared: never less than one while anyone is in it."""
        return max(-(-self.millis // 1000), 1 if self.users else 0)


class HostState:
    """One host: its facts, and what bound and assumed workloads hold.

    Two of them may be said to hold the same core (a host that shrank, a hand-made status): it is
    free only when the last of them is gone.
    """

    def __init__(self, name: str, facts: HostFacts | None = None) -> None:
        """Make the account of a host on which nothing is held yet."""
        self.name = name
        self.facts: HostFacts | None = None
        self.free: dict[int, set[int]] = {}
        """Cores that nobody has exclusively, by NUMA node: the shared pool."""
        self.cores_free = 0
        """How many cores nobody has exclusively."""
        self.shared = Pool()
        self.shared_by_node: defaultdict[int, Pool] = defaultdict(Pool)
        self.memory_used = 0
        self._memory_tied: defaultdict[int, int] = defaultdict(int)
        """Bytes promised to those whose memory comes from one NUMA node only, by node."""
        self.holdings: dict[str, Holding] = {}
        self._core_holders: defaultdict[int, set[str]] = defaultdict(set)
        self._gpu_holders: defaultdict[int, set[str]] = defaultdict(set)
        self.set_facts(facts)

    @property
    def memory_free(self) -> int:
        """Bytes not promised to anyone; negative when the host shrank."""
        return (self.facts.memory_bytes if self.facts else 0) - self.memory_used

    def memory_free_on(self, node: int | None) -> int:
        """Return how many bytes there are at most for those who use no other NUMA node's.

        None: for those who may use any.
        """
        of_node = self.facts.numa_memory.get(node) if self.facts and node is not None else None
        if of_node is None or node is None:
            return self.memory_free
        return min(self.memory_free, of_node - self._memory_tied[node])

    @property
    def cores_held(self) -> int:
        """How many cores are held exclusively."""
        return len(self._core_holders)

    def holders_of_core(self, core: int) -> set[str]:
        """Return who holds a core exclusively."""
        return self._core_holders.get(core, set())

    def holders_of_gpu(self, index: int) -> set[str]:
        """Return who holds a GPU."""
        return self._gpu_holders.get(index, set())

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
        self.cores_free = sum(map(len, self.free.values()))

    def hold(self, uid: str, holding: Holding) -> None:
        """Note what a workload holds from now on."""
        self.holdings[uid] = holding
        self._count(holding, 1)
        for core in holding.cpus:
            self._core_holders[core].add(uid)
            node = self.facts.node_of(core) if self.facts else None
            if node is not None and core in self.free[node]:
                self.free[node].remove(core)
                self.cores_free -= 1
        for gpu in holding.gpus:
            self._gpu_holders[gpu].add(uid)

    def release(self, uid: str) -> None:
        """Note that a workload holds nothing any more."""
        holding = self.holdings.pop(uid)
        self._count(holding, -1)
        for core in holding.cpus:
            holders = self._core_holders[core]
            holders.discard(uid)
            if holders:
                continue
            del self._core_holders[core]
            node = self.facts.node_of(core) if self.facts else None
            if node is not None:
                self.free[node].add(core)
                self.cores_free += 1
        for gpu in holding.gpus:
            self._gpu_holders[gpu].discard(uid)
            if not self._gpu_holders[gpu]:
                del self._gpu_holders[gpu]

    def _count(self, holding: Holding, sign: int) -> None:
        self.memory_used += sign * holding.memory_bytes
        if holding.numa_node is not None:
            self._memory_tied[holding.numa_node] += sign * holding.memory_bytes
        for pool in self._pools(holding):
            pool.millis += sign * (holding.shared_millis or 0)
            pool.users += sign

    def _pools(self, holding: Holding) -> Iterable[Pool]:
        if holding.shared_millis is None:
            return ()
        if holding.numa_node is None:
            return (self.shared,)
        return (self.shared, self.shared_by_node[holding.numa_node])
