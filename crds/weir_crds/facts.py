"""What is known of a host, read from its Host object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weir_crds import conditions
from weir_crds.capacity import Gpu, capacity_of
from weir_crds.conditions import ConditionType


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
    unavailable: str | None = None
    """Why nothing new may start there whatever it asks for, in a word or two; None: it may."""

    @property
    def cores(self) -> int:
        """How many cores work may have."""
        return sum(map(len, self.numa.values()))

    def node_of(self, core: int) -> int | None:
        """Return the NUMA node of a core, or None when it is not for work."""
        for node, cores in self.numa.items():
            if core in cores:
                return node
        return None


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
        unavailable=_unavailable(host),
    )


def _unavailable(host: Mapping[str, Any]) -> str | None:
    spec = host.get("spec") or {}
    if is_external(host):
        return "external"
    if spec.get("approval", "Pending") != "Approved":
        return "not approved"
    if not conditions.is_true(host, ConditionType.READY):
        return "not ready"
    if not conditions.is_true(host, ConditionType.DOCKER_READY):
        return "Docker not ready"
    if conditions.is_true(host, ConditionType.DISK_PRESSURE):
        return "disk full"
    if conditions.is_true(host, ConditionType.STARTS_FAILING):
        return "starts fail"
    if spec.get("unschedulable"):
        return "cordoned"
    return None
