"""Where a request goes: pure, and sorted, so that equal input gives equal output."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir_operator.scheduling.facts import Gpu, HostFacts
from weir_operator.scheduling.ledger import HostState
from weir_operator.scheduling.request import Allocation, Request

LACK_CPU = "lack cpu"
LACK_MEMORY = "lack memory"
GPU_IN_USE = "gpu in use"


@dataclass(frozen=True, slots=True)
class Placement:
    """A host, and what of it the Task gets."""

    host: str
    cpus: tuple[int, ...] = ()
    numa_node: int | None = None
    gpus: tuple[Gpu, ...] = ()

    def allocation(self, request: Request, owner: str) -> Allocation:
        """Return what the Task will hold there."""
        return Allocation(
            host=self.host,
            owner=owner,
            cpus=self.cpus,
            numa_node=self.numa_node,
            shared_millis=None if self.cpus else request.cpu_millis,
            memory_bytes=request.memory_bytes,
            gpus=tuple(gpu.index for gpu in self.gpus),
        )


@dataclass(frozen=True, slots=True)
class HostRefusal:
    """Why one host does not take the request.

    ``never``: not even if it were empty and ready. ``available``: it takes work, just not this.
    """

    words: str
    never: bool = False
    available: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """No host takes the request; why, host by host."""

    hosts: Mapping[str, HostRefusal]


@dataclass(frozen=True, slots=True)
class _Cores:
    """Cores of one host, and how well taking them fits (less is better)."""

    cpus: tuple[int, ...]
    numa_node: int | None
    fit: tuple[int, ...]


def place(
    request: Request, hosts: Iterable[HostState], *, only: Iterable[str] | None = None
) -> Placement | Refusal:
    """Choose the host, cores and GPUs for a request.

    The best fit wins: whole NUMA nodes stay whole, GPU hosts stay free for those who need GPUs, and
    full hosts fill up before empty ones are begun.

    Args:
        request: what the Task asks for.
        hosts: every known host.
        only: where to look, if the others are known to refuse; the refusal tells of these only.
    """
    wanted = None if only is None else set(only)
    refusals: dict[str, HostRefusal] = {}
    best: tuple[tuple[int, ...], str, Placement] | None = None
    for state in sorted(hosts, key=lambda state: state.name):
        facts = state.facts
        if facts is None or (wanted is not None and state.name not in wanted):
            continue
        refusal = _never(request, facts) or _not_now(facts)
        found = None if refusal else _fit(request, state, facts)
        if isinstance(found, tuple):
            candidate = (found[0], state.name, found[1])
            if best is None or candidate[:2] < best[:2]:
                best = candidate
        elif refusal := refusal or found:
            refusals[state.name] = refusal
    return Refusal(refusals) if best is None else best[2]


def _never(request: Request, facts: HostFacts) -> HostRefusal | None:
    if request.host_name is not None and request.host_name != facts.name:
        return HostRefusal("not asked for", never=True)
    if any(facts.labels.get(key) != value for key, value in request.host_selector):
        return HostRefusal("lack the labels", never=True)
    if not facts.cores:
        return None  # it has told nothing of itself yet
    cores = facts.cores
    if request.numa_node is not None:
        if request.numa_node not in facts.numa:
            return HostRefusal(f"lack NUMA node {request.numa_node}", never=True)
        cores = len(facts.numa[request.numa_node])
    if 1000 * cores < request.cpu_millis or not cores:
        return HostRefusal("too few cores", never=True)
    if facts.memory_bytes < request.memory_bytes:
        return HostRefusal("too little memory", never=True)
    if len(facts.gpus) < request.gpus:
        return HostRefusal("too few gpus" if facts.gpus else "no gpu", never=True)
    if not {gpu.index for gpu in facts.gpus}.issuperset(request.gpu_indices):
        return HostRefusal("lack those gpus", never=True)
    return None


def _not_now(facts: HostFacts) -> HostRefusal | None:
    words = facts.unavailable or (None if facts.cores else "not ready")
    return HostRefusal(words, available=False) if words else None


def _fit(
    request: Request, state: HostState, facts: HostFacts
) -> HostRefusal | tuple[tuple[int, ...], Placement]:
    if state.memory_free < request.memory_bytes:
        return HostRefusal(LACK_MEMORY)
    gpus = [gpu for gpu in facts.gpus if state.gpu_is_free(gpu.index)]
    if request.gpu_indices:
        gpus = [gpu for gpu in gpus if gpu.index in request.gpu_indices]
    if len(gpus) < request.gpus:
        return HostRefusal(GPU_IN_USE)
    cores = _own_cores(request, state, facts, gpus) if request.cores else _shared(request, state)
    if cores is None:
        return HostRefusal(LACK_CPU)
    chosen = _nearest(gpus, cores.numa_node, request.gpus)
    idle_gpus = len(facts.gpus) if not request.gpus else 0
    fit = (idle_gpus, *cores.fit, state.memory_free - request.memory_bytes)
    return fit, Placement(state.name, cores.cpus, cores.numa_node, chosen)


def _own_cores(
    request: Request, state: HostState, facts: HostFacts, gpus: list[Gpu]
) -> _Cores | None:
    """Choose exclusive cores, leaving the shared pool what it needs."""
    count = request.cores
    total = state.cores_free
    if total - count < state.shared.cores_needed():
        return None
    spare = {node: len(free) - _kept(state, node) for node, free in state.free.items()}
    if request.numa_node is not None:
        spare = {node: left for node, left in spare.items() if node == request.numa_node}
    in_one = [node for node, left in spare.items() if left >= count]
    if in_one:
        near = {node: sum(gpu.numa_node == node for gpu in gpus) for node in in_one}
        node = min(
            in_one,
            key=lambda node: (
                -min(near[node], request.gpus),
                _breaks(state, facts, node, count),
                spare[node],
                node,
            ),
        )
        fit = (0, _breaks(state, facts, node, count), spare[node] - count, total - count)
        return _Cores(tuple(sorted(state.free[node])[:count]), node, fit)
    if request.numa_node is not None or sum(max(0, left) for left in spare.values()) < count:
        return None
    taken: list[int] = []
    broken = 0
    for node in sorted(spare, key=lambda node: (-spare[node], node)):
        take = min(max(0, spare[node]), count - len(taken))
        if take:
            broken += _breaks(state, facts, node, take)
            taken += sorted(state.free[node])[:take]
    return _Cores(tuple(sorted(taken)), None, (1, broken, total - count, total - count))


def _shared(request: Request, state: HostState) -> _Cores | None:
    """Look for room on the shared pool; within one NUMA node if the request says so."""
    node = request.numa_node
    cores = state.cores_free
    if not cores or state.shared.millis + request.cpu_millis > 1000 * cores:
        return None
    if node is not None:
        pinned = state.shared_by_node.get(node)
        millis = request.cpu_millis + (pinned.millis if pinned else 0)
        if not state.free[node] or millis > 1000 * len(state.free[node]):
            return None
    left = 1000 * cores - state.shared.millis - request.cpu_millis
    if request.cpu_millis:
        # Where a core has to stay shared anyway, one more Task there takes no core from anyone.
        return _Cores((), node, (0, 0 if state.shared.tasks else 1, left, 0))
    # Nothing is held, so nothing would ever be full: spread them.
    return _Cores((), node, (0, 0, 1000 * state.shared.tasks // cores, 0))


def _kept(state: HostState, node: int) -> int:
    pool = state.shared_by_node.get(node)
    return pool.cores_needed() if pool else 0


def _breaks(state: HostState, facts: HostFacts, node: int, count: int) -> int:
    """Return 1 if taking that many cores begins a NUMA node that was wholly free, else 0."""
    size = len(facts.numa[node])
    return int(len(state.free[node]) == size and count < size)


def _nearest(gpus: list[Gpu], node: int | None, count: int) -> tuple[Gpu, ...]:
    """Choose GPUs, those of the cores' NUMA node first, then together, then in order."""
    if not count:
        return ()
    if node is None:
        by_node: defaultdict[int, list[Gpu]] = defaultdict(list)
        for gpu in gpus:
            by_node[-1 if gpu.numa_node is None else gpu.numa_node].append(gpu)
        whole = [group for group in by_node.values() if len(group) >= count]
        if whole:
            gpus = min(whole, key=lambda group: (len(group), group[0].index))
    ordered = sorted(gpus, key=lambda gpu: (gpu.numa_node != node, gpu.index))
    return tuple(sorted(ordered[:count], key=lambda gpu: gpu.index))
