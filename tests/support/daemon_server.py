"""A daemon's HTTPS port in a made-up world.

The containers print when the test says so; the API server knows two tokens, for this host alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from weir_crds.kinds import TASK, Kind
from weir_crds.names import container_name
from weir_kube.errors import NotFoundError
from weir_kube.store import Store
from weir_nodedaemon.engines.port import (
    InstanceGoneError,
    InstanceState,
    InstanceUsage,
    LogChunk,
    ObservedInstance,
    Stream,
)
from weir_nodedaemon.logs import LogStore


@dataclass
class Container:
    state: InstanceState = InstanceState.RUNNING
    output: list[LogChunk] = field(default_factory=list)
    removed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def touch(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class ScriptedEngine:
    """Follows the port's contract; ``cut_on_removal`` ends output as if whole, as Docker may."""

    def __init__(self, *, cut_on_removal: bool = True) -> None:
        self.containers: dict[str, Container] = {}
        self.readers = 0
        self.chunks_read = 0
        self.usage_calls = 0
        self._cut_on_removal = cut_on_removal

    def add(self, name: str, state: InstanceState = InstanceState.RUNNING) -> Container:
        self.containers[name] = Container(state)
        return self.containers[name]

    def print(self, name: str, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        self.containers[name].output.append(LogChunk(stream, data))
        self.containers[name].touch()

    def end(self, name: str) -> None:
        self.containers[name].state = InstanceState.EXITED
        self.containers[name].touch()

    def remove(self, name: str) -> None:
        container = self.containers.pop(name)
        container.removed = True
        container.touch()

    async def inspect(self, name: str) -> ObservedInstance | None:
        container = self.containers.get(name)
        return ObservedInstance(name, {}, container.state) if container else None

    async def logs(self, name: str, *, follow: bool = False) -> AsyncIterator[LogChunk]:
        if name not in self.containers:
            raise InstanceGoneError(name)
        container = self.containers[name]
        self.readers += 1
        at = 0
        try:
            while True:
                if container.removed:
                    if self._cut_on_removal:
                        return
                    raise InstanceGoneError(name)
                if at < len(container.output):
                    self.chunks_read += 1
                    yield container.output[at]
                    at += 1
                elif not follow or container.state is InstanceState.EXITED:
                    return
                else:
                    await container.changed.wait()
        finally:
            self.readers -= 1

    async def usage(self, name: str) -> InstanceUsage | None:
        self.usage_calls += 1
        if name not in self.containers:
            return None
        return InstanceUsage(cpu_seconds=1.5, memory_bytes=4096, pids=2)


HOST = {"metadata": {"name": "n1", "uid": "6f0c0f5e-8f3c-4d56-9d5d-6a4f4f1c1a01"}, "spec": {}}
AUDIENCE = "weir-daemon/6f0c0f5e-8f3c-4d56-9d5d-6a4f4f1c1a01"


def known_hosts() -> Store:
    """Return what the daemon of ``n1`` knows of Hosts."""
    store = Store()
    store.replace([HOST | {"metadata": HOST["metadata"] | {"resourceVersion": "1"}}], "1")
    return store


class TokenReviews:
    """Knows the tokens ``reader`` (may read everything) and ``stranger`` (may read nothing)."""

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
        if token not in ("reader", "stranger") or list(audiences) != [AUDIENCE]:
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
        return user == "reader"


UID = "0b9f1c9e-9a61-4c39-9d9c-0d7b4d9c2f11"
CONTAINER = container_name(UID, 1)
LOG = "/v1/namespaces/default/tasks/train/log"


@dataclass
class World:
    """A daemon's HTTPS port with everything behind it made up, and a client that pins it."""

    logs: LogStore
    api: TokenReviews = field(default_factory=TokenReviews)
    hosts: Store = field(default_factory=known_hosts)
    tasks: Store = field(default_factory=Store)
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    session: aiohttp.ClientSession = None  # type: ignore[assignment]
    url: str = ""
    version: int = 1  # of the list that the store begins with

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
