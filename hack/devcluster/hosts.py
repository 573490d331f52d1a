"""How the machine's cores, memory and GPUs are shared by the hosts of an instance."""

import os
from dataclasses import dataclass
from itertools import pairwise

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Share:
    """What one host may use; None: all of the machine."""

    cpus: tuple[int, ...] | None
    memory_mib: int | None
    gpus: bool = True  # all of the machine's, or none

    @property
    def cpu_list(self) -> str:
        """The cores as the daemon's flag takes them."""
        return ",".join(map(str, self.cpus or ()))


def shares(cores: list[int], memory_mib: int, hosts: int) -> list[Share]:
    """Return each host's share: neighbouring cores, as evenly as it goes, and equal memory.

    With fewer cores than hosts each host has one, which it shares with others. GPUs are not shared:
    the first host has all.
    """
    if hosts == 1:
        return [Share(None, None)]
    memory = memory_mib // hosts
    if len(cores) < hosts:
        return [Share((cores[n % len(cores)],), memory, gpus=n == 0) for n in range(hosts)]
    bounds = [index * len(cores) // hosts for index in range(hosts + 1)]
    return [
        Share(tuple(cores[first:last]), memory, gpus=first == 0) for first, last in pairwise(bounds)
    ]


def machine_shares(hosts: int) -> list[Share]:
    """Return the shares of this machine."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    return shares(sorted(os.sched_getaffinity(0)), memory_mib, hosts)


def host_names(distinct: str, hosts: int) -> list[str]:
    """Return the hosts' names.

    Args:
        distinct: what tells them from the hosts of other instances that share the Docker daemon,
            because a host takes every container with its name for its own; empty: no others can.
    """
    prefix = f"host-{distinct}-" if distinct else "host-"
    return [f"{prefix}{number}" for number in range(1, hosts + 1)]
