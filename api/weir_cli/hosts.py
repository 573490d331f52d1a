"""``kubectl weir hosts``."""

import datetime as dt
import json
import sys
from collections.abc import Iterable
from typing import Any

from weir_cli.options import HostsOptions
from weir_cli.reads import list_hosts, list_tasks
from weir_cli.room import NodeRoom, Room, rooms_of
from weir_cli.words import age_words, bytes_words, cpu_words, ranges, table
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.times import parse_time
from weir_kube.api import Api, Object, Objects
from weir_kube.errors import ForbiddenError, NotFoundError

_HEADER = (
    "NAME",
    "NUMA",
    "STATUS",
    "CPUS",
    "EXCLUSIVE",
    "SHARED",
    "MEMORY",
    "GPUS",
    "TASKS",
    "AGE",
)
_WIDE_HEADER = ("RESERVED", "ENGINES", "ENDPOINT", "KERNEL")
_UNKNOWN = "?"


async def print_hosts(api: Api, options: HostsOptions) -> None:
    """Show capacity and use."""
    hosts = _named(await list_hosts(api, options), options.names)
    tasks: Objects | None
    try:
        tasks = await list_tasks(api, options) if hosts else []
    except ForbiddenError:
        tasks = None
        print("You may not list the Tasks of all namespaces: use is not known.", file=sys.stderr)
    if options.output == "json":
        print(json.dumps(hosts_json(hosts, tasks), indent=2))
    elif hosts:
        now = dt.datetime.now(dt.UTC)
        print(hosts_table(hosts, tasks, now, wide=options.output == "wide"))
    else:
        print("No hosts found.", file=sys.stderr)


def hosts_table(hosts: Objects, tasks: Objects | None, now: dt.datetime, *, wide: bool) -> str:
    """Return the table; ``tasks`` None: not known."""
    objects = {host["metadata"]["name"]: host for host in hosts}
    rows = []
    for room in rooms_of(hosts, tasks or ()):
        host = objects[room.name]
        rows.append(_host_row(room, host, now, known=tasks is not None, wide=wide))
        if len(room.nodes) > 1:
            rows += [
                _node_row(room, node, known=tasks is not None, wide=wide) for node in room.nodes
            ]
    return table(_HEADER + (_WIDE_HEADER if wide else ()), rows)


def hosts_json(hosts: Objects, tasks: Objects | None) -> list[dict[str, Any]]:
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


def _named(hosts: Objects, names: Iterable[str]) -> Objects:
    if not names:
        return hosts
    found = {host["metadata"]["name"]: host for host in hosts}
    for name in names:
        if name not in found:
            raise NotFoundError(f'hosts.weir.dev "{name}" not found', status=404)
    return [found[name] for name in dict.fromkeys(names)]


def _host_row(room: Room, host: Object, now: dt.datetime, *, known: bool, wide: bool) -> list[str]:
    in_use = sum(holder is not None for holder in room.gpus.values())
    row = [
        room.name,
        "*" if len(room.nodes) > 1 else ranges(node.id for node in room.nodes),
        _status(host),
        str(sum(len(node.cores) for node in room.nodes)),
        str(room.exclusive) if known else _UNKNOWN,
        f"{cpu_words(room.shared_millis)}/{room.free_cores}" if known else _UNKNOWN,
        _share(bytes_words(room.memory_held), bytes_words(room.memory_bytes), known=known),
        _share(str(in_use), str(len(room.gpus)), known=known),
        str(room.tasks) if known else _UNKNOWN,
        _age(host, now),
    ]
    if wide:
        status = host.get("status") or {}
        row += [
            _reserved(room),
            ",".join(f"{e['name']} {e.get('version') or ''}" for e in status.get("engines") or ()),
            (status.get("endpoint") or {}).get("url") or "",
            (status.get("info") or {}).get("kernel") or "",
        ]
    return row


def _node_row(room: Room, node: NodeRoom, *, known: bool, wide: bool) -> list[str]:
    row = [
        room.name,
        str(node.id),
        "-",
        str(len(node.cores)),
        str(len(node.held)) if known else _UNKNOWN,
        f"-/{node.free}" if known else _UNKNOWN,
        "-" if node.memory_bytes is None else f"-/{bytes_words(node.memory_bytes)}",
        "-",
        str(len(set(node.held.values()))) if known else _UNKNOWN,
        "-",
    ]
    if wide:
        row += [f"cpus {ranges(node.reserved)}" if node.reserved else "-", "-", "-", "-"]
    return row


def _share(used: str, of: str, *, known: bool) -> str:
    return f"{used if known else _UNKNOWN}/{of}"


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
    if approval != "Approved":
        words.append("NotApproved")
    if spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _age(host: Object, now: dt.datetime) -> str:
    created = host["metadata"].get("creationTimestamp")
    return age_words(now - parse_time(created)) if created else "<unknown>"
