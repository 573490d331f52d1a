"""What a Host has, and what of it is kept from work, read from the object. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds.quantities import memory_bytes

MOST_CORES = 4096
"""How many cores a host may have that does not list them; a list of them may be as long."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of a host."""

    index: int
    uuid: str
    numa_node: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One NUMA node of a host, reserved cores included."""

    id: int
    cores: frozenset[int]
    memory_bytes: int | None = None
    """None: it has not reported."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """All that a host has; nothing of a host that has not reported yet."""

    nodes: tuple[Node, ...] = ()
    """By id; a host that tells of none is one node, with the id 0."""
    memory_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    """By index."""
    siblings: tuple[tuple[int, ...], ...] = ()
    """The cores of each physical core that has several, reserved ones included."""
    slower: frozenset[int] = frozenset()
    """The cores that are slower by make than the others."""
    reserved_cores: frozenset[int] = frozenset()
    reserved_memory_bytes: int = 0

    @property
    def memory_for_work(self) -> int:
        """Memory less what is reserved."""
        return max(0, self.memory_bytes - self.reserved_memory_bytes)


def capacity_of(host: Mapping[str, Any]) -> Capacity:
    """Return what a Host says of its machine.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    spec, status = host.get("spec") or {}, host.get("status") or {}
    reported, reserved = status.get("capacity") or {}, spec.get("reserved") or {}
    return Capacity(
        nodes=tuple(_nodes_of(reported)),
        memory_bytes=memory_bytes(reported.get("memory") or 0),
        gpus=tuple(
            Gpu(gpu["index"], gpu.get("uuid") or "", gpu.get("numaNode"))
            for gpu in sorted(reported.get("gpus") or (), key=lambda gpu: int(gpu["index"]))
        ),
        siblings=tuple(tuple(group) for group in reported.get("threadSiblings") or ()),
        slower=frozenset(reported.get("efficiencyCpus") or ()),
        reserved_cores=frozenset(reserved.get("cpus") or ()),
        reserved_memory_bytes=memory_bytes(reserved.get("memory") or 0),
    )


def _nodes_of(reported: Mapping[str, Any]) -> Iterator[Node]:
    """Yield the nodes by id; a core that is said to be in several is the first one's.

    A host may report what is not so: neither is a core of it given twice, nor our memory filled.
    """
    nodes = reported.get("numa") or []
    if not nodes and reported.get("cpus"):
        nodes = [{"id": 0, "cpus": range(min(int(reported["cpus"]), MOST_CORES))}]
    named: set[int] = set()
    for node in sorted(nodes, key=lambda node: int(node["id"])):
        cores = frozenset(node.get("cpus") or ()) - named
        named |= cores
        yield Node(node["id"], cores, memory_bytes(node["memory"]) if "memory" in node else None)
