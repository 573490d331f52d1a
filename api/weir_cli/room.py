"""What a host has and who holds what of it, and what it lacks for a Task. Pure.

Computed from what the API server shows now, for people. The verdict is ``weir_crds.fit``'s, by
which the operator places; here it is put into words.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from weir_cli.words import bytes_words, cpu_words, ranges
from weir_crds import conditions
from weir_crds.capacity import capacity_of
from weir_crds.conditions import ConditionType
from weir_crds.demand import Request, holding_of
from weir_crds.facts import HostFacts, Obstacle, facts_of
from weir_crds.fit import Lack, Subject, free_gpus
from weir_crds.fit import lacks as verdict
from weir_crds.host_state import HostState
from weir_kube.store import Key, Object, Objects, key_of


@dataclass(slots=True)
class NodeRoom:
    """A NUMA node of a host."""

    id: int
    cores: frozenset[int]
    reserved: frozenset[int]
    memory_bytes: int | None
    """None: it has not told."""
    held: dict[int, Key] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """How many cores are nobody's own; the shared ones are among them."""
        return len(self.cores - self.reserved - self.held.keys())


@dataclass(slots=True)
class Room:
    """A host, and what is in use on it."""

    name: str
    obstacles: list[str]
    """Why nothing new may start there, whatever it asks for."""
    labels: Mapping[str, str]
    nodes: list[NodeRoom]
    memory_bytes: int
    memory_reserved: int
    gpus: dict[int, Key | None]
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


def rooms_of(hosts: Objects, tasks: Iterable[Object]) -> list[Room]:
    """Return all hosts, by name, with what bound and unfinished Tasks hold."""
    rooms = {room.name: room for room in map(_empty, hosts)}
    for task in tasks:
        status = task.get("status") or {}
        room = rooms.get(status.get("nodeName") or "")
        if room is not None and not status.get("finishedAt"):
            _hold(room, task)
    return [rooms[name] for name in sorted(rooms)]


def lacks(asked: Request, room: Room) -> list[str]:
    """Return in words all that keeps a Task off a host; empty: it has room."""
    found: list[str] = []
    for lack in sorted(verdict(asked, room.state), key=lambda lack: lack.subject.value):
        found += [words for words in _WORDS[lack.subject](asked, room, lack) if words not in found]
    return found


def _empty(host: Object) -> Room:
    capacity, facts = capacity_of(host), facts_of(host)
    return Room(
        name=host["metadata"]["name"],
        obstacles=_obstacles(host, facts),
        labels=host["metadata"].get("labels") or {},
        nodes=[
            NodeRoom(node.id, node.cores, node.cores & capacity.reserved_cores, node.memory_bytes)
            for node in capacity.nodes
        ],
        memory_bytes=capacity.memory_bytes,
        memory_reserved=capacity.reserved_memory_bytes,
        gpus={gpu.index: None for gpu in capacity.gpus},
        state=HostState(host["metadata"]["name"], facts),
    )


def _obstacles(host: Object, facts: HostFacts) -> list[str]:
    found = [_obstacle_words(host, obstacle) for obstacle in facts.obstacles]
    usable = not {Obstacle.EXTERNAL, Obstacle.NOT_READY}.intersection(facts.obstacles)
    if usable and not conditions.is_true(host, ConditionType.DOCKER_READY):
        found.append("has no working Docker" + _why_not(host, ConditionType.DOCKER_READY))
    return found


def _obstacle_words(host: Object, obstacle: Obstacle) -> str:
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


def _hold(room: Room, task: Object) -> None:
    key, holding = key_of(task), holding_of(task)
    room.state.hold(str(key), holding)
    for node in room.nodes:
        node.held.update(dict.fromkeys(node.cores.intersection(holding.cpus), key))
    for gpu in holding.gpus:
        if gpu in room.gpus:
            room.gpus[gpu] = key


def _host_words(asked: Request, room: Room, lack: Lack) -> list[str]:
    if not lack.available:
        if room.obstacles:
            return room.obstacles
        if not room.nodes:
            return ["has not told what it has"]
        if room.state.facts is not None and not room.state.facts.cores:
            return [f"has no core for work, {cpu_words(asked.cpu_millis)} needed"]
        return [f"its engine {asked.engine} is not ready"]
    if asked.host_name is not None and asked.host_name != room.name:
        return [f"the Task asks for host {asked.host_name}"]
    missing = {
        f"{key}={value}" for key, value in asked.host_selector if room.labels.get(key) != value
    }
    return [f"lacks the label {', '.join(sorted(missing))}"]


def _cpu_words(asked: Request, room: Room, lack: Lack) -> list[str]:
    node, where = asked.numa_node, ""
    if node is not None:
        where = f" on NUMA node {node}"
        if node not in room.state.free:
            return [f"has no NUMA node {node}"]
    if lack.never:
        cores = lack.of // 1000
        has = f"{cores or 'no'} core{'s' if cores > 1 else ''}"
        return [f"has {has} for work{where}, {cpu_words(lack.needed)} needed"]
    if not asked.cores:
        shared = room.free_cores if node is None else len(room.state.free[node])
        left = f"{cpu_words(lack.free)} of {shared} shared cores left{where}"
        return [f"{left}, {cpu_words(lack.needed)} needed"]
    stay = f" ({lack.kept // 1000} more must stay shared)" if lack.kept else ""
    has = f"{lack.free // 1000} of {lack.of // 1000} cores free{where}{stay}"
    return [f"{has}, {asked.cores} needed"]


def _memory_words(asked: Request, room: Room, lack: Lack) -> list[str]:
    told = room.state.facts.numa_memory if room.state.facts else {}
    where = f" on NUMA node {asked.numa_node}" if asked.numa_node in told else ""
    of, needed = bytes_words(lack.of), bytes_words(lack.needed)
    if lack.never:
        return [f"has {of} memory for work{where}, {needed} needed"]
    return [f"{bytes_words(max(0, lack.free))} of {of} memory free{where}, {needed} needed"]


def _gpu_words(asked: Request, room: Room, lack: Lack) -> list[str]:
    if unknown := set(asked.gpu_indices) - room.gpus.keys():
        return [f"has no gpu {ranges(unknown)}"]
    if lack.never:
        return [f"has {lack.of or 'no'} gpus, {lack.needed} needed"]
    if asked.gpu_indices:
        free = {gpu.index for gpu in free_gpus(asked, room.state)}
        return [f"gpu {ranges(set(asked.gpu_indices) - free)} is in use"]
    return [f"{lack.free} of {lack.of} gpus free, {lack.needed} needed"]


_WORDS: Mapping[Subject, Callable[[Request, Room, Lack], list[str]]] = {
    Subject.HOST: _host_words,
    Subject.CPU: _cpu_words,
    Subject.MEMORY: _memory_words,
    Subject.GPU: _gpu_words,
}
