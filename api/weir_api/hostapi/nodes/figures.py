"""How busy a machine is, as its daemon or a runner of another make tells it. Pure.

What comes from another machine is read with suspicion: what is no number is nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = -1
"""What a GPU does not tell, to clients."""

MIB = 2**20

_MOST_BYTES = 2**53 - 1  # what JavaScript counts exactly


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at a machine."""

    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    """0: not told; what the Host says holds."""
    average_celsius: float | None = None
    highest_celsius: float | None = None
    gpus: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """By index, in the daemon's words."""
    gpu_info: Sequence[Mapping[str, Any]] = ()
    """In the clients' words already, from a runner that speaks so."""
    runner_version: str | None = None
    vm_capable: bool = False
    vfio_gpus: Sequence[Mapping[str, Any]] = ()


NO_FIGURES = Figures()


def figures_of_daemon(answer: Any) -> Figures:
    """Return what a daemon's ``/v1/stats`` says of its machine."""
    stats = _mapping(answer)
    host = _mapping(stats.get("host"))
    memory = _mapping(host.get("memory"))
    heat = _mapping(host.get("temperature"))
    total = _whole(memory.get("totalBytes"))
    used = max(0, total - _whole(memory.get("availableBytes")))
    return Figures(
        cpu_percent=_number(host.get("cpuPercent")) or 0.0,
        memory_percent=round(100 * used / total, 1) if total else 0.0,
        memory_used_bytes=used,
        memory_total_bytes=total,
        average_celsius=_number(heat.get("averageCelsius")),
        highest_celsius=_number(heat.get("highestCelsius")),
        gpus={
            gpu["index"]: gpu
            for gpu in _mappings(stats.get("gpus"))
            if isinstance(gpu.get("index"), int)
        },
    )


def figures_of_runner(metrics: Any) -> Figures:
    """Return what a runner's heartbeat says of its machine."""
    figures = _mapping(metrics)
    version = figures.get("runner_version")
    return Figures(
        cpu_percent=_number(figures.get("cpu_percent")) or 0.0,
        memory_percent=_number(figures.get("memory_percent")) or 0.0,
        memory_used_bytes=_whole(figures.get("memory_used_bytes")),
        memory_total_bytes=_whole(figures.get("memory_total_bytes")),
        average_celsius=_number(figures.get("current_avg_temp")),
        highest_celsius=_number(figures.get("current_max_temp")),
        gpu_info=_mappings(figures.get("gpu_info")),
        runner_version=version if isinstance(version, str) else None,
        vm_capable=figures.get("vm_capable") is True,
        vfio_gpus=_mappings(figures.get("vfio_gpus")),
    )


def gpu_info_of(gpu: Mapping[str, Any], memory_bytes: int, seen: Mapping[str, Any]) -> Any:
    """Return a GPU as clients know it.

    Args:
        gpu: its entry in the Host's capacity.
        memory_bytes: that entry's memory.
        seen: what its daemon told of it last; empty: nothing.
    """
    used = _mapping(seen.get("memory")).get("usedBytes")
    known = memory_bytes > 0
    return {
        "gpu_id": gpu["index"],
        "name": gpu.get("name") or "",
        "driver_version": gpu.get("driver") or "",
        "pci_bus_id": gpu.get("pciAddress") or "",
        "gpu_utilization": _reported(seen.get("utilisationPercent")),
        "graphics_clock_mhz": _reported(seen.get("graphicsClockMHz")),
        "mem_utilization": _reported(seen.get("memoryUtilisationPercent")),
        "mem_clock_mhz": _reported(seen.get("memoryClockMHz")),
        "memory_total_mib": memory_bytes // MIB if known else UNKNOWN,
        "memory_used_mib": UNKNOWN if used is None else _whole(used) // MIB,
        "memory_free_mib": (
            UNKNOWN if used is None or not known else max(0, memory_bytes - _whole(used)) // MIB
        ),
        "temperature": _reported(seen.get("temperatureCelsius")),
        "fan_speed": _reported(seen.get("fanPercent")),
        "power_usage_mw": _reported(seen.get("powerMilliwatts")),
        "power_limit_mw": _reported(seen.get("powerLimitMilliwatts")),
    }


def _reported(value: Any) -> int:
    number = _number(value)
    return UNKNOWN if number is None else round(number)


def _whole(value: Any) -> int:
    """Return a number of bytes."""
    number = _number(value)
    return 0 if number is None else max(0, min(int(number), _MOST_BYTES))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value) if abs(value) < 2**63 else math.inf
    return number if math.isfinite(number) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> tuple[Mapping[str, Any], ...]:
    found = value if isinstance(value, list) else ()
    return tuple(each for each in found if isinstance(each, Mapping))
