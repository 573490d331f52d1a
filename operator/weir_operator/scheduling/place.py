"""Where a request goes: pure, and sorted, so that equal input gives equal output."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from weir_crds.capacity import Gpu
from weir_crds.demand import Holding, Request
from weir_crds.facts import HostFacts
from weir_crds.fit import never_fits
from weir_operator.scheduling.cores import choose_cores
from weir_operator.scheduling.ledger import HostState

LACK_CPU = "lack cpu"
LACK_MEMORY = "lack memory"
GPU_IN_USE = "gpu in use"


@dataclass(frozen=True, slots=True)
class Placement:
    """A host, and what of it a workload gets."""

    host: str
    cpus: tuple[int, ...] = ()
    numa_node: int | None = None
    """The one whose cores it gets, and whose memory only; None: any memory."""
    gpus: tuple[Gpu, ...] = ()
    nodes: tuple[int, ...] = ()
    """The NUMA nodes of its cores."""

    def holding(self, request: Request) -> Holding:
        """Return what it will hold there."""
        return Holding(
            host=self.host,
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
class _Offer:
    """How a host could take a request, and how well that fits: less is better."""

    fit: tuple[int, ...]
    numa_node: int | None = None
    take: tuple[tuple[int, int], ...] = ()
    """How many cores of which NUMA nodes."""


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
    best: tuple[tuple[int, ...], str, HostState, _Offer] | None = None
    for state in hosts:
        facts = state.facts
        if facts is None or (wanted is not None and state.name not in wanted):
            continue
        found = _never(request, facts) or _not_now(facts) or _offer(request, state, facts)
        if isinstance(found, HostRefusal):
            refusals[state.name] = found
        elif best is None or (found.fit, state.name) < best[:2]:
            best = (found.fit, state.name, state, found)
    return Refusal(refusals) if best is None else _accept(request, best[2], best[3])


def _accept(request: Request, state: HostState, offer: _Offer) -> Placement:
    facts = state.facts
    assert facts is not None  # only a host that is known makes an offer
    cpus = [
        core
        for node, count in offer.take
        for core in choose_cores(state.free[node], count, facts.siblings, facts.slower)
    ]
    gpus = _nearest(_free_gpus(request, state), offer.numa_node, request.gpus)
    nodes = tuple(sorted(node for node, _ in offer.take))
    return Placement(state.name, tuple(sorted(cpus)), offer.numa_node, gpus, nodes)


def _never(request: Request, facts: HostFacts) -> HostRefusal | None:
    words = never_fits(request, facts)
    return HostRefusal(words, never=True, available=not facts.external) if words else None


def _not_now(facts: HostFacts) -> HostRefusal | None:
    words = facts.unavailable or (None if facts.cores else "not ready")
    return HostRefusal(words, available=False) if words else None


def _offer(request: Request, state: HostState, facts: HostFacts) -> HostRefusal | _Offer:
    node = request.numa_node
    memory_free = state.memory_free if node is None else state.memory_free_on(node)
    if 0 < request.memory_bytes > memory_free:
        return HostRefusal(LACK_MEMORY)
    gpus = _free_gpus(request, state) if request.gpus else []
    if len(gpus) < request.gpus:
        return HostRefusal(GPU_IN_USE)
    offer = _own_cores(request, state, facts, gpus) if request.cores else _shared(request, state)
    if offer is None:
        return HostRefusal(LACK_CPU)
    idle_gpus = 0 if request.gpus else len(facts.gpus)
    fit = (idle_gpus, *offer.fit, state.memory_free - request.memory_bytes)
    return replace(offer, fit=fit)


def _free_gpus(request: Request, state: HostState) -> list[Gpu]:
    if state.facts is None or not request.gpus:
        return []
    wanted = request.gpu_indices
    return [
        gpu
        for gpu in state.facts.gpus
        if state.gpu_is_free(gpu.index) and (not wanted or gpu.index in wanted)
    ]


def _own_cores(
    request: Request, state: HostState, facts: HostFacts, gpus: list[Gpu]
) -> _Offer | None:
    """Choose exclusive cores, leaving the shared pool what it needs.

    Cores of one NUMA node bring memory of that node only. Where no node has both, the Task gets no
    node: its cores may still be neighbours, and its memory comes from wherever there is some.
    """
    count = request.cores
    total = state.cores_free
    if total - count < state.shared.cores_needed():
        return None
    spare = {node: len(free) - _kept(state, node) for node, free in state.free.items()}
    if request.numa_node is not None:
        spare = {node: left for node, left in spare.items() if node == request.numa_node}
    in_one = [
        node for node, left in spare.items() if left >= count and _memory_fits(request, state, node)
    ]
    if in_one:
        far, broken, left, node = min(
            (
                request.gpus - min(request.gpus, sum(gpu.numa_node == node for gpu in gpus)),
                _breaks(state, facts, node, count),
                spare[node] - count,
                node,
            )
            for node in in_one
        )
        return _Offer((0, far, broken, left, total - count), node, ((node, count),))
    if request.numa_node is not None or sum(max(0, left) for left in spare.values()) < count:
        return None
    take: list[tuple[int, int]] = []
    missing, broken = count, 0
    for node in sorted(spare, key=lambda node: (-spare[node], node)):
        taken = min(max(0, spare[node]), missing)
        if taken:
            missing -= taken
            broken += _breaks(state, facts, node, taken)
            take.append((node, taken))
    return _Offer((1, 0, broken, total - count, total - count), None, tuple(take))


def _shared(request: Request, state: HostState) -> _Offer | None:
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
        return _Offer((0, 0, 0 if state.shared.tasks else 1, left, 0), node)
    # Nothing is held, so nothing would ever be full: spread them.
    return _Offer((0, 0, 0, 1000 * state.shared.tasks // cores, 0), node)


def _memory_fits(request: Request, state: HostState, node: int) -> bool:
    return not request.memory_bytes or request.memory_bytes <= state.memory_free_on(node)


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
