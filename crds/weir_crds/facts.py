"""What placing needs to know of a host: what it has for work, and what keeps work off it. Pure.

Read from the Host object; all that the machine has is in ``capacity``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from weir_crds import conditions
from weir_crds.capacity import Gpu, capacity_of
from weir_crds.conditions import TRUE, ConditionType


class Obstacle(StrEnum):
    """Why nothing new may start on a host whatever it asks for, in a word or two."""

    EXTERNAL = "external"
    NOT_APPROVED = "not approved"
    NOT_READY = "not ready"
    DISK_FULL = "disk full"
    STARTS_FAIL = "starts fail"
    CORDONED = "cordoned"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What placing needs to know of a host, its Tasks aside. Reserved cores and memory are off."""

    name: str
    numa: Mapping[int, frozenset[int]] = field(default_factory=dict)
    memory_bytes: int = 0
    numa_memory: Mapping[int, int] = field(default_factory=dict)
    """Bytes of each NUMA node; a node that is not in it has not told."""
    siblings: tuple[tuple[int, ...], ...] = ()
    """The cores of each physical core that has several, reserved ones included."""
    slower: frozenset[int] = frozenset()
    """The cores that are slower by make than the others."""
    gpus: tuple[Gpu, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    """Run by a foreign program: Weir knows of it and gives it no work."""
    obstacles: tuple[Obstacle, ...] = ()
    """All that keeps new work off it, the gravest first."""
    ready_engines: frozenset[str] = frozenset()
    """The engines that can be used now, by name."""
    cores: int = field(init=False, compare=False, repr=False)
    """How many cores work may have."""
    _node_of: Mapping[int, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Count once what placing asks for time and again."""
        nodes = {core: node for node, cores in self.numa.items() for core in cores}
        object.__setattr__(self, "cores", len(nodes))
        object.__setattr__(self, "_node_of", nodes)

    def node_of(self, core: int) -> int | None:
        """Return the NUMA node of a core, or None when it is not for work."""
        return self._node_of.get(core)


def is_external(host: Mapping[str, Any]) -> bool:
    """Tell whether a runner of another make speaks for a Host."""
    return bool((host.get("spec") or {}).get("external"))


def facts_of(host: Mapping[str, Any]) -> HostFacts:
    """Return what a Host says of its machine.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    capacity = capacity_of(host)
    return HostFacts(
        name=host["metadata"]["name"],
        numa={node.id: node.cores - capacity.reserved_cores for node in capacity.nodes},
        memory_bytes=capacity.memory_for_work,
        numa_memory={
            node.id: node.memory_bytes for node in capacity.nodes if node.memory_bytes is not None
        },
        siblings=capacity.siblings,
        slower=capacity.slower,
        gpus=capacity.gpus,
        labels=host["metadata"].get("labels") or {},
        external=is_external(host),
        obstacles=_obstacles(host),
        ready_engines=_ready_engines(host),
    )


def _obstacles(host: Mapping[str, Any]) -> tuple[Obstacle, ...]:
    spec = host.get("spec") or {}
    if is_external(host):
        return (Obstacle.EXTERNAL,)
    checks = {
        Obstacle.NOT_APPROVED: spec.get("approval", "Pending") != "Approved",
        Obstacle.NOT_READY: not conditions.is_true(host, ConditionType.READY),
        Obstacle.DISK_FULL: conditions.is_true(host, ConditionType.DISK_PRESSURE),
        Obstacle.STARTS_FAIL: conditions.is_true(host, ConditionType.STARTS_FAILING),
        Obstacle.CORDONED: bool(spec.get("unschedulable")),
    }
    return tuple(obstacle for obstacle, stands in checks.items() if stands)


def _ready_engines(host: Mapping[str, Any]) -> frozenset[str]:
    """Return the engines whose condition is True, or that are listed as ready and have none."""
    status = host.get("status") or {}
    ready = {one["name"] for one in status.get("engines") or () if one.get("ready")}
    for condition in status.get("conditions") or ():
        engine = _ENGINE_OF.get(condition["type"])
        if engine and condition["status"] == TRUE:
            ready.add(engine)
        elif engine:
            ready.discard(engine)
    return frozenset(ready)


_ENGINE_OF = {ConditionType.DOCKER_READY: "docker", ConditionType.QEMU_READY: "qemu"}
