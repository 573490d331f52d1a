"""What is known of a host, read from its Host object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.quantities import memory_bytes


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of a host."""

    index: int
    uuid: str
    numa_node: int | None = None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What placing needs to know of a host, its Tasks aside. Reserved cores and memory are off."""

    name: str
    numa: Mapping[int, frozenset[int]] = field(default_factory=dict)
    memory_bytes: int = 0
    numa_memory: Mapping[int, int] = field(default_factory=dict)
    """Bytes of each NUMA node; a node that is not in it has not told."""
    gpus: tuple[Gpu, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
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


def facts_of(host: Mapping[str, Any]) -> HostFacts:
    """Return what a Host says of its machine.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    spec, status = host.get("spec") or {}, host.get("status") or {}
    capacity, reserved = status.get("capacity") or {}, spec.get("reserved") or {}
    kept = frozenset(reserved.get("cpus") or ())
    nodes = capacity.get("numa") or [{"id": 0, "cpus": range(int(capacity.get("cpus") or 0))}]
    memory = memory_bytes(capacity.get("memory") or 0) - memory_bytes(reserved.get("memory") or 0)
    return HostFacts(
        name=host["metadata"]["name"],
        numa={
            node["id"]: frozenset(node.get("cpus") or ()) - kept
            for node in sorted(nodes, key=lambda node: int(node["id"]))
        },
        memory_bytes=max(0, memory),
        numa_memory={
            node["id"]: memory_bytes(node["memory"]) for node in nodes if "memory" in node
        },
        gpus=tuple(
            Gpu(gpu["index"], gpu.get("uuid") or "", gpu.get("numaNode"))
            for gpu in sorted(capacity.get("gpus") or (), key=lambda gpu: int(gpu["index"]))
        ),
        labels=host["metadata"].get("labels") or {},
        unavailable=_unavailable(host),
    )


def _unavailable(host: Mapping[str, Any]) -> str | None:
    spec = host.get("spec") or {}
    if spec.get("approval", "Pending") != "Approved":
        return "not approved"
    if not conditions.is_true(host, ConditionType.READY):
        return "not ready"
    if not conditions.is_true(host, ConditionType.DOCKER_READY):
        return "Docker not ready"
    if conditions.is_true(host, ConditionType.DISK_PRESSURE):
        return "disk full"
    if spec.get("unschedulable"):
        return "cordoned"
    return None
