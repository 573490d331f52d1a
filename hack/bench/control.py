"""What the control path costs: many Tasks over many hosts that only pretend to run them.

Against the bare calls in the same run: the same writes and watches by as many processes, with no
logic in them.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

from bench.bare import READY
from bench.polling import until
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import CONTROL_PLANE, OPERATOR, System
from bench.tasks import Followed, Object, create_all, followed, make_namespace, task
from bench.usage import CPU_SECONDS_RESOLUTION, peak_rss_mib
from devcluster.cluster import READ_VERBS
from devcluster.console import say
from devcluster.identities import NODE_DAEMON
from devcluster.identities import OPERATOR as OPERATOR_ACCOUNT
from devcluster.state import CHECKOUT
from devcluster.supervise import Program, wait_for
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.connect import connect

_PYTHON_PATH = ":".join(str(CHECKOUT / folder) for folder in ("hack", "crds"))
_CORES_PER_HOST = 256
_RUN_SECONDS = 1.0  # longer than a start is held back: it is told
_SHORT_SECONDS = 0.1  # shorter: start and end are told at once
_DEADLINE_SECONDS = 900.0
_IDLE_CPU = 0.2  # of a core: what so many idle processes need
# Life signs, and each Host's account, which is written at most every 10 s.
_BY_TIME = ("leases", "hosts/status")
_WAYS = {
    "bare": ("bare calls", _RUN_SECONDS),
    "weir": ("Tasks", _RUN_SECONDS),
    "short": ("Tasks that end at once", _SHORT_SECONDS),
}

Requests = Counter[tuple[str, str, str]]


@dataclass(frozen=True)
class Round:
    """What one round of Tasks cost."""

    way: str
    tasks: int
    created: float  # seconds until the last was created
    bound: float  # until the last was bound
    finished: float  # until the last end was told
    requests: Requests
    cpu: Mapping[str, float]  # seconds by program

    @property
    def rate(self) -> float:
        """Tasks finished in a second."""
        return self.tasks / self.finished

    @property
    def cpu_per_task(self) -> float:
        """CPU milliseconds for one Task, of all but this benchmark."""
        used = (seconds for name, seconds in self.cpu.items() if name != "bench")
        return 1000 * sum(used) / self.tasks

    @property
    def writes_per_task(self) -> float:
        """Writes to the API server for one Task, without those that time alone makes."""
        counted = (
            count
            for (_, resource, verb), count in self.requests.items()
            if resource not in _BY_TIME and verb not in READ_VERBS
        )
        return sum(counted) / self.tasks


async def run(system: System, size: Size) -> Report:
    """Run rounds of bare calls and of Tasks, either first by turns, and one of short Tasks."""
    hosts = system.host_names(size.hosts)
    rounds: list[Round] = []
    memory: dict[str, float] = {}
    async with await connect(str(system.cluster.admin_kubeconfig)) as api:
        fleet = _Fleet(system, api, hosts, size)
        for number in range(size.control_rounds + 1):
            # The first is not counted: an API server that has seen nothing yet is faster.
            for way in _order(number):
                if way == "bare":
                    programs = _start_bare(system, hosts)
                else:
                    system.start_operator()
                    system.start_fake_daemons(hosts, _CORES_PER_HOST)
                    programs = system.weir_programs
                found = await fleet.run_round(way, f"{way}-{number}")
                if number:
                    rounds.append(found)
                    say(f"round {number}, {_WAYS[way][0]}: {found.rate:.1f}/s")
                if way != "bare":
                    memory = _peaks(system, hosts)
                system.stop(programs)
                path = TASK.path(f"{way}-{number}")
                system.cluster.admin.request("DELETE", path, timeout_seconds=300)
                system.forget_runs(hosts)
    return _report(size, rounds, memory)


def _order(number: int) -> tuple[str, ...]:
    """Return what is run in a round: the two that are compared by turns first."""
    if number == 0:
        return ("bare",)
    first = ("bare", "weir") if number % 2 else ("weir", "bare")
    return (*first, "short") if number == 1 else first  # that one is compared with nothing


def _start_bare(system: System, hosts: list[str]) -> list[str]:
    """Start a process that binds and one for each host; return their names."""
    kubeconfig = system.cluster.kubeconfig_for
    parts = [("bind", hosts, kubeconfig(OPERATOR_ACCOUNT))]
    parts += [("execute", [host], kubeconfig(NODE_DAEMON, host)) for host in hosts]
    programs = []
    for part, names, config in parts:
        argv = (
            *(sys.executable, "-m", "bench.bare", part),
            *(f"--kubeconfig={config}", f"--hosts={','.join(names)}", f"--seconds={_RUN_SECONDS}"),
        )
        name = f"bare-{part}-{names[0]}"
        programs.append(name)
        system.cluster.state.log_of(name).unlink(missing_ok=True)
        system.runner.ensure(Program(name, argv, {"PYTHONPATH": _PYTHON_PATH}))
    for name in programs:
        log = system.cluster.state.log_of(name)
        wait_for(system.runner, name, partial(_watches, log), 60)
    return programs


def _watches(log: Path) -> bool:
    return READY in log.read_text()


@dataclass(frozen=True)
class _Fleet:
    """Hosts, and how Tasks get there."""

    system: System
    api: Api
    hosts: list[str]
    size: Size

    async def run_round(self, way: str, namespace: str) -> Round:
        """Create all Tasks at once in a new namespace, and wait for the last end."""
        await make_namespace(self.api, namespace)
        seconds = _WAYS[way][1]
        warm_up = self._tasks("warm-up", 2 * len(self.hosts), seconds)
        tasks = self._tasks("t", self.size.tasks, seconds)
        async with followed(self.api, namespace) as seen:
            await create_all(self.api, namespace, warm_up)
            await seen.wait_finished(_names(warm_up), 60)
            seen.bound.clear()
            await self._settle()
            requests, cpu = self.system.cluster.requests(), self.system.cpu_seconds()
            began = time.time()
            await create_all(self.api, namespace, tasks)
            created = time.time()
            await seen.wait_finished(_names(tasks), _DEADLINE_SECONDS)
            finished = time.time()
            _check(seen, _names(tasks))
            await self._settle()  # what is still told about the last ones counts, too
            used = self.system.cpu_seconds()
            return Round(
                way=way,
                tasks=len(tasks),
                created=created - began,
                bound=max(seen.bound.values()) - began,
                finished=finished - began,
                requests=self.system.cluster.requests() - requests,
                cpu={name: used[name] - cpu[name] for name in used},
            )

    def _tasks(self, prefix: str, count: int, seconds: float) -> list[Object]:
        """Return Tasks that sleep, spread over the hosts: else the first would get all it can."""
        command, turns = ["sleep", str(seconds)], cycle(self.hosts)
        return [task(f"{prefix}-{n}", command, host=next(turns), cpu=1) for n in range(count)]

    async def _settle(self) -> None:
        """Wait until nothing is left to do."""
        seconds = self.size.settle_seconds

        async def idle() -> bool:
            before = self.system.cpu_seconds()
            await asyncio.sleep(seconds)
            after = self.system.cpu_seconds()
            ours = (after[name] - before[name] for name in after if name not in CONTROL_PLANE)
            return sum(ours) < _IDLE_CPU * seconds

        await until(idle, 0.0)


def _names(tasks: list[Object]) -> list[str]:
    return [one["metadata"]["name"] for one in tasks]


def _check(seen: Followed, names: list[str]) -> None:
    for name in names:
        status = seen.last[name]["status"]
        if status.get("exitCode") != 0:
            raise RuntimeError(f"{name} did not succeed: {status}")


def _peaks(system: System, hosts: list[str]) -> dict[str, float]:
    return {
        "operator": peak_rss_mib(system.process(OPERATOR).pid),
        "daemon": max(peak_rss_mib(system.pid_of_daemon(host)) for host in hosts),
    }


def _report(size: Size, rounds: list[Round], memory: Mapping[str, float]) -> Report:
    by_way = {way: [one for one in rounds if one.way == way] for way in _WAYS}
    pairs = list(zip(by_way["weir"], by_way["bare"], strict=True))
    return Report(
        "control",
        size.name,
        figures=[
            Figure(
                "Tasks finished per second, to bare calls",
                median(weir.rate / bare.rate for weir, bare in pairs),
                "x",
                at_least=0.85,
            ),
            *(_cpu_ratio(group, pairs) for group in ("operator", "daemons", "API server")),
            Figure("Tasks finished", median(one.rate for one in by_way["weir"]), "1/s"),
            Figure("the same by bare calls", median(one.rate for one in by_way["bare"]), "1/s"),
            Figure("Tasks that end at once", median(one.rate for one in by_way["short"]), "1/s"),
            Figure(
                "writes per Task, with its later deletion",
                1 + max(one.writes_per_task for one in by_way["weir"]),
                at_most=5,
            ),
            Figure(
                "writes per Task that ends at once, likewise",
                1 + max(one.writes_per_task for one in by_way["short"]),
                at_most=5,
            ),
            Figure("operator's memory", memory["operator"], "MiB", at_most=150),
            Figure("a daemon's memory", memory["daemon"], "MiB", at_most=150),
        ],
        tables=[
            _seconds(rounds),
            _cpu_per_task(by_way),
            *(_requests(way, found) for way, found in by_way.items()),
        ],
    )


def _seconds(rounds: list[Round]) -> Table:
    return Table(
        f"seconds until the last of {rounds[0].tasks} Tasks was",
        ("WAY", "CREATED", "BOUND", "FINISHED", "TASKS/S", "CPU MS/TASK"),
        [
            (
                _WAYS[one.way][0],
                one.created,
                one.bound,
                one.finished,
                one.rate,
                one.cpu_per_task,
            )
            for one in rounds
        ],
    )


_GROUPS: Mapping[str, Callable[[str], bool]] = {
    "operator": lambda name: name == OPERATOR or name.startswith("bare-bind"),
    "daemons": lambda name: "nodedaemon" in name or "execute" in name,
    "API server": "kube-apiserver".__eq__,
    "etcd": "etcd".__eq__,
    "this benchmark": "bench".__eq__,
}
"""Which programs are counted together; with bare calls, what does the same without logic."""


def _milliseconds(group: str, one: Round) -> float:
    """Return the CPU time for one Task of the programs of a group, as far as it is told apart."""
    used = sum(used for name, used in one.cpu.items() if _GROUPS[group](name))
    return 1000 * max(used, CPU_SECONDS_RESOLUTION) / one.tasks


def _cpu_ratio(group: str, pairs: list[tuple[Round, Round]]) -> Figure:
    ratios = [_milliseconds(group, weir) / _milliseconds(group, bare) for weir, bare in pairs]
    return Figure(f"CPU time for a Task, {group}, to bare calls", median(ratios), "x")


def _cpu_per_task(by_way: Mapping[str, list[Round]]) -> Table:
    return Table(
        "CPU milliseconds per Task",
        ("PROGRAMS", *(words.upper() for words, _ in _WAYS.values())),
        [
            (group, *(median(_milliseconds(group, one) for one in by_way[way]) for way in _WAYS))
            for group in _GROUPS
        ],
    )


def _requests(way: str, rounds: list[Round]) -> Table:
    total = sum((one.requests for one in rounds), Counter())
    tasks = sum(one.tasks for one in rounds)
    rows = [
        (f"{verb} {resource}", total[group, resource, verb], total[group, resource, verb] / tasks)
        for group, resource, verb in sorted(total, key=lambda key: -total[key])
        if verb != "WATCH"
    ]
    return Table(f"requests: {_WAYS[way][0]}", ("REQUEST", "COUNT", "PER TASK"), rows)
