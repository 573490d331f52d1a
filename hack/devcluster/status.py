"""What runs, since when, and what it last complained about."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster import dockerd
from devcluster.components import OPERATOR_PROGRAM
from devcluster.state import State, read_json
from devcluster.supervise import Supervisor

_LOOK_BACK_BYTES = 512 * 1024
_ERROR = re.compile(
    r"^[EF]\d{4} "  # Kubernetes
    r'|"level":"(?:error|fatal|panic|dpanic|critical)"'  # etcd, and ours as JSON
    r"|\blevel=(?:error|fatal|panic)\b"  # Docker
    r"|\b(?:ERROR|CRITICAL)\b"  # ours as text
    r"|^\w*(?:Error|Exception)\b.*:"  # the end of a traceback
    r"|^panic:"
)
# kube-apiserver says so at each start without an endpoint reconciler, and there is nothing to do.
_HARMLESS = ("Found stale data, removed previous endpoints",)
_WIDTH = 110


@dataclass(frozen=True)
class Row:
    """One program."""

    name: str
    state: str
    pid: int | None
    since: str
    restarts: int
    last_error: str
    metrics: str = ""
    """Where it serves health and metrics, if it is one of ours."""


def last_error(lines: Iterable[str]) -> str:
    """Return the last line that tells of an error; empty when none does."""
    found = ""
    for line in lines:
        if _ERROR.search(line) and not any(words in line for words in _HARMLESS):
            found = line
    return found.strip()


def duration(seconds: float) -> str:
    """Return a time span as kubectl writes it: its two largest units at most."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes}m"
    if minutes:
        return f"{minutes}m{whole % 60}s"
    return f"{whole}s"


def starts(supervisor_log: Iterable[str]) -> Counter[str]:
    """Count how often each program was started, from supervisord's own log."""
    return Counter(
        found[1] for line in supervisor_log if (found := re.search(r"spawned: '([^']+)'", line))
    )


def text(state: State) -> str:
    """Return the whole report for a person."""
    supervisor = Supervisor(state)
    pid = supervisor.pid()
    if pid is None:
        if not state.root.exists():
            return "Nothing runs here. `make demo` starts it."
        if state.is_foreign:
            return f"{state.root} holds other things, and no instance of Weir."
        return (
            f"Not running, though {state.root} exists: it was interrupted.\n"
            "`make demo` resumes, `make down` removes."
        )
    times = starts(_end_of(supervisor.log))
    ports = read_json(state.root / "ports.json")
    rows = [_row(info, times, state, ports) for info in supervisor.infos()]
    return "\n".join([*_header(state, pid, ports), "", *_table(rows)])


def _row(info: dict[str, Any], times: Counter[str], state: State, ports: Mapping[str, int]) -> Row:
    running = info["statename"] == "RUNNING"
    since = info["start"] if running else info["stop"] or info["start"]
    return Row(
        name=info["name"],
        state=info["statename"].lower(),
        pid=info["pid"] or None,
        since=duration(time.time() - since) if since else "-",
        restarts=max(0, times[info["name"]] - 1),
        last_error=last_error(_end_of(state.log_of(info["name"]))) or info["spawnerr"],
        metrics=metrics_address(info["name"], ports),
    )


def metrics_address(program: str, ports: Mapping[str, int]) -> str:
    """Return where a program of ours serves health and metrics; empty: it is none of ours."""
    name = OPERATOR_PROGRAM if program == OPERATOR_PROGRAM else f"{program}-metrics"
    return f"127.0.0.1:{ports[name]}" if name in ports else ""


def _header(state: State, pid: int, ports: Mapping[str, int]) -> list[str]:
    docker = dockerd.chosen(state)
    lines = [
        f"state       {state.root}  (supervisord, pid {pid})",
        f"API server  https://127.0.0.1:{ports.get('kube-apiserver', '?')}",
        f"host API    http://127.0.0.1:{ports.get('weir-api', '?')}",
    ]
    if docker is not None:
        lines.append(f"Docker      {docker.host}  ({'ours' if docker.ours else 'not ours'})")
    return [*lines, f"use it      . {state.env}", f"logs        {state.log}"]


def _table(rows: list[Row]) -> list[str]:
    cells = [("NAME", "STATE", "PID", "SINCE", "RESTARTS", "METRICS")] + [
        (row.name, row.state, str(row.pid or "-"), row.since, str(row.restarts), row.metrics or "-")
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for index, cell in enumerate(cells):
        padded = (text.ljust(width) for text, width in zip(cell, widths, strict=True))
        lines.append("   ".join(padded).rstrip())
        if index and rows[index - 1].last_error:
            lines.append(f"  last error: {rows[index - 1].last_error[:_WIDTH]}")
    return lines


def _end_of(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOOK_BACK_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
