"""Whether a host could ever take a request, were it empty and ready. Pure.

The operator places by it; the facade asks it before it accepts what could only wait for ever.
"""

from weir_crds.demand import Request
from weir_crds.facts import HostFacts


def never_fits(request: Request, facts: HostFacts) -> str | None:
    """Return in a few words why a host can never take a request; None: it may, some time."""
    if facts.external:
        return "external"
    if request.host_name is not None and request.host_name != facts.name:
        return "not asked for"
    if any(facts.labels.get(key) != value for key, value in request.host_selector):
        return "lack the labels"
    if not facts.cores:
        return None  # it has told nothing of itself yet
    cores = facts.cores
    if request.numa_node is not None:
        if request.numa_node not in facts.numa:
            return f"lack NUMA node {request.numa_node}"
        cores = len(facts.numa[request.numa_node])
    if 1000 * cores < request.cpu_millis or not cores:
        return "too few cores"
    memory = facts.memory_bytes
    if request.numa_node is not None:
        memory = min(memory, facts.numa_memory.get(request.numa_node, memory))
    if memory < request.memory_bytes:
        return "too little memory"
    if len(facts.gpus) < request.gpus:
        return "too few gpus" if facts.gpus else "no gpu"
    if not frozenset(request.gpu_indices) <= {gpu.index for gpu in facts.gpus}:
        return "lack those gpus"
    return None
