"""From Hosts to nodes, as clients know them. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from weir_api.hostapi.nodes.figures import Figures, gpu_info_of
from weir_api.hostapi.wire import wire_time
from weir_crds import conditions
from weir_crds.capacity import capacity_of
from weir_crds.conditions import ConditionType
from weir_crds.quantities import memory_bytes

ONLINE = "online"
OFFLINE = "offline"
NOT_KNOWN = "N/A"

HEALTH_KEYS = (
    "hostname",
    "status",
    "last_heartbeat",
    "cpu_percent",
    "memory_percent",
    "memory_used_bytes",
    "memory_total_bytes",
    "total_cores",
    "numa_topology",
    "current_avg_temp",
    "current_max_temp",
    "gpu_info",
)
"""What of a node stands in ``/health``."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a Host says of its machine, as far as clients want to know; it seldom changes."""

    hostname: str
    url: str
    is_online: bool
    created_at: str
    total_cores: int
    reserved_cores: int
    memory_bytes: int
    numa_topology: orjson.Fragment
    gpus: tuple[tuple[Mapping[str, Any], int], ...]
    """Each with its memory in bytes."""
    vm_capable: bool
    version: str | None


def machine_of(host: Mapping[str, Any]) -> Machine:
    """Return what a Host says of its machine.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    metadata, status = host["metadata"], host.get("status") or {}
    reported, capacity = status.get("capacity") or {}, capacity_of(host)
    numa = {
        str(node["id"]): {
            "cores": sorted(node.get("cpus") or ()),
            "memory_bytes": memory_bytes(node["memory"]) if "memory" in node else None,
        }
        for node in sorted(reported.get("numa") or (), key=lambda node: int(node["id"]))
    }
    endpoint = status.get("endpoint") or {}
    return Machine(
        hostname=metadata["name"],
        url=endpoint.get("url") or status.get("runnerURL") or "",
        is_online=conditions.is_true(host, ConditionType.READY),
        created_at=metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z",
        total_cores=int(reported.get("cpus") or 0),
        reserved_cores=len(capacity.reserved_cores),
        memory_bytes=capacity.memory_bytes,
        numa_topology=orjson.Fragment(orjson.dumps(numa)),
        gpus=tuple(
            (gpu, memory_bytes(gpu.get("memory") or 0))
            for gpu in sorted(reported.get("gpus") or (), key=lambda gpu: int(gpu["index"]))
        ),
        vm_capable=any(
            engine.get("name") == "qemu" and engine.get("ready") is True
            for engine in status.get("engines") or ()
        ),
        version=(status.get("info") or {}).get("daemonVersion") or None,
    )


def node_of(
    machine: Machine, heard_at: str | None, figures: Figures, cores_in_use: float
) -> dict[str, Any]:
    """Return a node.

    Args:
        machine: what its Host says.
        heard_at: when it gave its last sign of life; None: never.
        figures: how busy it is; nothing is known of one that is offline.
        cores_in_use: what its Tasks hold.
    """
    used = math.ceil(cores_in_use)
    free = max(0, machine.total_cores - machine.reserved_cores - used)
    return {
        "hostname": machine.hostname,
        "url": machine.url,
        "total_cores": machine.total_cores,
        "cores_in_use": used if machine.is_online else NOT_KNOWN,
        "available_cores": free if machine.is_online else 0,
        "status": ONLINE if machine.is_online else OFFLINE,
        "last_heartbeat": wire_time(heard_at or machine.created_at),
        "numa_topology": machine.numa_topology,
        "gpu_info": list(figures.gpu_info)
        or [
            gpu_info_of(gpu, memory, figures.gpus.get(gpu["index"], {}))
            for gpu, memory in machine.gpus
        ],
        "cpu_percent": figures.cpu_percent,
        "memory_percent": figures.memory_percent,
        "memory_used_bytes": figures.memory_used_bytes,
        "memory_total_bytes": figures.memory_total_bytes or machine.memory_bytes,
        "current_avg_temp": figures.average_celsius,
        "current_max_temp": figures.highest_celsius,
        "vm_capable": machine.vm_capable or figures.vm_capable,
        "vfio_gpus": list(figures.vfio_gpus),
        "runner_version": machine.version or figures.runner_version,
    }


def health_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``/health`` shows of a node."""
    return {key: node[key] for key in HEALTH_KEYS}


def aggregate_of(nodes: Iterable[Mapping[str, Any]], now: str) -> dict[str, Any]:
    """Return all nodes summed up; those offline count as they are shown."""
    every = list(nodes)
    cores = sum(node["total_cores"] for node in every)
    total = sum(node["memory_total_bytes"] for node in every)
    used = sum(node["memory_used_bytes"] for node in every)
    busy = sum(node["cpu_percent"] * node["total_cores"] for node in every)
    return {
        "totalNodes": len(every),
        "onlineNodes": sum(node["status"] == ONLINE for node in every),
        "totalCores": cores,
        "totalMemBytes": total,
        "usedMemBytes": used,
        "avgCpuPercent": round(busy / cores, 2) if cores else 0.0,
        "avgMemPercent": round(100 * used / total, 2) if total else 0.0,
        "maxAvgCpuTemp": _highest(node["current_avg_temp"] for node in every),
        "maxMaxCpuTemp": _highest(node["current_max_temp"] for node in every),
        "lastUpdated": now,
    }


def _highest(temperatures: Iterable[float | None]) -> float:
    return max((each for each in temperatures if each is not None), default=0.0)
