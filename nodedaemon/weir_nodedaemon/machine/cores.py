"""Cores as the kernel shows them in sysfs: which are online, and which share a physical core.

https://docs.kernel.org/admin-guide/cputopology.html
"""

from collections.abc import Collection
from pathlib import Path

from weir_crds.errors import WeirError
from weir_nodedaemon.machine.cpulist import parse_cpulist

_CPU = Path("devices/system/cpu")
_INTEL_EFFICIENCY = Path("devices/cpu_atom/cpus")  # only where there are cores of two makes
_SIBLINGS = ("topology/core_cpus_list", "topology/thread_siblings_list")  # the older name, last


class CapacityUnknownError(WeirError):
    """The machine does not say what it has, or nothing of it may be used."""

    reason = "CapacityUnknown"


def online_cpus(sysfs_root: Path) -> tuple[int, ...]:
    """Return the cores that are online; hardware threads count, as for the kernel.

    Raises:
        CapacityUnknownError: sysfs does not tell.
    """
    try:
        return parse_cpulist((sysfs_root / _CPU / "online").read_text())
    except OSError as exc:
        raise CapacityUnknownError(f"cannot tell which cores are online: {exc}") from exc


def isolated_cpus(sysfs_root: Path) -> frozenset[int]:
    """Return the cores that the kernel was told to keep its scheduler away from (``isolcpus``).

    Nothing moves a program from one of them to another: whoever set them aside has a use for them.
    """
    return frozenset(_cpulist(sysfs_root / _CPU / "isolated"))


def thread_siblings(sysfs_root: Path, cpus: Collection[int]) -> tuple[tuple[int, ...], ...]:
    """Return, for each physical core of which several threads are among ``cpus``, those threads."""
    groups = {
        tuple(cpu for cpu in _siblings(sysfs_root / _CPU / f"cpu{cpu}") if cpu in cpus)
        for cpu in cpus
    }
    return tuple(sorted(group for group in groups if len(group) > 1))


def one_per_physical_core(sysfs_root: Path, cpus: Collection[int]) -> tuple[int, ...]:
    """Return the cores but for the second and further threads of each physical core."""
    further = {cpu for group in thread_siblings(sysfs_root, cpus) for cpu in group[1:]}
    return tuple(sorted(set(cpus) - further))


def efficiency_cpus(sysfs_root: Path, cpus: Collection[int]) -> tuple[int, ...]:
    """Return those that are slower by make than others of the machine (E-cores, "little" ones)."""
    slow = frozenset(_cpulist(sysfs_root / _INTEL_EFFICIENCY))
    if not slow:
        strength = {cpu: _strength(sysfs_root / _CPU / f"cpu{cpu}") for cpu in cpus}
        most = max(strength.values(), default=0)
        slow = frozenset(cpu for cpu, value in strength.items() if value < most)
    return tuple(sorted(slow.intersection(cpus)))


def _siblings(folder: Path) -> tuple[int, ...]:
    return next(filter(None, (_cpulist(folder / name) for name in _SIBLINGS)), ())


def _strength(folder: Path) -> int:
    """Return how fast a core is beside the fastest, which has 1024; where none tells, all do."""
    try:
        return int((folder / "cpu_capacity").read_text())
    except (OSError, ValueError):
        return 1024


def _cpulist(path: Path) -> tuple[int, ...]:
    try:
        return parse_cpulist(path.read_text())
    except OSError:
        return ()
