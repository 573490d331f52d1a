"""Whether a host takes a request, and what it lacks for it. Pure.

The operator places by it, ``kubectl weir why`` explains by it, and the facade asks it before it
accepts what could only wait for ever.
"""

from dataclasses import dataclass
from enum import Enum, auto

from weir_crds.capacity import Gpu
from weir_crds.demand import Request
from weir_crds.facts import HostFacts
from weir_crds.host_state import HostState

LACK_CPU = "lack cpu"
LACK_MEMORY = "lack memory"
GPU_IN_USE = "gpu in use"

_ENGINE_NAMES = {"docker": "Docker", "qemu": "QEMU"}


class Subject(Enum):
    """What a lack is about."""

    HOST = auto()
    """The host itself: it does not take work, or not this."""
    CPU = auto()
    MEMORY = auto()
    GPU = auto()


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that keeps a request off a host.

    ``never``: even if the host were empty and ready. ``available``: the host takes work, just not
    this. Amounts are in millicores, bytes or GPUs; for the host as a subject they are 0.
    """

    subject: Subject
    words: str
    """In a word or two, without amounts, so that hosts with the same lack can be counted."""
    never: bool = False
    available: bool = True
    needed: int = 0
    free: int = 0
    of: int = 0
    """What the host has for work, free or not; on the NUMA node that is asked for, if one is."""
    kept: int = 0
    """Of what is free, how much has to stay shared."""


def never_fits(request: Request, facts: HostFacts) -> str | None:
    """Return in a few words why a host can never take a request; None: it may, some time."""
    lack = _misses(request, facts) or next(iter(_too_small(request, facts)), None)
    return lack.words if lack else None


def lacks(request: Request, state: HostState) -> list[Lack]:
    """Return all that keeps a request off a host, the gravest first; empty: there is room."""
    facts = state.facts or HostFacts(state.name)
    if missed := _misses(request, facts):
        return [missed]
    found = _too_small(request, facts)
    short = {lack.subject for lack in found}
    found += _unavailable(request, facts)
    if facts.cores:
        found += [lack for lack in _short(request, state) if lack.subject not in short]
    return found


def is_available(request: Request, facts: HostFacts) -> bool:
    """Tell whether a host takes work now that its engine is asked to run."""
    return not facts.obstacles and facts.cores > 0 and request.engine in facts.ready_engines


def cores_to_own(state: HostState, node: int | None) -> int:
    """Return how many cores may become one workload's own, on one NUMA node or (None) on any.

    The shared pool keeps what it needs, on the nodes to which its users are tied too.
    """
    spare = state.cores_free - state.shared.cores_needed()
    if node is None:
        on_nodes = sum(max(0, cores_spare_on(state, each)) for each in state.free)
    else:
        on_nodes = cores_spare_on(state, node)
    return max(0, min(spare, on_nodes))


def cores_spare_on(state: HostState, node: int) -> int:
    """Return how many free cores of a NUMA node those who are tied to it leave."""
    pool = state.shared_by_node.get(node)
    return len(state.free.get(node, ())) - (pool.cores_needed() if pool else 0)


def shared_millis_left(state: HostState, node: int | None) -> int:
    """Return how much of the shared pool is promised to nobody; negative: there is no pool."""
    if not state.cores_free:
        return -1
    left = 1000 * state.cores_free - state.shared.millis
    if node is None:
        return left
    cores, tied = len(state.free.get(node, ())), state.shared_by_node.get(node)
    return min(left, 1000 * cores - (tied.millis if tied else 0)) if cores else -1


def free_gpus(request: Request, state: HostState) -> list[Gpu]:
    """Return the GPUs that a request could have, by index."""
    if state.facts is None or not request.gpus:
        return []
    wanted = request.gpu_indices
    return [
        gpu
        for gpu in state.facts.gpus
        if not state.holders_of_gpu(gpu.index) and (not wanted or gpu.index in wanted)
    ]


def _misses(request: Request, facts: HostFacts) -> Lack | None:
    """Return why a host is not meant at all."""
    if facts.external:
        return Lack(Subject.HOST, "external", never=True, available=False)
    if request.host_name is not None and request.host_name != facts.name:
        return Lack(Subject.HOST, "not asked for", never=True)
    if any(facts.labels.get(key) != value for key, value in request.host_selector):
        return Lack(Subject.HOST, "lack the labels", never=True)
    return None


def _too_small(request: Request, facts: HostFacts) -> list[Lack]:
    """Return what a host would lack if it were empty."""
    if not facts.cores:
        return []  # it has told nothing of itself yet
    found = []
    cores, memory = _size(request, facts)
    if cores is None:
        words = f"lack NUMA node {request.numa_node}"
        return [Lack(Subject.CPU, words, never=True, needed=request.cpu_millis)]
    needed = request.cpu_millis
    if 1000 * cores < needed or not cores:
        found.append(Lack(Subject.CPU, "too few cores", never=True, needed=needed, of=1000 * cores))
    needed = request.memory_bytes
    if memory < needed:
        found.append(
            Lack(Subject.MEMORY, "too little memory", never=True, needed=needed, of=memory)
        )
    count = len(facts.gpus)
    if count < request.gpus:
        words = "too few gpus" if count else "no gpu"
        found.append(Lack(Subject.GPU, words, never=True, needed=request.gpus, of=count))
    elif not frozenset(request.gpu_indices) <= {gpu.index for gpu in facts.gpus}:
        words = "lack those gpus"
        found.append(Lack(Subject.GPU, words, never=True, needed=request.gpus, of=count))
    return found


def _size(request: Request, facts: HostFacts) -> tuple[int | None, int]:
    """Return the cores and the memory for work where a request may be; None: no such node."""
    node = request.numa_node
    if node is None:
        return facts.cores, facts.memory_bytes
    cores = len(facts.numa[node]) if node in facts.numa else None
    return cores, min(facts.memory_bytes, facts.numa_memory.get(node, facts.memory_bytes))


def _unavailable(request: Request, facts: HostFacts) -> list[Lack]:
    found = [Lack(Subject.HOST, each.value, available=False) for each in facts.obstacles]
    if not found and not facts.cores:
        found.append(Lack(Subject.HOST, "not ready", available=False))
    if not found and request.engine not in facts.ready_engines:
        engine = _ENGINE_NAMES.get(request.engine, request.engine)
        found.append(Lack(Subject.HOST, f"{engine} not ready", available=False))
    return found


def _short(request: Request, state: HostState) -> list[Lack]:
    """Return what of a host that is large enough is in use."""
    assert state.facts is not None
    node, found = request.numa_node, []
    cores, memory = _size(request, state.facts)
    free = state.memory_free_on(node)
    if 0 < request.memory_bytes > free:
        found.append(
            Lack(Subject.MEMORY, LACK_MEMORY, needed=request.memory_bytes, free=free, of=memory)
        )
    gpus = len(free_gpus(request, state))
    if gpus < request.gpus:
        of = len(state.facts.gpus)
        found.append(Lack(Subject.GPU, GPU_IN_USE, needed=request.gpus, free=gpus, of=of))
    needed, of = request.cpu_millis, 1000 * (cores or 0)
    if request.cores:
        own = cores_to_own(state, node)
        if own < request.cores:
            there = state.cores_free if node is None else len(state.free.get(node, ()))
            kept = 1000 * (there - own)
            found.append(
                Lack(Subject.CPU, LACK_CPU, needed=needed, free=1000 * own, of=of, kept=kept)
            )
    else:
        left = shared_millis_left(state, node)
        if left < needed:
            found.append(Lack(Subject.CPU, LACK_CPU, needed=needed, free=max(0, left), of=of))
    return found
