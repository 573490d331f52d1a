"""The daemon as a process with its own account on a real API server; its engine is made up."""

import dataclasses
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devcluster.components import node_daemon
from devcluster.hosts import Share
from devcluster.rest import MERGE_PATCH, Rest
from support.cluster import Cluster
from support.polling import eventually
from support.process import Process
from support.tasks import BUSYBOX, condition, task
from weir_crds.kinds import HOST, TASK
from weir_crds.times import parse_time


class Daemon:
    """One host's daemon, and the objects that are about it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.host = f"h-{uuid.uuid4().hex[:6]}"
        component = node_daemon(
            self.host,
            Share((0, 1), 1024),
            docker_host="unix:///nowhere",
            folder=folder / self.host,
            identities=cluster.identities,
            ports=cluster.ports,
            arguments=("--engine=fake",),
        )
        self.process = Process(component.program, folder / "log")
        self.http = Rest(f"http://{component.health}")

    def start(self) -> None:
        """Start it and wait until its Host is ready."""
        self.process.start()
        eventually(self.is_ready, self.log, timeout=60)

    def is_ready(self) -> bool:
        """Tell whether probe and Host say so."""
        found = self.cluster.admin.find(HOST.path(name=self.host)) or {}
        return condition(found, "Ready").get("status") == "True" and self.http.answers("/readyz")

    def log(self) -> str:
        """Return what it said."""
        return self.process.log.read_text()

    def found(self) -> dict[str, Any]:
        """Return its Host."""
        return self.cluster.admin.json("GET", HOST.path(name=self.host))

    def bind(self, namespace: str, name: str, **spec: Any) -> None:
        """Create a Task and bind it as the operator would."""
        admin = self.cluster.admin
        admin.json("POST", TASK.path(namespace), task(name, namespace, **spec))
        status = {"nodeName": self.host, "runID": 1, "cpus": [1]}
        path = TASK.path(namespace, name, "status")
        admin.request("PATCH", path, {"status": status}, content_type=MERGE_PATCH)

    def finished(self, namespace: str, name: str) -> dict[str, Any]:
        """Wait for the end of a Task and return it."""

        def ended() -> dict[str, Any] | None:
            found = self.cluster.admin.json("GET", TASK.path(namespace, name))
            return found if "finishedAt" in found["status"] else None

        return eventually(ended, self.log) or {}


@pytest.fixture
def daemon(cluster: Cluster, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet."""
    made = Daemon(cluster, tmp_path)
    yield made
    made.process.kill()
    if cluster.admin.find(HOST.path(name=made.host)) is not None:
        cluster.admin.request("DELETE", HOST.path(name=made.host))


def test_a_bound_task_runs_and_its_end_is_told_in_one_write(daemon: Daemon, namespace: str) -> None:
    daemon.start()
    daemon.bind(namespace, "t", command=["sh", "-c", "echo out; exit 3"], imagePullPolicy="Always")

    ended = daemon.finished(namespace, "t")

    status = ended["status"]
    assert status["exitCode"] == 3
    assert condition(ended, "Succeeded")["reason"] == "NonZeroExit"
    assert condition(ended, "Started")["status"] == "True"
    assert status["logs"] == {"stdoutBytes": 4, "stderrBytes": 0, "truncated": False}
    assert status["phase"] == "Failed"
    for field in ("startedAt", "finishedAt"):
        assert re.search(r"\.\d{6}Z$", status[field])
    assert parse_time(status["startedAt"]) <= parse_time(status["finishedAt"])
    metrics = daemon.http.request("GET", "/metrics").decode()
    assert 'weir_daemon_runs_ended_total{reason="NonZeroExit"} 1.0' in metrics
    assert psutil.Process(daemon.process.pid).memory_info().rss < 150 * 2**20


def test_term_ends_it_cleanly_and_the_next_one_writes_nothing(daemon: Daemon) -> None:
    daemon.start()
    before = daemon.found()["metadata"]["resourceVersion"]

    assert daemon.process.stop() == 0
    assert "containers keep running" in daemon.log()
    daemon.start()

    eventually(lambda: daemon.log().count("ready=True") == 2, daemon.log)
    assert daemon.found()["metadata"]["resourceVersion"] == before


def test_two_daemons_do_not_share_a_state_directory(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    twin = Process(daemon.process.program, tmp_path / "twin.log")

    twin.start()

    eventually(lambda: not twin.running())
    assert twin.stop() == 1
    assert "another node daemon uses" in twin.log.read_text()
    assert daemon.is_ready()


def test_two_machines_do_not_share_a_host(daemon: Daemon) -> None:
    """The Host says whose it is; the other one ends and says why."""
    theirs = {"metadata": {"name": daemon.host}, "spec": {"hostID": "0123-4567"}}
    body = {"apiVersion": HOST.api_version, "kind": "Host", **theirs}
    daemon.cluster.admin.json("POST", HOST.path(), body)

    daemon.process.start()

    eventually(lambda: not daemon.process.running(), daemon.log)
    assert "belongs to the machine with hostID 0123-4567" in daemon.log()
    told = daemon.found().get("status", {})  # an operator of another test may approve it
    assert "endpoint" not in told
    assert "capacity" not in told


def test_without_a_kubeconfig_it_says_so_and_ends(daemon: Daemon, tmp_path: Path) -> None:
    program = daemon.process.program
    argv = tuple(a for a in program.argv if not a.startswith("--kubeconfig"))
    lost = Process(
        dataclasses.replace(program, argv=(*argv, "--kubeconfig=/nowhere")), tmp_path / "lost.log"
    )
    lost.start()

    eventually(lambda: not lost.running())
    assert lost.stop() == 1
    assert "no kubeconfig at /nowhere" in lost.log.read_text()


def test_a_secret_is_read_where_the_role_is_bound(daemon: Daemon, namespace: str) -> None:
    admin = daemon.cluster.admin
    secret = {"metadata": {"name": "s"}, "stringData": {"k": "hidden"}}
    admin.json("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    daemon.start()
    daemon.bind(
        namespace,
        "reads",
        command=["sh", "-c", "echo $A"],
        env=[{"name": "A", "valueFrom": reference}],
        image=BUSYBOX,
    )

    def told() -> str:
        found = admin.json("GET", TASK.path(namespace, "reads"))
        return str(condition(found, "Started").get("message", ""))

    line = eventually(lambda: re.search(r"kubectl (create rolebinding .*)$", told()), daemon.log)
    assert line is not None
    daemon.cluster.kubectl(*line[1].split())

    ended = daemon.finished(namespace, "reads")
    assert ended["status"]["logs"]["stdoutBytes"] == len("hidden\n")
    assert "hidden" not in daemon.log()
