"""``kubectl weir hosts``."""

import datetime as dt
import sys
from collections.abc import Iterable
from typing import Any

from weir_cli.formatting import (
    format_age,
    format_bytes,
    format_cpu,
    format_ranges,
    serialize,
    table,
)
from weir_cli.kubectl import Kubectl
from weir_cli.options import HostsOptions
from weir_cli.tasks import bound_tasks
from weir_cli.usage import HostUsage, NumaUsage, usage_of_hosts
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.kinds import HOST
from weir_crds.times import parse_time
from weir_kube.store import Object

_HEADER = (
    "NAME",
    "STATUS",
    "CPUS",
    "EXCLUSIVE",
    "SHARED",
    "FREE",
    "MEMORY",
    "MEM-FREE",
    "GPUS",
    "GPU-FREE",
    "TASKS",
    "AGE",
)
_WIDE_HEADER = ("NUMA", "RESERVED", "ENGINES", "ENDPOINT", "KERNEL")
_NUMA_HEADER = ("HOST", "NUMA", "CPUS", "EXCLUSIVE", "FREE", "MEMORY", "RESERVED", "TASKS")
_UNKNOWN = "<unknown>"


def print_hosts(kubectl: Kubectl, options: HostsOptions) -> None:
    """Show capacity and use."""
    if options.names:
        hosts = kubectl.named(HOST, options.names)
    else:
        hosts = kubectl.list(HOST, selector=options.selector)
    if options.output == "name":
        for host in hosts:
            print(f"{HOST.kind.lower()}.{HOST.group}/{host['metadata']['name']}")
        return
    tasks = bound_tasks(kubectl, [host["metadata"]["name"] for host in hosts])
    if tasks is None:
        print("You may not list the Tasks of all namespaces: use is not known.", file=sys.stderr)
    if options.output in ("json", "yaml"):
        print(serialize(hosts_json(hosts, tasks), options.output))
    elif not hosts:
        print("No hosts found.", file=sys.stderr)
    elif options.numa:
        print(numa_table(hosts, tasks, headers=options.headers))
    else:
        now = dt.datetime.now(dt.UTC)
        wide = options.output == "wide"
        print(hosts_table(hosts, tasks, now, wide=wide, headers=options.headers))


def hosts_table(
    hosts: list[Object],
    tasks: Iterable[Object] | None,
    now: dt.datetime,
    *,
    wide: bool = False,
    headers: bool = True,
) -> str:
    """Return a line for each host; ``tasks`` None: not known."""
    objects = {host["metadata"]["name"]: host for host in hosts}
    rows = [
        _host_row(usage, objects[usage.name], now, known=tasks is not None, wide=wide)
        for usage in usage_of_hosts(hosts, tasks or ())
    ]
    return table(_HEADER + (_WIDE_HEADER if wide else ()), rows, with_header=headers)


def numa_table(hosts: list[Object], tasks: Iterable[Object] | None, *, headers: bool = True) -> str:
    """Return a line for each NUMA node of the hosts; ``tasks`` None: not known."""
    rows = [
        _node_row(usage, node, known=tasks is not None)
        for usage in usage_of_hosts(hosts, tasks or ())
        for node in usage.nodes
    ]
    return table(_NUMA_HEADER, rows, with_header=headers)


def hosts_json(hosts: list[Object], tasks: Iterable[Object] | None) -> list[dict[str, Any]]:
    """Return what the table shows, exactly, for programs."""
    objects = {host["metadata"]["name"]: host for host in hosts}
    result = []
    for usage in usage_of_hosts(hosts, tasks or ()):
        row: dict[str, Any] = {
            "name": usage.name,
            "status": _status(objects[usage.name]),
            "cpus": sum(len(node.cores) for node in usage.nodes),
            "memoryBytes": usage.memory_bytes,
            "memoryReservedBytes": usage.memory_reserved,
            "gpus": sorted(usage.gpus),
            "numa": [_node_json(node, known=tasks is not None) for node in usage.nodes],
        }
        if tasks is not None:
            row["used"] = {
                "exclusiveCpus": usage.exclusive,
                "sharedMillis": usage.shared_millis,
                "memoryBytes": usage.memory_held,
                "gpus": sorted(index for index, holder in usage.gpus.items() if holder),
                "tasks": usage.tasks,
            }
        result.append(row)
    return result


def _node_json(node: NumaUsage, *, known: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": node.id,
        "cpus": sorted(node.cores),
        "reservedCpus": sorted(node.reserved),
        "memoryBytes": node.memory_bytes,
    }
    if known:
        row["exclusive"] = {str(core): str(node.held[core]) for core in sorted(node.held)}
    return row


def _host_row(
    usage: HostUsage, host: Object, now: dt.datetime, *, known: bool, wide: bool
) -> list[str]:
    free_gpus = sum(holder is None for holder in usage.gpus.values())
    use = [
        str(usage.exclusive),
        format_cpu(usage.shared_millis),
        str(max(0, usage.free_cores - usage.shared_cores)),
    ]
    row = [
        usage.name,
        _status(host),
        str(sum(len(node.cores) for node in usage.nodes)),
        *(use if known else [_UNKNOWN] * len(use)),
        format_bytes(usage.memory_bytes),
        format_bytes(max(0, usage.memory_for_work - usage.memory_held)) if known else _UNKNOWN,
        str(len(usage.gpus)),
        str(free_gpus) if known else _UNKNOWN,
        str(usage.tasks) if known else _UNKNOWN,
        _age(host, now),
    ]
    if wide:
        status = host.get("status") or {}
        row += [
            format_ranges(node.id for node in usage.nodes),
            _reserved(usage),
            ",".join(f"{e['name']} {e.get('version') or ''}" for e in status.get("engines") or ()),
            (status.get("endpoint") or {}).get("url") or "",
            (status.get("info") or {}).get("kernel") or "",
        ]
    return row


def _node_row(usage: HostUsage, node: NumaUsage, *, known: bool) -> list[str]:
    return [
        usage.name,
        str(node.id),
        str(len(node.cores)),
        str(len(node.held)) if known else _UNKNOWN,
        str(node.free) if known else _UNKNOWN,
        _UNKNOWN if node.memory_bytes is None else format_bytes(node.memory_bytes),
        format_ranges(node.reserved),
        str(len(set(node.held.values()))) if known else _UNKNOWN,
    ]


def _reserved(usage: HostUsage) -> str:
    cores = [core for node in usage.nodes for core in node.reserved]
    parts = [f"cpus {format_ranges(cores)}"] if cores else []
    if usage.memory_reserved:
        parts.append(format_bytes(usage.memory_reserved))
    return ", ".join(parts)


def _status(host: Object) -> str:
    """Return one state per thing that matters, as ``kubectl get nodes`` does."""
    spec = host.get("spec") or {}
    approval = spec.get("approval", "Pending")
    ready = conditions.of(host, ConditionType.READY)
    states = [
        "Ready"
        if ready and ready["status"] == conditions.TRUE
        else "Unknown"
        if ready and ready["status"] == conditions.UNKNOWN
        else "NotReady"
    ]
    docker = conditions.of(host, ConditionType.DOCKER_READY)
    if states == ["Ready"] and (docker is None or docker["status"] != conditions.TRUE):
        states.append("DockerNotReady")
    if conditions.is_true(host, ConditionType.DISK_PRESSURE):
        states.append("DiskFull")
    if conditions.is_true(host, ConditionType.STARTS_FAILING):
        states.append("StartsFailing")
    if approval != "Approved":
        states.append("NotApproved")
    if spec.get("unschedulable"):
        states.append("SchedulingDisabled")
    return ",".join(states)


def _age(host: Object, now: dt.datetime) -> str:
    created = host["metadata"].get("creationTimestamp")
    return format_age(now - parse_time(created)) if created else "<unknown>"
