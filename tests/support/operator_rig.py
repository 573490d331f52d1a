"""The operator without kopf, on an API server in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from support.aio import until
from support.fake_api import FakeApi
from support.madeup import create_host, numa_capacity
from support.tasks import condition, task
from weir_crds.kinds import HOST, TASK, Kind
from weir_kube.errors import ApiError, ApiUnavailableError
from weir_kube.reflector import Reflector
from weir_kube.store import Key, Object, Store
from weir_operator.settings import Settings
from weir_operator.wiring import WORKLOADS, Operator, WorkloadKind

NAMESPACE = "default"


class OperatorApi(FakeApi):
    """The fake with deletion, and with answers that get lost.

    Attributes:
        lose_answer: called with kind and key after each write took effect; an exception it returns
            is raised instead of the answer.
        refuse: likewise, before anything took effect.
        is_silent: tells of which objects a deletion is never answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refuse: Callable[[Kind, Key], ApiError | None] = lambda _kind, _key: None
        self.lose_answer: Callable[[Kind, Key], ApiError | None] = lambda _kind, _key: None
        self.is_silent: Callable[[Key], bool] = lambda _key: False
        self.patches_under_way = 0
        self.most_patches_under_way = 0

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        deadline_seconds: float = 15.0,
    ) -> Object:
        """As ``Api.patch``."""
        key = Key(namespace or "", name)
        if exc := self.refuse(kind, key):
            await asyncio.sleep(0)
            raise exc
        self.patches_under_way += kind == TASK
        self.most_patches_under_way = max(self.most_patches_under_way, self.patches_under_way)
        try:
            reply = await super().patch(kind, name, patch, namespace, subresource)
        finally:
            self.patches_under_way -= kind == TASK
        if exc := self.lose_answer(kind, key):
            raise exc
        return reply

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        *,
        deadline_seconds: float = 15.0,
    ) -> bool:
        """As ``Api.delete``."""
        if self.is_silent(Key(namespace or "", name)):
            await asyncio.sleep(deadline_seconds)
            raise ApiUnavailableError("no answer in time")
        if exc := self.refuse(kind, Key(namespace or "", name)):
            await self._reach()
            raise exc
        return await super().delete(kind, name, namespace, uid, resource_version)


class ReflectorSource:
    """What ``KopfSource`` looks like, made of Reflectors."""

    def __init__(self, api: OperatorApi) -> None:
        self._api = api
        self._reflectors: list[Reflector] = []

    def follow(self, kind: Kind, **more: Any) -> Reflector:
        reflector = Reflector(self._api, kind, **more)  # type: ignore[arg-type]
        self._reflectors.append(reflector)
        return reflector

    async def run(self) -> None:
        await asyncio.gather(*(each.run() for each in self._reflectors))


class OperatorRig:
    """Drives one operator and reads what it made of the world."""

    def __init__(
        self, api: OperatorApi, settings: Settings, workloads: Sequence[WorkloadKind[Any]]
    ) -> None:
        self.api = api
        self.source = ReflectorSource(api)
        operator = Operator(api, settings, self.source, workloads)  # type: ignore[arg-type]
        self.controller = operator.controller
        self.scheduler = operator.scheduler

    def store(self, kind: Kind) -> Store:
        """Return the operator's cache of a kind."""
        return next(one.store for one in self.controller.kinds if one.resource.kind == kind)

    async def add_host(self, name: str = "n1", nodes: int = 1, cores: int = 4, **more: Any) -> None:
        """Make a Host up and wait until it may be given work."""
        await create_host(self.api, name, numa_capacity(nodes, cores, **more))  # type: ignore[arg-type]
        await until(lambda: self.host(name)["spec"]["approval"] == "Approved", "approved")
        await until(lambda: name in self.scheduler.ledger.hosts, "known")

    def add_task(self, name: str, **spec: Any) -> None:
        """Create a Task."""
        made = task(name, NAMESPACE, **spec)
        made["metadata"]["creationTimestamp"] = "2026-11-22T10:00:00Z"
        self.api.put(TASK, made)

    def change(self, name: str, **spec: Any) -> None:
        """Change a Task's spec."""
        self.api.change_spec(TASK, Key(NAMESPACE, name), **spec)

    def task(self, name: str) -> Object:
        """Return a Task as it is now."""
        found = self.api.peek(TASK, Key(NAMESPACE, name))
        assert found is not None
        return found

    def status(self, name: str) -> Object:
        """Return a Task's status as it is now."""
        status: Object = self.task(name).get("status") or {}
        return status

    def reason(self, name: str, kind: str = "Scheduled") -> str:
        """Return the reason of a Task's condition, or an empty string."""
        return str(condition(self.task(name), kind).get("reason", ""))

    def host(self, name: str) -> Object:
        """Return a Host as it is now."""
        found = self.api.peek(HOST, Key("", name))
        assert found is not None
        return found

    def end(self, name: str) -> None:
        """Write a Task's end as its daemon would."""
        self.api.change_status(
            TASK, Key(NAMESPACE, name), finishedAt="2026-11-22T10:00:00Z", exitCode=0
        )

    def writes_to(self, name: str) -> int:
        """Return how often a Task was written by the operator."""
        return sum(key == Key(NAMESPACE, name) for _, key, _ in self.api.writes)

    async def bound(self, *names: str) -> None:
        """Wait until these Tasks have hosts."""
        await until(lambda: all(self.status(name).get("nodeName") for name in names), "bound")

    async def settle(self) -> None:
        """Let everything that is to be done at once be done."""
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        for _ in range(50):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(
    api: OperatorApi,
    settings: Settings | None = None,
    workloads: Sequence[WorkloadKind[Any]] = WORKLOADS,
) -> AsyncIterator[OperatorRig]:
    """Run an operator on the API server until the block ends."""
    rig = OperatorRig(api, settings or Settings(), workloads)

    async def decide() -> None:
        await rig.controller.synced()
        await rig.controller.run()

    tasks = [asyncio.create_task(rig.source.run()), asyncio.create_task(decide())]
    await rig.controller.synced()
    await rig.settle()
    try:
        yield rig
    finally:
        for one in tasks:
            one.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
