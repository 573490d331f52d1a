"""What a host has and who holds what of it, and what it lacks for a Task. Pure.

Computed from what the API server shows now, for people: the operator decides by its own ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weir_cli.words import bytes_words, cpu_words, ranges
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.quantities import cpu_millis, memory_bytes
from weir_kube.api import Object, Objects
from weir_kube.store import Key, key_of

_DEFAULT_CPU = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Task asks for."""

    cpu_millis: int
    memory_bytes: int
    gpu_count: int
    gpu_indices: tuple[int, ...]
    host_name: str | None
    host_selector: Mapping[str, str]
    numa_node: int | None

    @property
    def cores(self) -> int:
        """How many cores of its own; 0: it runs on the shared ones."""
        return 0 if self.cpu_millis % 1000 else self.cpu_millis // 1000

    @property
    def gpus(self) -> int:
        """How many GPUs, by count or by index."""
        return len(self.gpu_indices) or self.gpu_count


@dataclass(slots=True)
class Node:
    """A NUMA node of a host."""

    id: int
    cores: frozenset[int]
    reserved: frozenset[int]
    memory_bytes: int = 0
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
    nodes: list[Node]
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


def asked_by(task: Object) -> Asked:
    """Return what a Task asks for."""
    spec: Mapping[str, Any] = task["spec"]
    resources, placement = spec.get("resources") or {}, spec.get("placement") or {}
    gpus = resources.get("gpus") or {}
    return Asked(
        cpu_millis=cpu_millis(resources.get("cpu", _DEFAULT_CPU)),
        memory_bytes=memory_bytes(resources.get("memory") or 0),
        gpu_count=gpus.get("count") or 0,
        gpu_indices=tuple(gpus.get("indices") or ()),
        host_name=placement.get("hostName"),
        host_selector=placement.get("hostSelector") or {},
        numa_node=placement.get("numaNode"),
    )


def rooms_of(hosts: Objects, tasks: Iterable[Object]) -> list[Room]:
    """Return all hosts, by name, with what bound and unfinished Tasks hold."""
    rooms = {room.name: room for room in map(_empty, hosts)}
    for task in tasks:
        status = task.get("status") or {}
        room = rooms.get(status.get("nodeName") or "")
        if room is not None and not status.get("finishedAt"):
            _hold(room, task, status)
    return [rooms[name] for name in sorted(rooms)]


def lacks(asked: Asked, room: Room) -> list[str]:
    """Return in words all that keeps a Task off a host; empty: it has room."""
    if asked.host_name is not None and asked.host_name != room.name:
        return [f"the Task asks for host {asked.host_name}"]
    found = list(room.obstacles)
    missing = {
        f"{key}={value}"
        for key, value in asked.host_selector.items()
        if room.labels.get(key) != value
    }
    if missing:
        found.append(f"lacks the label {', '.join(sorted(missing))}")
    if not room.nodes:
        return found or ["has not told what it has"]
    found += _lacking_cpu(asked, room)
    free = room.memory_for_work - room.memory_held
    if asked.memory_bytes > room.memory_for_work:
        found.append(
            f"has {bytes_words(room.memory_for_work)} memory for work,"
            f" {bytes_words(asked.memory_bytes)} needed"
        )
    elif asked.memory_bytes > free:
        found.append(
            f"{bytes_words(max(0, free))} of {bytes_words(room.memory_for_work)} memory free,"
            f" {bytes_words(asked.memory_bytes)} needed"
        )
    return found + _lacking_gpus(asked, room)


def _empty(host: Object) -> Room:
    spec, status = host.get("spec") or {}, host.get("status") or {}
    capacity, reserved = status.get("capacity") or {}, spec.get("reserved") or {}
    kept = frozenset(reserved.get("cpus") or ())
    nodes: Sequence[Mapping[str, Any]] = capacity.get("numa") or ()
    if not nodes and capacity.get("cpus"):
        nodes = [{"id": 0, "cpus": range(capacity["cpus"]), "memory": capacity.get("memory") or 0}]
    return Room(
        name=host["metadata"]["name"],
        obstacles=_obstacles(host),
        labels=host["metadata"].get("labels") or {},
        nodes=[
            Node(
                node["id"],
                cores := frozenset(node.get("cpus") or ()),
                cores & kept,
                memory_bytes(node.get("memory") or 0),
            )
            for node in sorted(nodes, key=lambda node: int(node["id"]))
        ],
        memory_bytes=memory_bytes(capacity.get("memory") or 0),
        memory_reserved=memory_bytes(reserved.get("memory") or 0),
        gpus={gpu["index"]: None for gpu in capacity.get("gpus") or ()},
    )


def _obstacles(host: Object) -> list[str]:
    spec = host.get("spec") or {}
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


def _hold(room: Room, task: Object, status: Mapping[str, Any]) -> None:
    key, asked = key_of(task), asked_by(task)
    room.tasks += 1
    room.memory_held += asked.memory_bytes
    cores = set(status.get("cpus") or ())
    if cores:
        for node in room.nodes:
            node.held.update(dict.fromkeys(node.cores & cores, key))
    else:
        room.shared_tasks += 1
        room.shared_millis += asked.cpu_millis
    for gpu in status.get("gpus") or ():
        if gpu["index"] in room.gpus:
            room.gpus[gpu["index"]] = key


def _lacking_cpu(asked: Asked, room: Room) -> list[str]:
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


def _lacking_gpus(asked: Asked, room: Room) -> list[str]:
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
