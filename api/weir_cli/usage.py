"""What a host has and who holds what of it, and what it lacks for a Task. Pure.

Computed from what the API server shows now, for people. The verdict is ``weir_crds.fit``'s, by
which the operator places; here it is put for people.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from weir_cli.formatting import format_bytes, format_cpu, format_ranges
from weir_crds import conditions
from weir_crds.capacity import capacity_of
from weir_crds.conditions import ConditionType
from weir_crds.demand import Request, holding_of
from weir_crds.facts import HostFacts, Obstacle, facts_of
from weir_crds.fit import Lack, Subject, free_gpus, lacks
from weir_crds.host_state import HostState
from weir_kube.store import Key, Object, Objects, key_of


@dataclass(slots=True)
class NumaUsage:
    """A NUMA node of a host."""

    id: int
    cores: frozenset[int]
    reserved: frozenset[int]
    memory_bytes: int | None
    """None: not known."""
    held: dict[int, Key] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """How many cores are nobody's own; the shared ones are among them."""
        return len(self.cores - self.reserved - self.held.keys())


@dataclass(slots=True)
class HostUsage:
    """A host, and what is in use on it."""

    name: str
    obstacles: list[str]
    """Why nothing new may start there, whatever it asks for."""
    labels: Mapping[str, str]
    nodes: list[NumaUsage]
    memory_bytes: int
    memory_reserved: int
    gpus: dict[int, Key | None]
    kept_free_for: str | None
    """The Task but for which it takes nothing new, ``namespace/name``."""
    state: HostState
    """Its account, as the operator keeps it."""

    @property
    def memory_held(self) -> int:
        """Bytes promised to Tasks."""
        return self.state.memory_used

    @property
    def shared_millis(self) -> int:
        """What is promised of the shared cores."""
        return self.state.shared.millis

    @property
    def tasks(self) -> int:
        """How many Tasks there are."""
        return len(self.state.holdings)

    @property
    def exclusive(self) -> int:
        """How many cores belong to one Task each."""
        return sum(len(node.held) for node in self.nodes)

    @property
    def free_cores(self) -> int:
        """How many cores are nobody's own; the shared ones are among them."""
        return self.state.cores_free

    @property
    def shared_cores(self) -> int:
        """How many cores must stay shared for the Tasks that run on them."""
        return self.state.shared.cores_needed()

    @property
    def memory_for_work(self) -> int:
        """Memory less what is reserved."""
        return max(0, self.memory_bytes - self.memory_reserved)


def usage_of_hosts(hosts: Objects, tasks: Iterable[Object]) -> list[HostUsage]:
    """Return all hosts, by name, with what bound and unfinished Tasks hold."""
    usages = {usage.name: usage for usage in map(_empty, hosts)}
    for task in tasks:
        status = task.get("status") or {}
        usage = usages.get(status.get("nodeName") or "")
        if usage is not None and not status.get("finishedAt"):
            _hold(usage, task)
    return [usages[name] for name in sorted(usages)]


def describe_lacks(asked: Request, usage: HostUsage, name: str = "") -> list[str]:
    """Return, for people, all that keeps a Task off a host; empty: it fits.

    Args:
        asked: what the Task asks for.
        usage: the host.
        name: the Task, ``namespace/name``: a host may be kept free for it alone.
    """
    found: list[str] = []
    for lack in sorted(lacks(asked, usage.state), key=lambda lack: lack.subject.value):
        found += [line for line in _DESCRIBE[lack.subject](asked, usage, lack) if line not in found]
    if usage.kept_free_for not in {None, name}:
        found.append(f"is kept free for {usage.kept_free_for}, which waits longest")
    return found


def _empty(host: Object) -> HostUsage:
    capacity, facts = capacity_of(host), facts_of(host)
    return HostUsage(
        name=host["metadata"]["name"],
        obstacles=_obstacles(host, facts),
        labels=host["metadata"].get("labels") or {},
        nodes=[
            NumaUsage(node.id, node.cores, node.cores & capacity.reserved_cores, node.memory_bytes)
            for node in capacity.nodes
        ],
        memory_bytes=capacity.memory_bytes,
        memory_reserved=capacity.reserved_memory_bytes,
        gpus={gpu.index: None for gpu in capacity.gpus},
        kept_free_for=_kept_free_for(host),
        state=HostState(host["metadata"]["name"], facts),
    )


def _kept_free_for(host: Object) -> str | None:
    condition = conditions.of(host, ConditionType.KEPT_FREE)
    return condition["message"] if condition else None


def _obstacles(host: Object, facts: HostFacts) -> list[str]:
    found = [_describe_obstacle(host, obstacle) for obstacle in facts.obstacles]
    usable = not {Obstacle.EXTERNAL, Obstacle.NOT_READY}.intersection(facts.obstacles)
    if usable and not conditions.is_true(host, ConditionType.DOCKER_READY):
        found.append("has no working Docker" + _why_not(host, ConditionType.DOCKER_READY))
    return found


def _describe_obstacle(host: Object, obstacle: Obstacle) -> str:
    match obstacle:
        case Obstacle.EXTERNAL:
            return "is external: a runner of another make, which is given no Tasks"
        case Obstacle.NOT_APPROVED:
            rejected = (host.get("spec") or {}).get("approval") == "Rejected"
            return "is rejected" if rejected else "is not approved yet"
        case Obstacle.NOT_READY:
            return "is not ready" + _why_not(host, ConditionType.READY)
        case Obstacle.DISK_FULL:
            return "has a full disk"
        case Obstacle.STARTS_FAIL:
            return "starts nothing: the last starts on it all failed"
        case Obstacle.CORDONED:
            return "is cordoned (spec.unschedulable)"


def _why_not(host: Object, kind: ConditionType) -> str:
    condition = conditions.of(host, kind)
    return f" ({condition['reason']})" if condition else ""


def _hold(usage: HostUsage, task: Object) -> None:
    key, holding = key_of(task), holding_of(task)
    usage.state.hold(str(key), holding)
    for node in usage.nodes:
        node.held.update(dict.fromkeys(node.cores.intersection(holding.cpus), key))
    for gpu in holding.gpus:
        if gpu in usage.gpus:
            usage.gpus[gpu] = key


def _describe_host(asked: Request, usage: HostUsage, lack: Lack) -> list[str]:
    if not lack.available:
        if usage.obstacles:
            return usage.obstacles
        if not usage.nodes:
            return ["has not told what it has"]
        if usage.state.facts is not None and not usage.state.facts.cores:
            return [f"has no core for work, {format_cpu(asked.cpu_millis)} needed"]
        return [f"its engine {asked.engine} is not ready"]
    if asked.host_name is not None and asked.host_name != usage.name:
        return [f"the Task asks for host {asked.host_name}"]
    missing = {
        f"{key}={value}" for key, value in asked.host_selector if usage.labels.get(key) != value
    }
    return [f"lacks the label {', '.join(sorted(missing))}"]


def _describe_cpu(asked: Request, usage: HostUsage, lack: Lack) -> list[str]:
    node, where = asked.numa_node, ""
    if node is not None:
        where = f" on NUMA node {node}"
        if node not in usage.state.free:
            return [f"has no NUMA node {node}"]
    if lack.never:
        cores = lack.of // 1000
        has = f"{cores or 'no'} core{'s' if cores > 1 else ''}"
        return [f"has {has} for work{where}, {format_cpu(lack.needed)} needed"]
    if not asked.cores:
        shared = usage.free_cores if node is None else len(usage.state.free[node])
        left = f"{format_cpu(lack.free)} of {shared} shared cores left{where}"
        return [f"{left}, {format_cpu(lack.needed)} needed"]
    stay = f" ({lack.kept // 1000} more must stay shared)" if lack.kept else ""
    has = f"{lack.free // 1000} of {lack.of // 1000} cores free{where}{stay}"
    return [f"{has}, {asked.cores} needed"]


def _describe_memory(asked: Request, usage: HostUsage, lack: Lack) -> list[str]:
    known = usage.state.facts.numa_memory if usage.state.facts else {}
    where = f" on NUMA node {asked.numa_node}" if asked.numa_node in known else ""
    of, needed = format_bytes(lack.of), format_bytes(lack.needed)
    if lack.never:
        return [f"has {of} memory for work{where}, {needed} needed"]
    return [f"{format_bytes(max(0, lack.free))} of {of} memory free{where}, {needed} needed"]


def _describe_gpu(asked: Request, usage: HostUsage, lack: Lack) -> list[str]:
    if unknown := set(asked.gpu_indices) - usage.gpus.keys():
        return [f"has no gpu {format_ranges(unknown)}"]
    if lack.never:
        return [f"has {lack.of or 'no'} gpus, {lack.needed} needed"]
    if asked.gpu_indices:
        free = {gpu.index for gpu in free_gpus(asked, usage.state)}
        return [f"gpu {format_ranges(set(asked.gpu_indices) - free)} is in use"]
    return [f"{lack.free} of {lack.of} gpus free, {lack.needed} needed"]


_DESCRIBE: Mapping[Subject, Callable[[Request, HostUsage, Lack], list[str]]] = {
    Subject.HOST: _describe_host,
    Subject.CPU: _describe_cpu,
    Subject.MEMORY: _describe_memory,
    Subject.GPU: _describe_gpu,
}
