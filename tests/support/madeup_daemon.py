"""What the daemons of made-up hosts would write, and a witness of what was given to whom."""

import asyncio
from collections import defaultdict
from contextlib import suppress

from support.madeup import finish, renew_lease
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.errors import ApiError, ConflictError, GoneError, NotFoundError
from weir_kube.reflector import Reflector
from weir_kube.store import Key, Object


class Daemons:
    """Ends each Task of one namespace a moment after it was bound."""

    def __init__(self, api: Api, namespace: str, *, run_seconds: float = 0.0) -> None:
        self._api = api
        self._run_seconds = run_seconds
        self._reflector = Reflector(api, TASK, namespace=namespace, on_change=self._changed)
        self._started: set[tuple[str, int]] = set()
        self._runs: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._reflector.run()

    def finished(self) -> int:
        """Return how many Tasks have ended."""
        return sum("finishedAt" in obj.get("status", {}) for obj in self._reflector.store.list())

    def _changed(self, key: Key) -> None:
        task = self._reflector.store.get(key)
        status = task.get("status", {}) if task else {}
        if task is None or not status.get("nodeName") or "finishedAt" in status:
            return
        run = (task["metadata"]["uid"], status["runID"])
        if run not in self._started:
            self._started.add(run)
            started = asyncio.create_task(self._run(key))
            self._runs.add(started)
            started.add_done_callback(self._runs.discard)

    async def _run(self, key: Key) -> None:
        await asyncio.sleep(self._run_seconds)
        while True:
            with suppress(ApiError):
                try:
                    task = await self._api.get(TASK, key.name, key.namespace)
                    if "finishedAt" not in task["status"]:
                        await finish(self._api, task)
                except NotFoundError:
                    return
                except ConflictError:
                    continue
                return
            await asyncio.sleep(0.2)


class Witness:
    """Sees every state of every Task in order, and notes each core that two had at a time."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._owners: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self._of: dict[str, set[tuple[str, int]]] = {}
        self.binds: defaultdict[str, set[tuple[str, int, str]]] = defaultdict(set)
        self.doubled: list[str] = []
        self.most_at_once = 0

    async def run(self) -> None:
        """Watch until cancelled; a watch that breaks goes on where it was, or from a list."""
        version: str | None = None
        while True:
            with suppress(ApiError):
                if version is None:
                    version = await self._list()
                try:
                    async for event in self._api.watch(TASK, version, self._namespace):
                        version = event.object["metadata"]["resourceVersion"]
                        if event.type != "BOOKMARK":
                            self._saw(event.type, event.object)
                except GoneError:  # an API server that has just begun knows no earlier versions
                    version = None
            await asyncio.sleep(0.1)

    async def _list(self) -> str:
        listed = await self._api.list(TASK, self._namespace)
        for uid in list(self._of):  # a list has no order: who came may stand before who went
            self._hold(uid, set())
        for task in listed.items:
            self._saw("MODIFIED", task)
        return listed.resource_version

    def _saw(self, event: str, task: Object) -> None:
        uid, status = task["metadata"]["uid"], task.get("status", {})
        cores: set[tuple[str, int]] = set()
        if status.get("nodeName"):
            self.binds[uid].add((status["nodeName"], status["runID"], str(status["cpus"])))
            if event != "DELETED" and "finishedAt" not in status:
                cores = {(status["nodeName"], core) for core in status["cpus"]}
        self._hold(uid, cores)

    def _hold(self, uid: str, cores: set[tuple[str, int]]) -> None:
        for core in self._of.get(uid, set()) - cores:
            self._owners[core].discard(uid)
        for core in cores:
            self._owners[core].add(uid)
            if len(self._owners[core]) > 1:
                self.doubled.append(f"{core}: {sorted(self._owners[core])}")
        self._of[uid] = cores
        self.most_at_once = max(self.most_at_once, sum(map(bool, self._of.values())))


async def keep_alive(api: Api, *hosts: str) -> None:
    """Renew hosts' Leases until cancelled."""
    while True:
        for host in hosts:
            with suppress(ApiError):
                await renew_lease(api, host)
        await asyncio.sleep(10)
