"""What cgroups leave of the machine: a cpuset, a memory limit, of version 1 and 2.

The limits that count are those of the groups that hold both the daemon and Docker: a container or
a slice that Weir as a whole was put into. A group that holds the daemon alone (its pod, its unit)
says nothing about Tasks, which are Docker's children.

https://docs.kernel.org/admin-guide/cgroup-v2.html, …/cgroup-v1/{cpusets,memory}.html
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from weir_nodedaemon.machine.cpulist import InvalidCpuListError, parse_cpulist

_MOUNT = Path("fs/cgroup")  # below /sys
_UNLIMITED = 1 << 62  # version 1 writes about 2^63 where there is no limit
_ROOT = PurePosixPath("/")


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """What may be used; None: no limit that can be seen."""

    cpus: frozenset[int] | None = None
    memory_bytes: int | None = None


def shared_limits(
    pid: int | None, procfs_root: Path = Path("/proc"), sysfs_root: Path = Path("/sys")
) -> CgroupLimits:
    """Return the limits of the groups that hold both this process and another one.

    Args:
        pid: the other process; None: there is none that can be seen.
        procfs_root: where procfs is mounted, or a copy of it.
        sysfs_root: where sysfs is mounted, or a copy of it.
    """
    ours = _groups(procfs_root / "self")
    theirs = {} if pid is None else _groups(procfs_root / str(pid))
    if not _same_namespace(procfs_root, pid):
        return CgroupLimits()
    cpus: frozenset[int] | None = None
    memory: list[int] = []
    for controller in ours.keys() & theirs.keys():
        group = _common(ours[controller], theirs[controller])
        for folder in _upwards(_mount_of(sysfs_root, controller), group):
            if cpus is None and controller in ("", "cpuset"):
                cpus = _cpus(folder)  # the innermost holds for all that are below
            if controller in ("", "memory"):
                memory += _memory(folder)
    return CgroupLimits(cpus, min(memory, default=None))


def peer_of(path: str) -> int | None:
    """Return the process that listens on a unix socket; None: it cannot be seen from here."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
            size = struct.calcsize("3i")
            pid, _, _ = struct.unpack(
                "3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            )
    except OSError:
        return None
    return pid or None


def _groups(process: Path) -> Mapping[str, PurePosixPath]:
    """Return a process's groups by controller; that of version 2 is ``""``."""
    found: dict[str, PurePosixPath] = {}
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = PurePosixPath(path)
    return found


def _same_namespace(procfs_root: Path, pid: int | None) -> bool:
    """Tell whether the paths of both processes' groups begin at the same place."""
    try:
        ours = (procfs_root / "self/ns/cgroup").readlink()
        return ours == (procfs_root / str(pid) / "ns/cgroup").readlink()
    except OSError:
        return False


def _mount_of(sysfs_root: Path, controller: str) -> Path:
    root = sysfs_root / _MOUNT
    if controller:
        return root / controller
    hybrid = root / "unified"  # version 2 beside version 1
    return hybrid if hybrid.is_dir() else root


def _common(one: PurePosixPath, other: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(os.path.commonpath([one, other]))


def _upwards(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    for path in (group, *group.parents):
        yield mount / path.relative_to(_ROOT)


def _cpus(folder: Path) -> frozenset[int] | None:
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        try:
            cpus = parse_cpulist((folder / name).read_text())
        except (OSError, InvalidCpuListError):
            continue
        if cpus:
            return frozenset(cpus)
    return None


def _memory(folder: Path) -> Iterator[int]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            limit = int((folder / name).read_text())  # "max" is no number, and no limit
        except (OSError, ValueError):
            continue
        if limit < _UNLIMITED:
            yield limit
