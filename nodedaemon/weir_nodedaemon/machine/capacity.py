"""What of the machine may be given to work, now: it may change while the daemon runs."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weir_crds.quantities import format_bytes
from weir_nodedaemon.machine.cgroup import CgroupLimits
from weir_nodedaemon.machine.cores import (
    CapacityUnknownError,
    efficiency_cpus,
    isolated_cpus,
    one_per_physical_core,
    online_cpus,
    thread_siblings,
)
from weir_nodedaemon.machine.cpulist import format_cpulist
from weir_nodedaemon.machine.numa import NumaNode, memory_total, numa_nodes

logger = logging.getLogger(__name__)

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class MachineCapacity:
    """Cores and memory, and how both are spread.

    Attributes:
        cpus: the cores, in order.
        memory_bytes: of all NUMA nodes together.
        numa: the NUMA nodes, with those of their cores and that part of the memory.
        thread_siblings: the cores that are threads of one physical core, for each of which there
            are several.
        efficiency_cpus: the cores that are slower by make than the others.
    """

    cpus: tuple[int, ...]
    memory_bytes: int
    numa: tuple[NumaNode, ...]
    thread_siblings: tuple[tuple[int, ...], ...] = ()
    efficiency_cpus: tuple[int, ...] = ()

    @property
    def memory_nodes(self) -> frozenset[int]:
        """The NUMA nodes that have memory: a container can be tied to no other."""
        return frozenset(node.id for node in self.numa if node.memory_bytes)

    def as_status(self) -> dict[str, Any]:
        """Return ``Host.status.capacity``, GPUs aside."""
        status: dict[str, Any] = {
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
        if self.thread_siblings:
            status["threadSiblings"] = [list(group) for group in self.thread_siblings]
        if self.efficiency_cpus:
            status["efficiencyCpus"] = list(self.efficiency_cpus)
        return status


@dataclass(frozen=True, slots=True)
class Share:
    """What of the machine an administrator leaves to Weir.

    Attributes:
        cpus: only these cores, isolated ones too; None: all that are online and not isolated.
        memory_bytes: at most so much, spread over the nodes as the machine's memory is; None: all.
        smt: whether each hardware thread counts as a core; False: one of each physical core does,
            and the others are left idle.
    """

    cpus: Collection[int] | None = None
    memory_bytes: int | None = None
    smt: bool = True


WHOLE_MACHINE = Share()


def capacity(
    sysfs_root: Path = Path("/sys"),
    procfs_root: Path = Path("/proc"),
    share: Share = WHOLE_MACHINE,
    *,
    cgroup: CgroupLimits | None = None,
    engine_cpus: Collection[int] | None = None,
) -> MachineCapacity:
    """Return what the machine has, less what is left to others or cannot be used.

    Args:
        sysfs_root: where sysfs is mounted, or a copy of it.
        procfs_root: where procfs is mounted, or a copy of it.
        share: what is left to Weir.
        cgroup: what the cgroups leave of the machine to the daemon and its engine.
        engine_cpus: the cores that the container engine can use; None: it does not tell.

    Raises:
        CapacityUnknownError: the machine does not tell, or no core is left.
    """
    online = online_cpus(sysfs_root)
    cgroup = cgroup or CgroupLimits()
    cpus = set(online) - isolated_cpus(sysfs_root)
    if share.cpus is not None:
        cpus = set(online).intersection(share.cpus)
    if not cpus:
        raise CapacityUnknownError("none of the cores that may be used is online")
    for allowed, whose in ((cgroup.cpus, "the cgroup"), (engine_cpus, "the container engine")):
        if allowed is not None:
            cpus &= set(allowed)
            if not cpus:
                raise CapacityUnknownError(f"{whose} has none of the cores that may be used")
    if not share.smt:
        cpus = set(one_per_physical_core(sysfs_root, cpus))
    memory = min(
        limit
        for limit in (_machine_memory(procfs_root), share.memory_bytes, cgroup.memory_bytes)
        if limit is not None
    )
    found = numa_nodes(sysfs_root) or (NumaNode(0, online, memory, (10,)),)
    return MachineCapacity(
        cpus=tuple(sorted(cpus)),
        memory_bytes=memory,
        numa=tuple(_parts(found, frozenset(cpus), memory)),
        thread_siblings=thread_siblings(sysfs_root, cpus),
        efficiency_cpus=efficiency_cpus(sysfs_root, cpus),
    )


class CapacityWatch:
    """Looks at the machine again and again: cores go offline, and Docker may lack some."""

    def __init__(self, read: Callable[[Collection[int] | None], MachineCapacity]) -> None:
        """Read once, without knowing the engine.

        Args:
            read: returns the capacity, given the cores that the engine can use (None: not told).

        Raises:
            CapacityUnknownError: nothing can be given to work.
        """
        self._read = read
        self.current = read(None)

    def look(self, engine_cpus: Collection[int] | None) -> bool:
        """Read again, which blocks for a moment; return whether something is new.

        What cannot be told leaves all as it was.
        """
        try:
            found = self._read(engine_cpus)
        except (CapacityUnknownError, OSError) as exc:
            logger.error("capacity is not known, the one before holds: %s", exc)  # noqa: TRY400
            return False
        before, self.current = self.current, found
        if before == found:
            return False
        logger.info(
            "capacity cores=%s memory=%s",
            format_cpulist(found.cpus),
            format_bytes(found.memory_bytes),
        )
        return True


def _machine_memory(procfs_root: Path) -> int:
    try:
        return memory_total((procfs_root / "meminfo").read_text())
    except OSError as exc:
        raise CapacityUnknownError(f"cannot tell how much memory there is: {exc}") from exc


def _parts(nodes: tuple[NumaNode, ...], cpus: frozenset[int], memory_bytes: int) -> list[NumaNode]:
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
