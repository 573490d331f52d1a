"""What of the machine may be given to work."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weir_crds.quantities import format_bytes
from weir_nodedaemon.machine.numa import (
    CapacityUnknownError,
    NumaNode,
    memory_total,
    numa_nodes,
    online_cpus,
)

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Capacity:
    """Cores and memory, and how both are spread over NUMA nodes."""

    cpus: tuple[int, ...]
    memory_bytes: int
    numa: tuple[NumaNode, ...]

    @property
    def memory_nodes(self) -> frozenset[int]:
        """The NUMA nodes that have memory: a container can be tied to no other."""
        return frozenset(node.id for node in self.numa if node.memory_bytes)

    def as_status(self) -> dict[str, Any]:
        """Return ``Host.status.capacity``, GPUs aside."""
        return {
            "cpus": len(self.cpus),
            "memory": format_bytes(self.memory_bytes),
            "numa": [
                {
                    "id": node.id,
                    "cpus": list(node.cpus),
                    "memory": format_bytes(node.memory_bytes),
                    "distances": list(node.distances),
                }
                for node in self.numa
            ],
        }


def capacity(
    sysfs_root: Path = Path("/sys"),
    procfs_root: Path = Path("/proc"),
    limit_cpus: Collection[int] | None = None,
    limit_memory: int | None = None,
) -> Capacity:
    """Return what the machine has, less what is left to others.

    Args:
        sysfs_root: where sysfs is mounted, or a copy of it.
        procfs_root: where procfs is mounted, or a copy of it.
        limit_cpus: only these cores; None: all that are online.
        limit_memory: at most so many bytes, spread over the nodes as the machine's memory is.

    Raises:
        CapacityUnknownError: the machine does not tell, or no allowed core is online.
    """
    online = online_cpus(sysfs_root)
    cpus = online if limit_cpus is None else tuple(c for c in online if c in limit_cpus)
    if not cpus:
        raise CapacityUnknownError("none of the cores that may be used is online")
    memory = _machine_memory(procfs_root)
    if limit_memory is not None:
        memory = min(memory, limit_memory)
    found = numa_nodes(sysfs_root) or (NumaNode(0, online, memory, (10,)),)
    return Capacity(cpus, memory, tuple(_shares(found, frozenset(cpus), memory)))


def _machine_memory(procfs_root: Path) -> int:
    try:
        return memory_total((procfs_root / "meminfo").read_text())
    except OSError as exc:
        raise CapacityUnknownError(f"cannot tell how much memory there is: {exc}") from exc


def _shares(nodes: tuple[NumaNode, ...], cpus: frozenset[int], memory_bytes: int) -> list[NumaNode]:
    """Return the nodes with the cores and the part of the memory that may be used.

    The nodes' own figures give only the proportions: under a limit they are too large, and in a
    virtual machine whose memory was added later they can be too small.
    """
    whole = sum(node.memory_bytes for node in nodes)
    return [
        replace(
            node,
            cpus=tuple(cpu for cpu in node.cpus if cpu in cpus),
            memory_bytes=_part(memory_bytes, node.memory_bytes, whole),
        )
        for node in nodes
    ]


def _part(memory_bytes: int, share: int, whole: int) -> int:
    if share == whole:
        return memory_bytes
    return memory_bytes * share // whole // _PAGE * _PAGE
