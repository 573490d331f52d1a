"""Tasks for benchmarks: made, followed to their end, removed."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from devcluster.image import BUSYBOX
from weir_crds.kinds import TASK, Kind
from weir_kube.api import Api
from weir_kube.kinds import NAMESPACE

Object = dict[str, Any]
_AT_ONCE = 16  # creations under way


def task(name: str, command: Sequence[str], *, host: str = "", **resources: Any) -> Object:
    """Return a Task; with ``host``, one that may run only there."""
    spec: Object = {"image": BUSYBOX, "command": list(command), "resources": resources}
    if host:
        spec["placement"] = {"hostName": host}
    return {"metadata": {"name": name}, "spec": spec}


class Followed:
    """When each Task of a namespace was first seen bound, started and finished.

    Times are those at which the watch told it, by ``time.time()``.
    """

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.bound: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.finished: dict[str, float] = {}
        self.last: dict[str, Object] = {}
        self._news = asyncio.Event()

    def see(self, obj: Object) -> None:
        """Take an object as the watch told it."""
        now = time.time()
        name, status = obj["metadata"]["name"], obj.get("status") or {}
        self.last[name] = obj
        for field, times in (
            ("nodeName", self.bound),
            ("startedAt", self.started),
            ("finishedAt", self.finished),
        ):
            if field in status:
                times.setdefault(name, now)
        self._news.set()

    async def wait_finished(self, names: Sequence[str], deadline_seconds: float) -> None:
        """Wait until the watch has told the end of each.

        Raises:
            TimeoutError: some have not ended.
        """
        async with asyncio.timeout(deadline_seconds):
            left = set(names)
            while left := {name for name in left if name not in self.finished}:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def followed(api: Api, namespace: str) -> AsyncIterator[Followed]:
    """Follow the Tasks of a namespace by watch."""
    followed = Followed()
    listed = await api.list(TASK, namespace)
    opened = asyncio.Event()

    async def follow() -> None:
        version = listed.resource_version
        while True:
            events = api.watch(TASK, version, namespace, on_open=opened.set)
            async with aclosing(events):
                async for kind, obj in events:
                    version = obj["metadata"]["resourceVersion"]
                    if kind in ("ADDED", "MODIFIED"):
                        followed.see(obj)

    following = asyncio.create_task(follow())
    try:
        await opened.wait()
        yield followed
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def create_all(api: Api, namespace: str, tasks: Sequence[Object], kind: Kind = TASK) -> None:
    """Create Tasks, or what is like them, as fast as the API server takes them."""
    left = iter(tasks)

    async def work() -> None:
        for one in left:
            await api.create(kind, one, namespace, deadline_seconds=60)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())


async def make_namespace(api: Api, name: str) -> None:
    """Create a namespace."""
    await api.create(NAMESPACE, {"metadata": {"name": name}})
