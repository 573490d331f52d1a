"""Where a request goes, and why it goes nowhere. Pure: equal input gives equal output."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from weir_crds.capacity import Gpu
from weir_crds.demand import Holding, Request
from weir_crds.facts import HostFacts
from weir_crds.fit import (
    cores_spare_on,
    cores_to_own,
    free_gpus,
    is_available,
    never_fits,
    shared_millis_left,
)
from weir_crds.host_state import HostState
from weir_operator.scheduling.cores import choose_cores

ENOUGH_OFFERS = 50
"""Among how many hosts with room the best is looked for: of a thousand, the rest add little."""


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


class Fit(NamedTuple):
    """How well a host fits, the weightiest first; less is better."""

    idle_gpus: int = 0
    """GPUs of the host that a request without any would leave to nobody else."""
    is_spread: bool = False
    """Its cores come from several NUMA nodes."""
    far_gpus: int = 0
    """GPUs of another NUMA node than the cores."""
    nodes_begun: int = 0
    """NUMA nodes, or the shared pool, that were wholly free and are not any more."""
    left_on_node: int = 0
    """Cores (of the pool: millicores) that stay free beside it, on its node or nodes."""
    cores_left: int = 0
    memory_left: int = 0


class Offer(NamedTuple):
    """How a host could take a request."""

    fit: Fit
    numa_node: int | None = None
    take: tuple[tuple[int, int], ...] = ()
    """How many cores of which NUMA nodes."""


def place(
    request: Request, hosts: Iterable[HostState], enough: int = ENOUGH_OFFERS
) -> Placement | None:
    """Choose the host, cores and GPUs for a request; None: none of these hosts has room.

    The best fit wins: whole NUMA nodes stay whole, GPU hosts stay free for those who need GPUs, and
    full hosts fill up before empty ones are begun.

    Args:
        request: what is asked for.
        hosts: where to look, the likely ones first.
        enough: how many hosts with room are compared.
    """
    offers = ((offer_of(request, state), state) for state in hosts)
    found = ((offer.fit, state.name, state, offer) for offer, state in offers if offer)
    best = min(islice(found, enough), key=lambda one: one[:2], default=None)
    return None if best is None else accept(request, best[2], best[3])


def accept(request: Request, state: HostState, offer: Offer) -> Placement:
    """Return which cores and GPUs an offer gives."""
    facts = state.facts
    assert facts is not None  # only a host that is known makes an offer
    cpus = [
        core
        for node, count in offer.take
        for core in choose_cores(state.free[node], count, facts.siblings, facts.slower)
    ]
    gpus = _nearest(free_gpus(request, state), offer.numa_node, request.gpus)
    nodes = tuple(sorted(node for node, _ in offer.take))
    return Placement(state.name, tuple(sorted(cpus)), offer.numa_node, gpus, nodes)


def offer_of(request: Request, state: HostState) -> Offer | None:
    """Return how a host could take a request now, or None: ``weir_crds.fit.lacks`` says why."""
    facts = state.facts
    if facts is None or not is_available(request, facts):
        return None
    if 0 < request.memory_bytes > state.memory_free_on(request.numa_node):
        return None
    if never_fits(request, facts):
        return None
    gpus = free_gpus(request, state) if request.gpus else []
    if len(gpus) < request.gpus:
        return None
    offer = _own_cores(request, state, facts, gpus) if request.cores else _shared(request, state)
    if offer is None:
        return None
    return offer._replace(
        fit=offer.fit._replace(
            idle_gpus=0 if request.gpus else len(facts.gpus),
            memory_left=state.memory_free - request.memory_bytes,
        )
    )


def _own_cores(
    request: Request, state: HostState, facts: HostFacts, gpus: list[Gpu]
) -> Offer | None:
    """Choose exclusive cores, leaving the shared pool what it needs.

    Cores of one NUMA node bring memory of that node only. Where no node has both, it gets no node:
    its cores may still be neighbours, and its memory comes from wherever there is some.
    """
    count = request.cores
    if cores_to_own(state, request.numa_node) < count:
        return None
    nodes = state.free if request.numa_node is None else (request.numa_node,)
    spare = {node: cores_spare_on(state, node) for node in nodes}
    left = state.cores_free - count
    fits = [
        (
            Fit(
                far_gpus=request.gpus
                - min(request.gpus, sum(gpu.numa_node == node for gpu in gpus)),
                nodes_begun=_begins(state, facts, node, count),
                left_on_node=spare[node] - count,
                cores_left=left,
            ),
            node,
        )
        for node in spare
        if spare[node] >= count and _memory_fits(request, state, node)
    ]
    if fits:
        fit, node = min(fits)
        return Offer(fit, node, ((node, count),))
    if request.numa_node is not None:
        return None
    take: list[tuple[int, int]] = []
    missing, begun = count, 0
    for node in sorted(spare, key=lambda node: (-spare[node], node)):
        taken = min(max(0, spare[node]), missing)
        if taken:
            missing -= taken
            begun += _begins(state, facts, node, taken)
            take.append((node, taken))
    fit = Fit(is_spread=True, nodes_begun=begun, left_on_node=left, cores_left=left)
    return Offer(fit, None, tuple(take))


def _shared(request: Request, state: HostState) -> Offer | None:
    """Look for room on the shared pool; within one NUMA node if the request says so."""
    node = request.numa_node
    if shared_millis_left(state, node) < request.cpu_millis:
        return None
    if request.cpu_millis:
        # Where a core has to stay shared anyway, one more there takes no core from anyone.
        left = 1000 * state.cores_free - state.shared.millis - request.cpu_millis
        return Offer(Fit(nodes_begun=0 if state.shared.users else 1, left_on_node=left), node)
    # Nothing is held, so nothing would ever be full: spread them.
    crowd = 1000 * state.shared.users // state.cores_free
    return Offer(Fit(left_on_node=crowd), node)


def _memory_fits(request: Request, state: HostState, node: int) -> bool:
    return not request.memory_bytes or request.memory_bytes <= state.memory_free_on(node)


def _begins(state: HostState, facts: HostFacts, node: int, count: int) -> int:
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
