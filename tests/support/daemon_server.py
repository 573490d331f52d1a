"""A daemon's HTTPS port in a made-up world.

Runs print when the test says so; the API server knows few tokens, for this host alone.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client import REGISTRY

from weir_crds.kinds import TASK, Kind
from weir_crds.names import container_name
from weir_kube.errors import NotFoundError
from weir_kube.store import Store
from weir_nodedaemon.engines.port import InstanceUsage, LogChunk, Stream
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.logs.run import RunWriter
from weir_nodedaemon.server import Certificate, DaemonServer
from weir_nodedaemon.server.admission import Limits
from weir_nodedaemon.server.routes.stats import Stats


class ScriptedRuns:
    """Runs of this host that print when the test says so, into the store that the daemon reads."""

    def __init__(self, logs: LogStore) -> None:
        self.logs = logs
        self.usage_calls = 0
        self.names: set[str] = set()

    async def add(self, name: str) -> RunWriter:
        """Let a run begin that is followed and has printed nothing yet."""
        self.names.add(name)
        return await self.logs.writer(*_run(name))

    async def print(self, name: str, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        await (await self.add(name)).append([LogChunk(stream, data)])

    async def end(self, name: str) -> None:
        """Let a run end, with all that it printed stored."""
        self.names.discard(name)
        await (await self.logs.writer(*_run(name))).finish()

    async def lose(self, name: str) -> None:
        """Remove what a run has printed, while it is read perhaps."""
        self.names.discard(name)
        await self.logs.remove(_run(name)[0])

    @property
    def readers(self) -> int:
        """How many streams daemons of this process serve now."""
        return int(REGISTRY.get_sample_value("weir_daemon_http_streams") or 0)

    async def usage(self, name: str) -> InstanceUsage | None:
        self.usage_calls += 1
        if name not in self.names:
            return None
        return InstanceUsage(cpu_seconds=1.5, memory_bytes=4096, pids=2)


def _run(name: str) -> tuple[str, int]:
    uid, run_id = name.removeprefix("weir-").rsplit("-", 1)
    return uid, int(run_id)


HOST = {"metadata": {"name": "n1", "uid": "6f0c0f5e-8f3c-4d56-9d5d-6a4f4f1c1a01"}, "spec": {}}
AUDIENCE = "weir-daemon/6f0c0f5e-8f3c-4d56-9d5d-6a4f4f1c1a01"


def known_hosts() -> Store:
    """Return what the daemon of ``n1`` knows of Hosts."""
    store = Store()
    store.replace([HOST | {"metadata": HOST["metadata"] | {"resourceVersion": "1"}}], "1")
    return store


class TokenReviews:
    """Knows ``reader`` and ``other``, who may read all, and ``stranger``, who may nothing."""

    def __init__(self) -> None:
        self.token_reviews = 0
        self.access_reviews: list[Mapping[str, str]] = []
        self.failure: Exception | None = None
        self.audiences: list[str] | None = [AUDIENCE]
        self.tasks: dict[str, dict[str, Any]] = {}

    async def token_review(self, token: str, audiences: Sequence[str] = ()) -> dict[str, Any]:
        self.token_reviews += 1
        if self.failure:
            raise self.failure
        if token not in ("reader", "other", "stranger") or list(audiences) != [AUDIENCE]:
            return {"authenticated": False, "error": "unknown"}
        status: dict[str, Any] = {
            "authenticated": True,
            "user": {"username": token, "groups": ["system:authenticated"]},
        }
        return status | ({"audiences": self.audiences} if self.audiences else {})

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        assert (kind, namespace) == (TASK, "default")
        if name not in self.tasks:
            raise NotFoundError("not found", status=404)
        return self.tasks[name]

    async def access_review(
        self,
        user: str,
        groups: Sequence[str],
        extra: Mapping[str, Sequence[str]],
        resource_attributes: Mapping[str, str],
    ) -> bool:
        assert list(groups) == ["system:authenticated"]
        self.access_reviews.append(dict(resource_attributes))
        return user in ("reader", "other")


UID = "0b9f1c9e-9a61-4c39-9d9c-0d7b4d9c2f11"
CONTAINER = container_name(UID, 1)
LOG = "/v1/namespaces/default/tasks/train/log"


LIMITS = Limits(streams_per_caller=20, stalled_seconds=2.0)


@dataclass
class World:
    """A daemon's HTTPS port with everything behind it made up, and a client that pins it."""

    logs: LogStore
    api: TokenReviews = field(default_factory=TokenReviews)
    hosts: Store = field(default_factory=known_hosts)
    tasks: Store = field(default_factory=Store)
    limits: Limits = LIMITS
    session: aiohttp.ClientSession = None  # type: ignore[assignment]
    trust: ssl.SSLContext = None  # type: ignore[assignment]
    url: str = ""
    version: int = 1  # of the list that the store begins with

    def __post_init__(self) -> None:
        self.runs = ScriptedRuns(self.logs)

    def server(self, certificate: Certificate) -> DaemonServer:
        """Return a server of this world, on a free port."""
        return DaemonServer(
            self.api,
            self.hosts,
            {TASK: self.tasks},
            self.logs,
            Stats(self.runs, self.tasks.list),
            host_name="n1",
            listen="127.0.0.1:0",
            certificate=certificate,
            limits=self.limits,
        )

    def get(
        self, path: str, token: str | None = "reader", **kwargs: Any
    ) -> "aiohttp.client._RequestContextManager":
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.session.get(path, headers=headers, **kwargs)

    def have_task(self, **status: Any) -> None:
        """Let the daemon know a Task that is running, unless ``status`` says otherwise."""
        self.version += 1
        known = {
            "nodeName": "n1",
            "runID": 1,
            "startedAt": "2026-11-22T10:00:00.000000Z",
            "conditions": [
                {"type": "Started", "status": "True", "reason": "ContainerStarted", "message": ""}
            ],
        }
        metadata = {
            "namespace": "default",
            "name": "train",
            "uid": UID,
            "resourceVersion": str(self.version),
        }
        self.tasks.apply("MODIFIED", {"metadata": metadata, "spec": {}, "status": known | status})
