"""NUMA nodes, as the kernel shows them in sysfs."""

from dataclasses import dataclass
from pathlib import Path

from weir_nodedaemon.machine.cores import CapacityUnknownError, online_cpus
from weir_nodedaemon.machine.cpulist import parse_cpulist

_NODE = Path("devices/system/node")
_PCI = Path("bus/pci/devices")
_LOCAL, _REMOTE = 10, 20  # the kernel's own distances where the firmware tells none


@dataclass(frozen=True, slots=True)
class NumaNode:
    """A NUMA node: cores that are online, memory, and the distance to each node in their order."""

    id: int
    cpus: tuple[int, ...]
    memory_bytes: int
    distances: tuple[int, ...]


def numa_nodes(sysfs_root: Path) -> tuple[NumaNode, ...]:
    """Return the online nodes, by number; a kernel without NUMA shows one, number 0, or none."""
    try:
        ids = parse_cpulist((sysfs_root / _NODE / "online").read_text())
    except FileNotFoundError:
        return ()
    online = frozenset(online_cpus(sysfs_root))
    return tuple(_node(sysfs_root / _NODE / f"node{id}", id, ids, online) for id in ids)


def numa_node_of_pci(sysfs_root: Path, address: str) -> int | None:
    """Return the NUMA node that a PCI device is attached to; None: the firmware does not tell."""
    try:
        node = int((sysfs_root / _PCI / address / "numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def memory_total(meminfo: str) -> int:
    """Return the bytes of the line ``MemTotal`` of a machine's or a node's ``meminfo``.

    Raises:
        CapacityUnknownError: there is no such line.
    """
    for line in meminfo.splitlines():
        name, _, value = line.partition("MemTotal:")
        if value and (not name or name.startswith("Node ")):
            return int(value.split()[0]) * 1024
    raise CapacityUnknownError("meminfo has no line MemTotal")


def _node(folder: Path, id: int, ids: tuple[int, ...], online: frozenset[int]) -> NumaNode:
    try:
        distances = tuple(int(word) for word in (folder / "distance").read_text().split())
    except FileNotFoundError:
        distances = tuple(_LOCAL if other == id else _REMOTE for other in ids)
    return NumaNode(
        id=id,
        cpus=tuple(c for c in parse_cpulist((folder / "cpulist").read_text()) if c in online),
        memory_bytes=memory_total((folder / "meminfo").read_text()),
        distances=distances,
    )
