"""A Host of a real API server with a real HTTPS port, whose containers only the test makes."""

import asyncio
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from devcluster import binaries
from support.cluster import Cluster
from support.daemon_server import ScriptedRuns
from support.tasks import task
from weir_crds.kinds import HOST, TASK
from weir_crds.names import container_name
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.store import Store
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server import DaemonServer, load_or_create
from weir_nodedaemon.server.routes.logs import log_path
from weir_nodedaemon.server.routes.stats import Stats

STARTED = {
    "type": "Started",
    "status": "True",
    "reason": "ContainerStarted",
    "message": "",
    "lastTransitionTime": "2026-11-22T10:00:00Z",
}


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    code: int
    out: bytes
    err: str


class ServedHost:
    """One Host; the test plays operator and daemon."""

    def __init__(self, admin: Api, namespace: str, folder: Path) -> None:
        self.admin = admin
        self.name = f"h-{uuid.uuid4().hex[:8]}"
        self.namespace = namespace
        self.logs = LogStore(folder / "logs", 10**6)
        self.runs = ScriptedRuns(self.logs)
        self.hosts = Store()
        self.tasks = Store()
        self.tasks.replace([], "1")
        self.gpus: list[dict[str, Any]] = []
        self.url = ""
        self.uid = ""

    def times_answered(self, code: int) -> int:
        """Return how often a log was asked for and the answer was this one."""
        labels = {"route": log_path(TASK), "code": str(code)}
        return int(REGISTRY.get_sample_value("weir_daemon_http_requests_total", labels) or 0)

    async def create_task(self, name: str, **spec: Any) -> dict[str, Any]:
        return await self.admin.create(TASK, task(name, self.namespace, **spec), self.namespace)

    async def set_task(self, name: str, **status: Any) -> dict[str, Any]:
        """Write a Task's status; the daemon knows of it."""
        changes = {"status": status}
        obj = await self.admin.patch(TASK, name, changes, self.namespace, "status")
        self.tasks.apply("MODIFIED", obj)
        return obj

    async def run_task(self, name: str, **spec: Any) -> str:
        """Create a Task that runs here; returns the name of its container."""
        obj = await self.create_task(name, **spec)
        container = container_name(obj["metadata"]["uid"], 1)
        await self.runs.add(container)
        await self.set_running(name)
        return container

    async def print_and_end(self, name: str, output: bytes) -> None:
        """Create a Task that runs here, prints, and ends as far as its container goes."""
        container = await self.run_task(name)
        await self.runs.print(container, output)
        await self.runs.end(container)

    async def set_running(self, name: str) -> None:
        await self.set_task(
            name,
            nodeName=self.name,
            runID=1,
            startedAt="2026-11-22T10:00:00.000000Z",
            conditions=[STARTED],
        )


@asynccontextmanager
async def served_host(cluster: Cluster, namespace: str, folder: Path) -> AsyncIterator[ServedHost]:
    """Create the Host and open its port, as the real daemon's account."""
    async with await connect(str(cluster.admin_kubeconfig)) as admin:
        host = ServedHost(admin, namespace, folder)
        kubeconfig = cluster.kubeconfig_for("weir-nodedaemon", host.name)
        async with await connect(str(kubeconfig)) as api:
            certificate = load_or_create(folder, ["127.0.0.1"])
            server = DaemonServer(
                api,
                host.hosts,
                {TASK: host.tasks},
                host.logs,
                Stats(host.runs, host.tasks.list, gpus=lambda: host.gpus),
                host_name=host.name,
                listen="127.0.0.1:0",
                certificate=certificate,
            )
            host.url = f"https://127.0.0.1:{await server.start()}"
            endpoint = {"url": host.url, "fingerprint": certificate.fingerprint}
            spec = {"approval": "Approved"}
            made = await admin.create(HOST, {"metadata": {"name": host.name}, "spec": spec})
            host.uid = made["metadata"]["uid"]
            host.hosts.replace([made], made["metadata"]["resourceVersion"])
            changes = {"status": {"endpoint": endpoint}}
            await admin.patch(HOST, host.name, changes, subresource="status")
            try:
                yield host
            finally:
                await server.close()
                await admin.delete(HOST, host.name)


def with_kubectl() -> dict[str, str]:
    """Return this process's environment with kubectl on the PATH."""
    kubectl = binaries.find_all()["kubectl"]
    return os.environ | {"PATH": f"{kubectl.parent}:{os.environ['PATH']}"}


def with_noted_kubectl(folder: Path, notes: Path) -> dict[str, str]:
    """Return this process's environment with a kubectl that first notes its arguments, a line each.

    Args:
        folder: where that kubectl is put.
        notes: the file.
    """
    real = with_kubectl()
    found = shutil.which("kubectl", path=real["PATH"])
    kubectl = folder / "kubectl"
    kubectl.parent.mkdir(exist_ok=True)
    kubectl.write_text(f'#!/bin/sh\necho "$@" >> "{notes}"\nexec "{found}" "$@"\n')
    kubectl.chmod(0o755)
    return real | {"PATH": f"{folder}:{real['PATH']}"}


async def start_weir(
    kubeconfig: Path, *arguments: str, env: dict[str, str] | None = None, **pipes: Any
) -> asyncio.subprocess.Process:
    """Start ``kubectl weir`` as a process of its own."""
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE} | pipes
    kubeconfig_flag = ("--kubeconfig", str(kubeconfig))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weir_cli", *kubeconfig_flag, *arguments),
        env=env or with_kubectl(),
        **pipes,
    )


async def weir(kubeconfig: Path, *arguments: str, env: dict[str, str] | None = None) -> Finished:
    """Run ``kubectl weir`` to its end."""
    process = await start_weir(kubeconfig, *arguments, env=env)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, out, err.decode())
