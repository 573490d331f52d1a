"""What processes cost, read from procfs."""

import os
import resource
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
CPU_SECONDS_RESOLUTION = 1 / _TICKS
"""What ``cpu_seconds`` counts in."""


def cpu_seconds(pid: int) -> float:
    """Return how much CPU time a process has used."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def own_cpu_seconds() -> float:
    """Return how much CPU time this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_mib(pid: int) -> float:
    """Return how much memory a process has now."""
    return _status_mib(pid, "VmRSS")


def peak_rss_mib(pid: int) -> float:
    """Return how much memory a process has had at most."""
    return _status_mib(pid, "VmHWM")


def _status_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {field} in /proc/{pid}/status")
