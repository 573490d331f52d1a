"""From what a runner tells of its machine to a Host and its Lease. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import orjson

from weir_api.hostapi.runners.wire import HeartbeatIn, RegistrationIn
from weir_crds import conditions
from weir_crds.conditions import TRUE, ConditionType, Reason
from weir_crds.host import LEASE_SECONDS
from weir_crds.names import ANNOTATION_RUNNER_METRICS
from weir_crds.quantities import format_bytes
from weir_crds.times import now_rfc3339, parse_time

METRICS_LIMIT = 65536
"""The most bytes of figures that a Lease carries."""

RENEW_SECONDS = 9.0
"""A Lease that is younger is not renewed: runners send their heartbeats every five seconds."""

_MOST_CORE, _MOST_NODE, _MOST_GPU = 65535, 1023, 255
_MOST_CORES, _MOST_NODES, _MOST_GPUS = 4096, 256, 64
_MOST_TEXT = 256


def new_host(name: str) -> dict[str, Any]:
    """Return the Host of a runner that registers for the first time."""
    return {"metadata": {"name": name}, "spec": {"external": True, "approval": "Pending"}}


def registered_changes(
    host: Mapping[str, Any], registration: RegistrationIn, now: dt.datetime
) -> dict[str, Any]:
    """Return what the Host's status has to say; what was not told stays as it is known."""
    known = (host.get("status") or {}).get("capacity") or {}
    capacity: dict[str, Any] = {
        "cpus": registration.total_cores,
        "memory": (
            known.get("memory", "0")
            if registration.total_ram_bytes is None
            else format_bytes(registration.total_ram_bytes)
        ),
        "numa": _numa(registration.numa_topology) or known.get("numa", []),
        "gpus": _gpus(registration.gpu_info or ()) or known.get("gpus", []),
    }
    return {"capacity": capacity, "runnerURL": registration.url, **alive_changes(host, now)}


def alive_changes(host: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    """Return what the Host's status has to say of a runner that has just been heard."""
    generation = host["metadata"].get("generation")
    before = (host.get("status") or {}).get("conditions")
    return {
        "observedGeneration": generation,
        "conditions": conditions.set_condition(
            before,
            ConditionType.READY,
            TRUE,
            Reason.RUNNER_READY,
            "",
            now=now,
            observed_generation=generation,
        ),
    }


def is_known_alive(host: Mapping[str, Any]) -> bool:
    """Tell whether the Host's status says already that its runner lives."""
    ready = conditions.of(host, ConditionType.READY)
    return ready is not None and (ready["status"], ready["reason"]) == (TRUE, Reason.RUNNER_READY)


def metrics_of(heartbeat: HeartbeatIn, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a heartbeat; GPUs that it leaves out are as they were told before."""
    metrics = heartbeat.model_dump(mode="json", exclude={"running_tasks", "killed_tasks"})
    if not heartbeat.gpu_info and before.get("gpu_info"):
        metrics["gpu_info"] = before["gpu_info"]
    return metrics


def encoded_metrics(metrics: Mapping[str, Any]) -> str:
    """Return figures as they stand in a Lease: without those of devices if they are too many."""
    text = orjson.dumps(metrics).decode()
    if len(text.encode()) > METRICS_LIMIT:
        lean = {**metrics, "gpu_info": None, "vfio_gpus": None}
        text = orjson.dumps(lean).decode()
    return text


def metrics_in(lease: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures that stand in a Lease; none: there is no Lease, or none can be read."""
    annotations = ((lease or {}).get("metadata") or {}).get("annotations") or {}
    try:
        found = orjson.loads(annotations[ANNOTATION_RUNNER_METRICS])
    except (KeyError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def lease_spec(name: str, now: dt.datetime) -> dict[str, Any]:
    """Return the spec of the Lease of a host that has just been heard."""
    return {
        "holderIdentity": name,
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": now_rfc3339(now),
    }


def is_renewed(lease: Mapping[str, Any], now: dt.datetime) -> bool:
    """Tell whether a Lease was renewed so lately that the next time can wait."""
    renewed = (lease.get("spec") or {}).get("renewTime")
    if not renewed:
        return False
    age = (now - parse_time(renewed)).total_seconds()
    return 0 <= age < RENEW_SECONDS


def _numa(topology: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the NUMA nodes that can be made out; runners differ in what else stands there."""
    nodes: list[dict[str, Any]] = []
    for key, entry in (topology or {}).items():
        if not (key.isascii() and key.isdecimal()) or len(key) > 4 or int(key) > _MOST_NODE:
            continue
        cores = entry.get("cores") if isinstance(entry, Mapping) else None
        if not isinstance(cores, list):
            continue
        found = sorted({core for core in cores if _is_index(core, _MOST_CORE)})
        node: dict[str, Any] = {"id": int(key), "cpus": found[:_MOST_CORES]}
        memory = entry.get("memory_bytes")
        if _is_index(memory, 2**53 - 1):
            node["memory"] = format_bytes(memory)
        nodes.append(node)
    unique = {node["id"]: node for node in nodes}
    return [unique[number] for number in sorted(unique)][:_MOST_NODES]


def _gpus(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    gpus: dict[int, dict[str, Any]] = {}
    for position, gpu in enumerate(entries):
        index = gpu.get("gpu_id", position)
        if not _is_index(index, _MOST_GPU):
            continue
        memory = gpu.get("memory_total_mib")
        gpus[index] = {
            "index": index,
            "uuid": _text(gpu.get("uuid"))[:128] or f"gpu-{index}",
            "name": _text(gpu.get("name")),
            "pciAddress": _text(gpu.get("pci_bus_id")),
            "driver": _text(gpu.get("driver_version")),
            "memory": format_bytes(memory * 2**20) if _is_index(memory, 2**32) else "0",
        }
    return [gpus[index] for index in sorted(gpus)][:_MOST_GPUS]


def _is_index(value: Any, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _text(value: Any) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else ""
