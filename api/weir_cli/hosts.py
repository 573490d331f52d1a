"""``kubectl weir hosts``."""

import datetime as dt
import sys
from collections.abc import Iterable
from typing import Any

from weir_cli.kubectl import Kubectl
from weir_cli.options import HostsOptions
from weir_cli.room import NodeRoom, Room, rooms_of
from weir_cli.tasks import bound_tasks
from weir_cli.words import age_words, bytes_words, cpu_words, data, ranges, table
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
        print(data(hosts_json(hosts, tasks), options.output))
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
        _host_row(room, objects[room.name], now, known=tasks is not None, wide=wide)
        for room in rooms_of(hosts, tasks or ())
    ]
    return table(_HEADER + (_WIDE_HEADER if wide else ()), rows, with_header=headers)


def numa_table(hosts: list[Object], tasks: Iterable[Object] | None, *, headers: bool = True) -> str:
    """Return a line for each NUMA node of the hosts; ``tasks`` None: not known."""
    rows = [
        _node_row(room, node, known=tasks is not None)
        for room in rooms_of(hosts, tasks or ())
        for node in room.nodes
    ]
    return table(_NUMA_HEADER, rows, with_header=headers)


def hosts_json(hosts: list[Object], tasks: Iterable[Object] | None) -> list[dict[str, Any]]:
    """Return what the table shows, exactly, for programs."""
    objects = {host["metadata"]["name"]: host for host in hosts}
    result = []
    for room in rooms_of(hosts, tasks or ()):
        row: dict[str, Any] = {
            "name": room.name,
            "status": _status(objects[room.name]),
            "cpus": sum(len(node.cores) for node in room.nodes),
            "memoryBytes": room.memory_bytes,
            "memoryReservedBytes": room.memory_reserved,
            "gpus": sorted(room.gpus),
            "numa": [_node_json(node, known=tasks is not None) for node in room.nodes],
        }
        if tasks is not None:
            row["used"] = {
                "exclusiveCpus": room.exclusive,
                "sharedMillis": room.shared_millis,
                "memoryBytes": room.memory_held,
                "gpus": sorted(index for index, holder in room.gpus.items() if holder),
                "tasks": room.tasks,
            }
        result.append(row)
    return result


def _node_json(node: NodeRoom, *, known: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": node.id,
        "cpus": sorted(node.cores),
        "reservedCpus": sorted(node.reserved),
        "memoryBytes": node.memory_bytes,
    }
    if known:
        row["exclusive"] = {str(core): str(node.held[core]) for core in sorted(node.held)}
    return row


def _host_row(room: Room, host: Object, now: dt.datetime, *, known: bool, wide: bool) -> list[str]:
    free_gpus = sum(holder is None for holder in room.gpus.values())
    use = [
        str(room.exclusive),
        cpu_words(room.shared_millis),
        str(max(0, room.free_cores - room.shared_cores)),
    ]
    row = [
        room.name,
        _status(host),
        str(sum(len(node.cores) for node in room.nodes)),
        *(use if known else [_UNKNOWN] * len(use)),
        bytes_words(room.memory_bytes),
        bytes_words(max(0, room.memory_for_work - room.memory_held)) if known else _UNKNOWN,
        str(len(room.gpus)),
        str(free_gpus) if known else _UNKNOWN,
        str(room.tasks) if known else _UNKNOWN,
        _age(host, now),
    ]
    if wide:
        status = host.get("status") or {}
        row += [
            ranges(node.id for node in room.nodes),
            _reserved(room),
            ",".join(f"{e['name']} {e.get('version') or ''}" for e in status.get("engines") or ()),
            (status.get("endpoint") or {}).get("url") or "",
            (status.get("info") or {}).get("kernel") or "",
        ]
    return row


def _node_row(room: Room, node: NodeRoom, *, known: bool) -> list[str]:
    return [
        room.name,
        str(node.id),
        str(len(node.cores)),
        str(len(node.held)) if known else _UNKNOWN,
        str(node.free) if known else _UNKNOWN,
        _UNKNOWN if node.memory_bytes is None else bytes_words(node.memory_bytes),
        ranges(node.reserved),
        str(len(set(node.held.values()))) if known else _UNKNOWN,
    ]


def _reserved(room: Room) -> str:
    cores = [core for node in room.nodes for core in node.reserved]
    parts = [f"cpus {ranges(cores)}"] if cores else []
    if room.memory_reserved:
        parts.append(bytes_words(room.memory_reserved))
    return ", ".join(parts)


def _status(host: Object) -> str:
    """Return one word per thing that matters, as ``kubectl get nodes`` does."""
    spec = host.get("spec") or {}
    approval = spec.get("approval", "Pending")
    ready = conditions.of(host, ConditionType.READY)
    words = [
        "Ready"
        if ready and ready["status"] == conditions.TRUE
        else "Unknown"
        if ready and ready["status"] == conditions.UNKNOWN
        else "NotReady"
    ]
    docker = conditions.of(host, ConditionType.DOCKER_READY)
    if words == ["Ready"] and (docker is None or docker["status"] != conditions.TRUE):
        words.append("DockerNotReady")
    if conditions.is_true(host, ConditionType.DISK_PRESSURE):
        words.append("DiskFull")
    if conditions.is_true(host, ConditionType.STARTS_FAILING):
        words.append("StartsFailing")
    if approval != "Approved":
        words.append("NotApproved")
    if spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _age(host: Object, now: dt.datetime) -> str:
    created = host["metadata"].get("creationTimestamp")
    return age_words(now - parse_time(created)) if created else "<unknown>"
