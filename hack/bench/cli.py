"""What the kubectl plugin costs in a fleet: CPU time of each command, with its kubectls."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from bench.bare import bound, condition, started
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import System
from bench.tasks import Object, create_all, make_namespace, task
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api
from weir_kube.connect import connect

_NAMESPACE = "cli"
_AT_ONCE = 16
_CORES = 32
_COMMANDS = (
    ("hosts",),
    ("hosts", "fleet-0"),
    ("why", "task-0"),  # has a host
    ("why", "task-1"),  # waits
    ("why", "host/fleet-0"),
    ("top", "hosts"),  # nobody answers
)


@dataclass(frozen=True)
class Cost:
    """Of one run of a command, and of all that it started."""

    wall_seconds: float
    cpu_seconds: float


async def run(system: System, size: Size) -> Report:
    """Measure each command with a tenth of the objects, and with all of them."""
    async with await connect(str(system.cluster.admin_kubeconfig)) as admin:
        await make_namespace(admin, _NAMESPACE)
        rows = []
        made_hosts = made_tasks = 0
        for part in (10, 1):
            hosts, tasks = size.cli_hosts // part, size.cli_tasks // part
            await _make_hosts(admin, range(made_hosts, hosts))
            await _make_tasks(admin, range(made_tasks, tasks), hosts)
            made_hosts, made_tasks = hosts, tasks
            rows += [(hosts, tasks, " ".join(one), *_row(system, one)) for one in _COMMANDS]
    return Report(
        "cli",
        size.name,
        figures=[
            Figure(f"CPU of `{row[2]}`, {row[0]} hosts, {row[1]} Tasks", row[4], "s")
            for row in rows[len(_COMMANDS) :]
        ],
        tables=[
            Table(
                "each command once, with all that it starts",
                ("HOSTS", "TASKS", "COMMAND", "SECONDS", "CPU SECONDS"),
                rows,
            )
        ],
    )


def _row(system: System, command: Sequence[str]) -> tuple[float, float]:
    cost = _cost(system, command)
    return cost.wall_seconds, cost.cpu_seconds


def _cost(system: System, command: Sequence[str]) -> Cost:
    kubectl = system.cluster.plane.kubectl
    before = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "weir_cli", *command, "-n", _NAMESPACE],
        env=os.environ
        | {
            "PATH": f"{kubectl.parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(system.cluster.admin_kubeconfig),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: of top, since nobody answers
        raise RuntimeError(f"{command} ended with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    return Cost(time.monotonic() - before, cpu)


async def _make_hosts(admin: Api, numbers: range) -> None:
    async def make(number: int) -> None:
        name = f"fleet-{number}"
        spec = {"approval": "Approved"}
        await admin.create(HOST, {"metadata": {"name": name}, "spec": spec}, deadline_seconds=60)
        status: Object = {
            "capacity": {"cpus": _CORES, "memory": "256Gi"},
            "endpoint": {"url": "https://127.0.0.1:1", "fingerprint": "sha256:" + "00" * 32},
            "conditions": [
                condition(kind, "DaemonReady", "made up") for kind in ("Ready", "DockerReady")
            ],
        }
        await admin.patch(HOST, name, {"status": status}, subresource="status", deadline_seconds=60)

    await _side_by_side([make(number) for number in numbers])


async def _make_tasks(admin: Api, numbers: range, hosts: int) -> None:
    """Make Tasks, of which every second one has a host and runs there."""
    made = [task(f"task-{number}", ["sleep", "1"], cpu=1, memory="1Gi") for number in numbers]
    await create_all(admin, _NAMESPACE, made)

    async def start(number: int) -> None:
        at = number // 2
        name = f"task-{number}"
        status = bound(f"fleet-{at % hosts}", at // hosts % _CORES)
        status |= started({"metadata": {"uid": name}, "status": status})
        await admin.patch(TASK, name, {"status": status}, _NAMESPACE, "status", deadline_seconds=60)

    await _side_by_side([start(number) for number in numbers if number % 2 == 0])


async def _side_by_side(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    left = iter(works)

    async def work() -> None:
        for one in left:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
