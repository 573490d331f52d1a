"""What hosts and Tasks use now, out of what daemons answered. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from weir_cli.formatting import format_bytes, format_cpu, table
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.demand import request_of
from weir_kube.store import Object

_UNKNOWN = "<unknown>"
_HOST_HEADER = ("HOST", "CPU", "MEMORY", "LOAD", "PIDS", "TASKS")
_GPU_HEADER = ("HOST", "GPU", "LOAD", "MEMORY", "TEMP", "NAME")
_TASK_HEADER = ("NAMESPACE", "TASK", "HOST", "CPU", "MEMORY", "PIDS")

Stats = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """Two answers of a host's daemon, some time apart."""

    first: Stats
    second: Stats


@dataclass(frozen=True, slots=True)
class Silence:
    """A host whose daemon gave no figures."""

    why: str
    failed: bool = True
    """False: it is not asked on purpose, since it is not approved say."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a Task uses, or the Tasks of a host; None: not known."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True)
class HostFigures:
    """What a host uses, whatever runs there; ``used.pids`` counts those of Tasks."""

    name: str
    used: Used
    cpus: int = 0
    memory_bytes: int = 0
    load: float = 0.0
    tasks: int = 0
    error: str = ""
    """Why nothing else is known; empty: all is."""


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """What a GPU of a host does, whoever has it; None: not known."""

    host: str
    index: int
    uuid: str
    name: str
    memory_bytes: int
    used_bytes: int | None = None
    percent: int | None = None
    celsius: int | None = None


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """What a Task uses, beside what it asked for."""

    namespace: str
    name: str
    uid: str
    run: int
    host: str
    used: Used
    asked_millis: int
    limit_bytes: int
    """0: none."""


Row = TypeVar("Row", HostFigures, TaskFigures)


def runs(task: Object) -> bool:
    """Tell whether a Task has a container that runs, by what the API server knows."""
    status = task.get("status") or {}
    return (
        bool(status.get("nodeName"))
        and not status.get("finishedAt")
        and conditions.is_true(task, ConditionType.STARTED)
    )


def is_readable(name: str, answers: Answers) -> bool:
    """Tell whether a daemon's answers have the shape that all figures are made of.

    One host that answers anything else must not hide the others.
    """
    try:
        host_figures(name, answers)
        gpu_figures({name: answers})
        task_figures([], {name: answers})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError):
        return False
    return True


def _number(value: Any) -> Any:
    """Return a daemon's number as it is; raises TypeError or ValueError: it is none."""
    if not math.isfinite(value) or isinstance(value, bool):
        raise ValueError("is no number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("is no text")
    return value


def _known(value: Any) -> Any:
    """Return a number, or None where a daemon does not know it."""
    return None if value is None else _number(value)


def host_figures(name: str, seen: Answers | Silence) -> HostFigures:
    """Return what a host uses."""
    if isinstance(seen, Silence):
        return HostFigures(name, Used(), error=seen.why)
    host, tasks = seen.second["host"], seen.second["tasks"]
    memory = host["memory"]
    return HostFigures(
        name=name,
        used=Used(
            cpu_cores=_number(host["cpuPercent"]) / 100 * _number(host["cpus"]),
            memory_bytes=_number(memory["totalBytes"]) - _number(memory["availableBytes"]),
            pids=_number(sum(row.get("pids", 0) for row in tasks)),
        ),
        cpus=host["cpus"],
        memory_bytes=memory["totalBytes"],
        load=_number(host["load"][0]),
        tasks=len(tasks),
    )


def gpu_figures(seen: Mapping[str, Answers | Silence]) -> list[GpuFigures]:
    """Return what the GPUs of all hosts do, by host and index."""
    found = [
        GpuFigures(
            host=host,
            index=_number(gpu["index"]),
            uuid=_text(gpu["uuid"]),
            name=_text(gpu["name"]),
            memory_bytes=_number(gpu["memory"]["totalBytes"]),
            used_bytes=_known(gpu["memory"].get("usedBytes")),
            percent=_known(gpu.get("utilisationPercent")),
            celsius=_known(gpu.get("temperatureCelsius")),
        )
        for host, answers in seen.items()
        if isinstance(answers, Answers)
        for gpu in answers.second.get("gpus", ())
    ]
    return sorted(found, key=lambda gpu: (gpu.host, gpu.index))


def task_figures(tasks: list[Object], seen: Mapping[str, Answers | Silence]) -> list[TaskFigures]:
    """Return what running Tasks use; ``seen`` holds their hosts' answers, by host."""
    used = {
        (host, key): figures
        for host, answers in seen.items()
        if isinstance(answers, Answers)
        for key, figures in _used_by_run(answers).items()
    }
    return [_of_task(task, used) for task in tasks]


def _used_by_run(answers: Answers) -> dict[tuple[str, int], Used]:
    earlier = {(row["uid"], row["run"]): row for row in answers.first["tasks"]}
    return {
        (key := (row["uid"], row["run"])): Used(
            _cores(earlier.get(key, {}), row),
            _known(row.get("memoryBytes")),
            _known(row.get("pids")),
        )
        for row in answers.second["tasks"]
    }


def _cores(first: Stats, second: Stats) -> float | None:
    if "cpuSeconds" not in first or "cpuSeconds" not in second:
        return None
    between: float = second["sampledSeconds"] - first["sampledSeconds"]
    if between <= 0:
        return None  # one and the same look, or the daemon's machine was restarted
    used: float = second["cpuSeconds"] - first["cpuSeconds"]
    cores: float = _number(used / between)
    return max(0.0, cores)


def _of_task(task: Object, used: Mapping[tuple[str, tuple[str, int]], Used]) -> TaskFigures:
    metadata, status, asked = task["metadata"], task["status"], request_of(task)
    uid, run, host = metadata["uid"], status.get("runID") or 0, status["nodeName"]
    return TaskFigures(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid,
        run=run,
        host=host,
        used=used.get((host, (uid, run)), Used()),
        asked_millis=asked.cpu_millis,
        limit_bytes=asked.memory_bytes,
    )


def by_use(rows: Iterable[Row], sort_by: str) -> list[Row]:
    """Return rows in the order asked for: by name, or the greatest first and unknown last."""
    named = sorted(rows, key=lambda row: (getattr(row, "namespace", ""), row.name))
    if sort_by == "name":
        return named
    field = {"cpu": "cpu_cores", "memory": "memory_bytes", "pids": "pids"}[sort_by]

    def amount(row: Row) -> float:
        value: float | None = getattr(row.used, field)
        return -1.0 if value is None else value

    return sorted(named, key=amount, reverse=True)


def hosts_table(rows: Sequence[HostFigures], *, headers: bool = True) -> str:
    """Return the hosts' table; why a host's figures are missing is a column if any are."""
    if not any(row.error for row in rows):
        return table(_HOST_HEADER, map(_host_row, rows), with_header=headers)
    lines = [[*_host_row(row), row.error] for row in rows]
    return table((*_HOST_HEADER, "ERROR"), lines, with_header=headers)


def gpus_table(rows: Sequence[GpuFigures], *, headers: bool = True) -> str:
    """Return the GPUs' table."""
    return table(_GPU_HEADER, map(_gpu_row, rows), with_header=headers)


def tasks_table(rows: Sequence[TaskFigures], *, headers: bool = True) -> str:
    """Return the Tasks' table."""
    return table(_TASK_HEADER, map(_task_row, rows), with_header=headers)


def host_json(row: HostFigures) -> dict[str, Any]:
    """Return a host for programs."""
    if row.error:
        return {"name": row.name, "error": row.error}
    return {
        "name": row.name,
        "cpuCores": round(row.used.cpu_cores or 0.0, 3),
        "cpus": row.cpus,
        "memoryBytes": row.used.memory_bytes,
        "memoryTotalBytes": row.memory_bytes,
        "load": row.load,
        "pids": row.used.pids,
        "tasks": row.tasks,
    }


def gpu_json(row: GpuFigures) -> dict[str, Any]:
    """Return a GPU for programs; what is not known is null."""
    return {
        "host": row.host,
        "index": row.index,
        "uuid": row.uuid,
        "name": row.name,
        "utilisationPercent": row.percent,
        "memoryBytes": row.used_bytes,
        "memoryTotalBytes": row.memory_bytes,
        "temperatureCelsius": row.celsius,
    }


def task_json(row: TaskFigures) -> dict[str, Any]:
    """Return a Task for programs; what is not known is null."""
    used = row.used
    return {
        "namespace": row.namespace,
        "name": row.name,
        "uid": row.uid,
        "run": row.run,
        "host": row.host,
        "cpuCores": None if used.cpu_cores is None else round(used.cpu_cores, 3),
        "memoryBytes": used.memory_bytes,
        "pids": used.pids,
        "asked": {"cpuMillis": row.asked_millis, "memoryBytes": row.limit_bytes or None},
    }


def _host_row(row: HostFigures) -> list[str]:
    if row.error:
        return [row.name, *[_UNKNOWN] * (len(_HOST_HEADER) - 1)]
    return [
        row.name,
        f"{_cpu(row.used)}/{row.cpus}",
        f"{_memory(row.used)}/{format_bytes(row.memory_bytes)}",
        f"{row.load:.2f}",
        _pids(row.used),
        str(row.tasks),
    ]


def _gpu_row(row: GpuFigures) -> list[str]:
    used = _UNKNOWN if row.used_bytes is None else format_bytes(row.used_bytes)
    return [
        row.host,
        str(row.index),
        _UNKNOWN if row.percent is None else f"{row.percent}%",
        f"{used}/{format_bytes(row.memory_bytes)}",
        _UNKNOWN if row.celsius is None else f"{row.celsius}C",
        row.name,
    ]


def _task_row(row: TaskFigures) -> list[str]:
    limit = f"/{format_bytes(row.limit_bytes)}" if row.limit_bytes else ""
    return [
        row.namespace,
        row.name,
        row.host,
        f"{_cpu(row.used)}/{format_cpu(row.asked_millis)}",
        f"{_memory(row.used)}{limit}",
        _pids(row.used),
    ]


def _cpu(used: Used) -> str:
    return _UNKNOWN if used.cpu_cores is None else f"{used.cpu_cores:.2f}"


def _memory(used: Used) -> str:
    return _UNKNOWN if used.memory_bytes is None else format_bytes(used.memory_bytes)


def _pids(used: Used) -> str:
    return _UNKNOWN if used.pids is None else str(used.pids)
