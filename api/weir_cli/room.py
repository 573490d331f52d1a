"""What a host has and who holds what of it, and what it lacks for a Task. Pure.

Computed from what the API server shows now, for people: the operator decides by its own ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from weir_cli.words import bytes_words, cpu_words, ranges
from weir_crds import conditions
from weir_crds.capacity import capacity_of
from weir_crds.conditions import ConditionType
from weir_crds.demand import Request, holding_of
from weir_crds.facts import is_external
from weir_kube.store import Key, Object, Objects, key_of


@dataclass(slots=True)
class NodeRoom:
    """A NUMA node of a host."""

    id: int
    cores: frozenset[int]
    reserved: frozenset[int]
    memory_bytes: int | None
    """None: it has not told."""
    memory_held: int = 0
    """By those who use no other node's."""
    held: dict[int, Key] = field(default_factory=dict)

    @property
    def for_work(self) -> int:
        """How many cores work may have at all."""
        return len(self.cores - self.reserved)

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
    memory_held: int = 0
    shared_millis: int = 0
    shared_tasks: int = 0
    tasks: int = 0

    @property
    def exclusive(self) -> int:
        """How many cores belong to one Task each."""
        return sum(len(node.held) for node in self.nodes)

    @property
    def free_cores(self) -> int:
        """How many cores are nobody's own; the shared ones are among them."""
        return sum(node.free for node in self.nodes)

    @property
    def shared_cores(self) -> int:
        """How many cores must stay shared for the Tasks that run on them."""
        return max(-(-self.shared_millis // 1000), 1 if self.shared_tasks else 0)

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
    if asked.host_name is not None and asked.host_name != room.name:
        return [f"the Task asks for host {asked.host_name}"]
    found = list(room.obstacles)
    missing = {
        f"{key}={value}" for key, value in asked.host_selector if room.labels.get(key) != value
    }
    if missing:
        found.append(f"lacks the label {', '.join(sorted(missing))}")
    if not room.nodes:
        return found or ["has not told what it has"]
    found += _lacking_cpu(asked, room)
    found += _lacking_memory(asked, room)
    return found + _lacking_gpus(asked, room)


def _empty(host: Object) -> Room:
    capacity = capacity_of(host)
    return Room(
        name=host["metadata"]["name"],
        obstacles=_obstacles(host),
        labels=host["metadata"].get("labels") or {},
        nodes=[
            NodeRoom(node.id, node.cores, node.cores & capacity.reserved_cores, node.memory_bytes)
            for node in capacity.nodes
        ],
        memory_bytes=capacity.memory_bytes,
        memory_reserved=capacity.reserved_memory_bytes,
        gpus={gpu.index: None for gpu in capacity.gpus},
    )


def _obstacles(host: Object) -> list[str]:
    spec = host.get("spec") or {}
    if is_external(host):
        return ["is external: a runner of another make, which is given no Tasks"]
    found = []
    approval = spec.get("approval", "Pending")
    if approval != "Approved":
        found.append("is not approved yet" if approval == "Pending" else "is rejected")
    if not conditions.is_true(host, ConditionType.READY):
        found.append("is not ready" + _why_not(host, ConditionType.READY))
    elif not conditions.is_true(host, ConditionType.DOCKER_READY):
        found.append("Docker is not ready" + _why_not(host, ConditionType.DOCKER_READY))
    if conditions.is_true(host, ConditionType.DISK_PRESSURE):
        found.append("its disk is full")
    if spec.get("unschedulable"):
        found.append("is cordoned (spec.unschedulable)")
    return found


def _why_not(host: Object, kind: ConditionType) -> str:
    condition = conditions.of(host, kind)
    return f" ({condition['reason']})" if condition else ""


def _hold(room: Room, task: Object) -> None:
    key, holding = key_of(task), holding_of(task)
    room.tasks += 1
    room.memory_held += holding.memory_bytes
    for node in room.nodes:
        node.held.update(dict.fromkeys(node.cores.intersection(holding.cpus), key))
        if node.id == holding.numa_node:
            node.memory_held += holding.memory_bytes
    if holding.shared_millis is not None:
        room.shared_tasks += 1
        room.shared_millis += holding.shared_millis
    for gpu in holding.gpus:
        if gpu in room.gpus:
            room.gpus[gpu] = key


def _lacking_memory(asked: Request, room: Room) -> list[str]:
    of, free, where = room.memory_for_work, room.memory_for_work - room.memory_held, ""
    node = next((node for node in room.nodes if node.id == asked.numa_node), None)
    if node is not None and node.memory_bytes is not None:
        of, free = min(of, node.memory_bytes), min(free, node.memory_bytes - node.memory_held)
        where = f" on NUMA node {node.id}"
    needed = bytes_words(asked.memory_bytes)
    if asked.memory_bytes > of:
        return [f"has {bytes_words(of)} memory for work{where}, {needed} needed"]
    if asked.memory_bytes and asked.memory_bytes > free:
        has = f"{bytes_words(max(0, free))} of {bytes_words(of)} memory free{where}"
        return [f"{has}, {needed} needed"]
    return []


def _lacking_cpu(asked: Request, room: Room) -> list[str]:
    nodes, where = room.nodes, ""
    if asked.numa_node is not None:
        nodes = [node for node in nodes if node.id == asked.numa_node]
        where = f" on NUMA node {asked.numa_node}"
        if not nodes:
            return [f"has no NUMA node {asked.numa_node}"]
    for_work = sum(node.for_work for node in nodes)
    if asked.cpu_millis > 1000 * for_work or not for_work:
        return [f"has {_cores(for_work)} for work{where}, {cpu_words(asked.cpu_millis)} needed"]
    free = sum(node.free for node in nodes)
    if not asked.cores:
        room_left = 1000 * free - room.shared_millis
        if asked.cpu_millis <= room_left and free:
            return []
        return [
            f"{cpu_words(max(0, room_left))} of {free} shared cores left{where},"
            f" {cpu_words(asked.cpu_millis)} needed"
        ]
    # What the shared Tasks need may be on any node.
    for_own = min(free, room.free_cores - room.shared_cores)
    if asked.cores <= for_own:
        return []
    stay = f" ({room.shared_cores} more must stay shared)" if for_own < free else ""
    return [f"{max(0, for_own)} of {for_work} cores free{where}{stay}, {asked.cores} needed"]


def _cores(count: int) -> str:
    return f"{count or 'no'} core{'s' if count > 1 else ''}"


def _lacking_gpus(asked: Request, room: Room) -> list[str]:
    if not asked.gpus:
        return []
    unknown = set(asked.gpu_indices) - room.gpus.keys()
    if unknown:
        return [f"has no gpu {ranges(unknown)}"]
    if asked.gpus > len(room.gpus):
        return [f"has {len(room.gpus) or 'no'} gpus, {asked.gpus} needed"]
    free = {index for index, holder in room.gpus.items() if holder is None}
    if asked.gpu_indices:
        taken = set(asked.gpu_indices) - free
        return [f"gpu {ranges(taken)} is in use"] if taken else []
    if asked.gpus > len(free):
        return [f"{len(free)} of {len(room.gpus)} gpus free, {asked.gpus} needed"]
    return []
