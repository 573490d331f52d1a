"""The facade's tasks before a real API server, in this process; the test plays operator and daemon.

Callers say who they are in a header, see ``support.facade``.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.facade import as_, authenticate
from support.hosts import made_host
from support.rest_tasks import condition, running
from support.serve import going_on, served
from weir_api.hostapi.access import HostAccess
from weir_api.hostapi.app import host_api
from weir_api.hostapi.environments import Environments
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.request import TaskDefaults
from weir_api.hostapi.tasks.routes import task_routes
from weir_api.hostapi.tasks.view import TaskWorkload
from weir_api.hostapi.usernames import Usernames
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_api.web.app import make_app
from weir_api.web.server import HttpServer
from weir_crds.kinds import HOST, TASK
from weir_crds.names import SERVICE_ACCOUNT_API
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.daemon_tokens import DaemonTokens
from weir_kube.daemons import Daemons
from weir_kube.events import EventRecorder
from weir_kube.store import Object

IMAGE = "busybox:test"


@dataclass
class Answer:
    """What the facade answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class Facade:
    """One replica of the facade's tasks, and the world around it.

    Attributes:
        admin: the API server, as administrator.
        namespace: where the facade makes Tasks.
        hosts: names of the Hosts that the test has made.
    """

    admin: Api
    namespace: str
    caches: Caches
    index: WorkloadIndex
    http: aiohttp.ClientSession
    hosts: list[str] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        caller: str = "system",
        **headers: str,
    ) -> Answer:
        """Send a request."""
        async with self.http.request(
            method, f"/api{path}", json=body, headers=as_(caller) | headers
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if is_json else text, answer.headers)

    async def submit(self, caller: str = "system", **body: Any) -> str:
        """Submit a command that is taken; returns its id."""
        answer = await self.ask("POST", "/submit", {"command": "sleep 5", **body}, caller)
        assert answer.status == 202, answer
        (number,) = answer.body["task_ids"]
        return str(number)

    async def row(self, number: str) -> dict[str, Any]:
        """Return a task object."""
        answer = await self.ask("GET", f"/status/{number}")
        assert answer.status == 200, answer
        row: dict[str, Any] = answer.body
        return row

    async def host(self, **facts: Any) -> str:
        """Make a Host; returns its name."""
        made = made_host(f"h-{uuid.uuid4().hex[:8]}", **facts)
        name: str = made["metadata"]["name"]
        await self.admin.create(HOST, {"metadata": {"name": name}, "spec": made["spec"]})
        self.hosts.append(name)
        await self.admin.patch(HOST, name, {"status": made["status"]}, subresource="status")
        await self.see(lambda: (known := self.caches_host(name)) and known.get("status"))
        return name

    def caches_host(self, name: str) -> Object | None:
        """Return a Host as the facade knows it."""
        return next((one for one in self.caches[HOST].list() if _name(one) == name), None)

    def task(self, number: str) -> Object:
        """Return the Task of an id, as the facade knows it."""
        entry = self.index.get(int(number))
        assert entry is not None
        return entry.obj

    async def tasks(self) -> list[Object]:
        """Return all Tasks of the namespace, as the API server has them."""
        return (await self.admin.list(TASK, self.namespace)).items

    async def set_status(self, number: str, **status: Any) -> None:
        """Play operator and daemon: write fields of a Task's status; the facade has seen it."""
        name = _name(self.task(number))
        obj = await self.admin.patch(TASK, name, {"status": status}, self.namespace, "status")
        version = int(obj["metadata"]["resourceVersion"])
        await self.see(
            lambda: int(self.task(number)["metadata"]["resourceVersion"]) >= version,
        )

    async def run(self, number: str, host: str) -> None:
        """Have a Task run on a host."""
        await self.set_status(number, **running(host))

    async def finish(self, number: str, reason: str = "Completed", **fields: Any) -> None:
        """Have a Task end."""
        status = "True" if reason == "Completed" else "False"
        known = self.task(number).get("status") or {}
        ends = condition("Succeeded", status, reason, "so it ended")
        found = [one for one in known.get("conditions") or () if one["type"] != "Succeeded"]
        at = "2026-11-22T11:00:00.000000Z"
        await self.set_status(number, finishedAt=at, conditions=[*found, ends], **fields)

    async def see(self, look: Callable[[], Any]) -> None:
        """Wait until the facade's caches show something."""
        async with asyncio.timeout(60):
            while not look():  # noqa: ASYNC110 (what is looked at knows no events)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def facade(
    kubeconfig: Path, admin: Api, namespace: str, **defaults: Any
) -> AsyncIterator[Facade]:
    """Serve the tasks on loopback.

    Args:
        kubeconfig: of the account weir-api.
        admin: the API server, as administrator.
        namespace: where Tasks are made.
        defaults: further fields of TaskDefaults.
    """
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await connect(str(kubeconfig)))
        caches = Caches(api)
        known = KnownHosts(caches)
        index = WorkloadIndex(caches, known, Usernames(caches), [TaskWorkload()])
        daemons = Daemons(DaemonTokens(api, SERVICE_ACCOUNT_API), user_agent="test")
        stack.push_async_callback(daemons.close)
        chosen = TaskDefaults(
            namespace=namespace,
            environments=Environments({"base": IMAGE}, "base"),
            **defaults,
        )
        events = EventRecorder(api, controller="weir.dev/api", instance="test")
        routes = task_routes(index, known, Writer(api, caches, events), daemons, chosen)
        app = make_app(
            host_api(HostAccess(authenticate), routes),
            stale_seconds=lambda: caches.stale_seconds,
            ready=lambda: True,
        )
        await stack.enter_async_context(going_on(caches.run(), events.run()))
        async with asyncio.timeout(60):
            await caches.synced()
        http = await stack.enter_async_context(served(HttpServer(app)))
        made = Facade(admin, namespace, caches, index, http)
        yield made
        for name in made.hosts:
            await admin.delete(HOST, name)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
