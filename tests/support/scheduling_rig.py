"""A Scheduler on its own, step by step: hosts and Tasks by hand, a writer that answers at once."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from support.schedulers import task_scheduler
from weir_crds.demand import Holding
from weir_crds.kinds import TASK, Kind
from weir_crds.names import LABEL_OWNER
from weir_kube.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from weir_kube.store import Key, Object, Store
from weir_operator.scheduling.ledger import Allocation
from weir_operator.scheduling.workload import workload_key

NAMESPACE = "default"
_NOW = "2026-11-22T10:00:00Z"


class SchedulingRig:
    """Attributes:
    refuse: called with the name at each write; an exception that it returns is raised.
    writes: names of the Tasks that were written, in order, refused writes included.
    is_silent: called with the name at each write; one that it tells is never answered.
    hide: called with the name at each look; an exception that it returns is raised.
    seconds: the scheduler's clock.
    gate: writes are not answered while it is closed.
    """

    def __init__(self, drain_after_seconds: float = 300.0) -> None:
        self.tasks, self.hosts = Store(), Store()
        self.live: dict[str, Object] = {}
        self.refuse: Callable[[str], ApiError | None] = lambda _name: None
        self.is_silent: Callable[[str], bool] = lambda _name: False
        self.hide: Callable[[str], ApiError | None] = lambda _name: None
        self.writes: list[str] = []
        self.seconds = 1000.0
        self.gate = asyncio.Event()
        self.gate.set()
        self._versions = itertools.count(1)
        self.scheduler = task_scheduler(
            self,
            self.tasks,
            self.hosts,
            clock=lambda: self.seconds,
            drain_after_seconds=drain_after_seconds,
        )

    # -- what the scheduler does ----------------------------------------------------------------

    async def patch(
        self,
        _kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        _namespace: str,
        _subresource: str,
        *,
        deadline_seconds: float,
    ) -> Object:
        self.writes.append(name)
        await self.gate.wait()
        if self.is_silent(name):
            await asyncio.sleep(deadline_seconds)
            raise ApiUnavailableError("no answer in time")
        if exc := self.refuse(name):
            raise exc
        live = self.live[name]
        if live["metadata"]["resourceVersion"] != patch["metadata"]["resourceVersion"]:
            raise ConflictError("it has changed", status=409)
        return self._put(live, status={**live["status"], **patch["status"]})

    async def get(self, _kind: Kind, name: str, _namespace: str) -> Object:
        if exc := self.hide(name):
            raise exc
        if name not in self.live:
            raise NotFoundError("not found", status=404)
        return self.live[name]

    # -- what tests do --------------------------------------------------------------------------

    def add_host(self, name: str, cores: int = 16, **spec: Any) -> None:
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "DockerReady")]
        host = {
            "metadata": {"name": name, "resourceVersion": str(next(self._versions))},
            "spec": {"approval": "Approved", **spec},
            "status": {"capacity": {"cpus": cores, "memory": "64Gi"}, "conditions": ready},
        }
        self.hosts.apply("MODIFIED", host)
        self.scheduler.observe_host(name)

    def add_task(
        self, name: str, cpu: Any = 1, host: str | None = None, owner: str = "", **spec: Any
    ) -> None:
        resources = {"cpu": cpu, **spec.pop("resources", {})}
        if host:
            spec["placement"] = {"hostName": host}
        metadata: Object = {"name": name, "namespace": NAMESPACE, "uid": f"u-{name}"}
        if owner:
            metadata["labels"] = {LABEL_OWNER: owner}
        metadata["creationTimestamp"] = _NOW
        self._put({"metadata": metadata, "spec": {"resources": resources, **spec}, "status": {}})
        self.see(name)

    def change(self, name: str, **spec: Any) -> None:
        live = self.live[name]
        self._put({**live, "spec": {**live["spec"], **spec}})
        self.see(name)

    def touch(self, name: str) -> None:
        """Let there be a new version of a Task that says nothing new."""
        self._put(self.live[name])
        self.see(name)

    def end(self, name: str) -> None:
        live = self.live[name]
        self._put(live, status={**live["status"], "finishedAt": _NOW})
        self.see(name)

    def see(self, name: str) -> None:
        """Let cache and scheduler have a Task as it is."""
        self.tasks.apply("MODIFIED", self.live[name])
        self.scheduler.observe_workload(workload_key(TASK, Key(NAMESPACE, name)))

    def occupy(self, host: str, *cores: int) -> None:
        """Have cores held by somebody, each of whom ``vacate`` ends."""
        for core in cores:
            allocation = Allocation(Holding(host, (core,)), "namespace:other", "Task")
            self.scheduler.ledger.hold(f"{host}/{core}", allocation)

    def vacate(self, host: str, core: int) -> None:
        self.scheduler.ledger.release(f"{host}/{core}")

    def turns(self, count: int) -> None:
        """Let the loop have so many turns, each as short as can be."""
        for _ in range(count):
            self.scheduler.place_for(0.0)

    def host_of(self, name: str) -> str | None:
        """Return where a Task is bound, or about to be."""
        allocation = self.scheduler.ledger.allocation(f"u-{name}")
        return allocation.holding.host if allocation else None

    def why(self, name: str) -> str:
        report = self.scheduler.why(workload_key(TASK, Key(NAMESPACE, name)))
        return f"{report.reason}: {report.message}" if report else ""

    def _put(self, obj: Object, **changes: Any) -> Object:
        metadata = {**obj["metadata"], "resourceVersion": str(next(self._versions))}
        new = {**obj, "metadata": metadata, **changes}
        self.live[metadata["name"]] = new
        return new
