"""What the facade serves in a second, next to a bare aiohttp server and the bare API server.

One facade with authentication on, all its Tasks ended, and hosts that only pretend; who asks is an
administrator with an API token. Each figure is the median of rounds that take turns with the bare
thing. Operator and daemons do not run while Tasks are submitted: what becomes of them is another
benchmark. Server and load share the machine, so read the ratios first.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench.finished import make_finished
from bench.load import Job, Load, put_load
from bench.report import Figure, Report, Table
from bench.sizes import Size
from bench.system import System
from bench.tasks import Object, make_namespace
from bench.usage import cpu_seconds, peak_rss_mib, rss_mib
from devcluster.components import FACADE_PROGRAM
from devcluster.console import say
from devcluster.image import BUSYBOX
from devcluster.login import ensure_login
from devcluster.rest import Rest
from devcluster.state import CHECKOUT
from devcluster.supervise import Program, wait_for
from weir_crds import names
from weir_crds.ids import task_id
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.connect import connect

_PLAIN = "bench-plain"
_PYTHON_PATH = ":".join(str(CHECKOUT / folder) for folder in ("hack", "crds"))
_NAMESPACE = "bench-facade"
_CORES = 64
_LIST = 1000
_IDS = 200  # so many different tasks are asked for
_CLIENTS = 16
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Round:
    """One measurement of one way."""

    load: Load
    cpu: float
    """Microseconds of the server's CPU for each request."""


async def run(system: System, size: Size) -> Report:
    """Fill the API server, start all, and put load on one thing after the other."""
    hosts = system.host_names(size.hosts)
    async with await connect(str(system.cluster.admin_kubeconfig)) as api:
        await make_namespace(api, _NAMESPACE)
        await make_finished(api, _NAMESPACE, [_rest_task(n) for n in range(size.finished)])
        say(f"made {size.finished} finished Tasks")
        system.start_operator()
        system.start_fake_daemons(hosts, _CORES)
        bench = _Bench(system, size, api, hosts)
        await bench.start()
        rounds = await bench.reads()
        memory = rss_mib(system.process(FACADE_PROGRAM).pid)
        system.stop([name for name in system.weir_programs if name != FACADE_PROGRAM])
        rounds |= await bench.writes()
    peak = peak_rss_mib(system.process(FACADE_PROGRAM).pid)
    for namespace in (_NAMESPACE, names.DEFAULT_NAMESPACE):
        _delete_tasks(system, namespace)
    return _report(size, rounds, memory, peak)


class _Bench:
    """A facade, a bare server, and the jobs for them."""

    def __init__(self, system: System, size: Size, api: Api, hosts: list[str]) -> None:
        self._system = system
        self._size = size
        self._api = api
        self._hosts = hosts
        self._folder = system.cluster.state.root / "bench-facade"
        self._folder.mkdir(exist_ok=True)
        self._url = ""
        self._plain_url = ""
        self._headers: dict[str, str] = {}

    async def start(self) -> None:
        """Start both servers."""
        self._url = self._system.start_facade()
        cluster = self._system.cluster
        login = ensure_login(cluster.state, cluster.admin, self._url)
        self._headers = {"Authorization": f"Bearer {login.token}"}
        rest = Rest(self._url, headers=self._headers)
        rows = rest.request("GET", f"/api/tasks?limit={_LIST}")
        (self._folder / "rows.json").write_bytes(rows)
        (self._folder / "row.json").write_text(json.dumps(json.loads(rows)[0]))
        port = self._system.cluster.ports.get(_PLAIN)
        argv = (sys.executable, "-m", "bench.plain", str(port), str(self._folder))
        runner = self._system.runner
        runner.ensure(Program(_PLAIN, argv, {"PYTHONPATH": _PYTHON_PATH}))
        self._plain_url = f"http://127.0.0.1:{port}"
        plain = Rest(self._plain_url)
        wait_for(runner, _PLAIN, lambda: plain.answers("/row"), _READY_SECONDS)

    async def reads(self) -> dict[str, list[Round]]:
        """Measure what is answered from memory."""
        tasks = (await self._api.list(TASK, _NAMESPACE)).items[:_IDS]
        status = [f"/api/status/{task_id(one['metadata']['uid'])}" for one in tasks]
        jobs = {
            "plain row": (_PLAIN, self._get(["/row"])),
            "status": (FACADE_PROGRAM, self._get(status)),
            "nodes": (FACADE_PROGRAM, self._get(["/api/nodes"])),
            "plain rows": (_PLAIN, self._get(["/rows"])),
            "tasks": (FACADE_PROGRAM, self._get([f"/api/tasks?limit={_LIST}"])),
        }
        rounds: dict[str, list[Round]] = {way: [] for way in jobs}
        for _ in range(self._size.load_rounds):
            for way, (program, job) in jobs.items():
                rounds[way].append(await self._measure(program, job))
                say(f"{way}: {rounds[way][-1].load.rate:.0f}/s")
        self._system.stop([_PLAIN])
        return rounds

    async def writes(self) -> dict[str, list[Round]]:
        """Measure what makes Tasks."""
        jobs = {
            "create": ("kube-apiserver", self._create()),
            "submit": (FACADE_PROGRAM, self._submit()),
        }
        rounds: dict[str, list[Round]] = {way: [] for way in jobs}
        for _ in range(self._size.load_rounds):
            for way, (program, job) in jobs.items():
                rounds[way].append(await self._measure(program, job))
                say(f"{way}: {rounds[way][-1].load.rate:.0f}/s")
        return rounds

    async def _measure(self, program: str, job: Job) -> Round:
        pid = self._system.process(program).pid
        before = cpu_seconds(pid)
        load = await put_load(job, self._folder)
        return Round(load, 1e6 * (cpu_seconds(pid) - before) / load.requests)

    def _get(self, paths: list[str]) -> Job:
        plain = paths[0].startswith("/row")
        return Job(
            self._plain_url if plain else self._url,
            [("GET", path, "") for path in paths],
            _CLIENTS,
            seconds=self._size.load_seconds,
            headers={} if plain else self._headers,
        )

    def _submit(self) -> Job:
        body = json.dumps(
            {
                "command": "python train.py",
                "arguments": ["--epochs", "3"],
                "env_vars": {"SEED": "7"},
                "targets": [self._hosts[0]],
                "registry_image": BUSYBOX,
            }
        )
        return Job(
            self._url,
            [("POST", "/api/submit", body)],
            _CLIENTS,
            count=self._size.submits,
            expected=202,
            headers=self._headers,
        )

    def _create(self) -> Job:
        cluster = self._system.cluster
        config = yaml.safe_load(cluster.kubeconfig_for("weir-api").read_text())
        token = Path(config["users"][0]["user"]["tokenFile"]).read_text()
        body = {"apiVersion": TASK.api_version, "kind": TASK.kind, **_rest_task(0)}
        body["metadata"] = {**body["metadata"], "generateName": "bare-"}
        del body["metadata"]["name"]
        return Job(
            cluster.server,
            [("POST", TASK.path(names.DEFAULT_NAMESPACE), json.dumps(body))],
            _CLIENTS,
            count=self._size.submits,
            expected=201,
            headers={"Authorization": f"Bearer {token}"},
            authority=cluster.plane.pki.ca.read_text(),
        )


def _delete_tasks(system: System, namespace: str) -> None:
    """Delete all Tasks, in parts: the API server gives up what takes it more than a minute."""
    admin, path = system.cluster.admin, TASK.path(namespace)
    while admin.json("GET", f"{path}?limit=1")["items"]:
        admin.request("DELETE", f"{path}?limit=500", timeout_seconds=60)


def _rest_task(number: int) -> Object:
    """Return a Task as a submission makes it."""
    return {
        "metadata": {
            "name": f"task-{number:016x}",
            "labels": {names.LABEL_OWNER: "4173239615688981"},
            "annotations": {
                names.ANNOTATION_ENVIRONMENT: "kohakuriver-base",
                names.ANNOTATION_REQUEST: f"{number:064x}",
                names.ANNOTATION_DECIDED_BY: "4173239615688981",
                names.ANNOTATION_DECIDED_AT: "2026-11-22T10:00:00.123456Z",
            },
        },
        "spec": {
            "image": BUSYBOX,
            "workingDir": "/shared",
            "command": ["python", "train.py"],
            "args": ["--epochs", str(number)],
            "env": [{"name": "SEED", "value": str(number)}],
            "resources": {"cpu": 1, "memory": 64 * 2**20},
        },
    }


def _report(size: Size, rounds: Mapping[str, list[Round]], memory: float, peak: float) -> Report:
    def rate(way: str) -> float:
        return median(one.load.rate for one in rounds[way])

    def ratio(way: str, bare: str) -> float:
        pairs = zip(rounds[way], rounds[bare], strict=True)
        return median(one.load.rate / other.load.rate for one, other in pairs)

    objects = f"{size.finished} Tasks"
    return Report(
        "facade",
        size.name,
        figures=[
            Figure("GET /status/{id}", rate("status"), "1/s", at_least=4000),
            Figure("a bare handler with such a body", rate("plain row"), "1/s"),
            Figure("GET /status/{id} to the bare handler", ratio("status", "plain row"), "x"),
            Figure(f"GET /nodes with {size.hosts} hosts", rate("nodes"), "1/s", at_least=3000),
            Figure(f"GET /tasks?limit={_LIST}", rate("tasks"), "1/s", at_least=100),
            Figure("a bare handler with as many bytes", rate("plain rows"), "1/s"),
            Figure(f"POST /submit, {_CLIENTS} clients", rate("submit"), "1/s", at_least=200),
            Figure(
                "POST /submit, 99th percentile",
                median(one.load.p99 for one in rounds["submit"]),
                "ms",
                at_most=300,
            ),
            Figure("bare creates at the API server", rate("create"), "1/s"),
            Figure(f"memory with {objects}, rows of {_LIST} made", memory, "MiB", at_most=250),
            Figure("memory at its peak", peak, "MiB"),
        ],
        tables=[_rounds(rounds)],
    )


def _rounds(rounds: Mapping[str, list[Round]]) -> Table:
    words = {
        "plain row": "bare handler",
        "status": "GET /status/{id}",
        "nodes": "GET /nodes",
        "plain rows": "bare handler, many bytes",
        "tasks": f"GET /tasks?limit={_LIST}",
        "create": "bare create",
        "submit": "POST /submit",
    }
    rows: list[tuple[Any, ...]] = [
        (words[way], one.load.rate, one.load.p50, one.load.p99, one.load.worst, one.cpu)
        for way, found in rounds.items()
        for one in found
    ]
    columns = ("REQUEST", "PER SECOND", "MEDIAN MS", "P99 MS", "WORST MS", "SERVER'S CPU US")
    return Table(f"{_CLIENTS} connections", columns, rows)
