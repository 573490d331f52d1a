"""One reconciler of Hosts, its caches fed by hand, its clock set by hand."""

import datetime as dt
from typing import Any

from support.operator_rig import OperatorApi
from support.schedulers import task_scheduler
from support.tasks import condition
from weir_crds.kinds import HOST, TASK
from weir_crds.task import RESOURCE as TASK_RESOURCE
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Object, Store
from weir_operator.cache import SlimStore
from weir_operator.host.liveness import Liveness
from weir_operator.host.reconcile import HostReconciler
from weir_operator.scheduling.watched import Watched

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
READY = {"type": "Ready", "reason": "x", "lastTransitionTime": "2026-11-22T10:00:00Z"}


class LeaseWatch:
    """What the reconciler sees of the Reflector of Leases.

    Attributes:
        is_open: whether renewals come through.
    """

    def __init__(self, desk: "HostDesk") -> None:
        self._desk = desk
        self._contact_at = desk.seconds
        self.store = Store()
        self.is_open = True

    @property
    def contact_age_seconds(self) -> float:
        # The operator's own Lease changes every few seconds, so an open watch is never silent.
        if self.is_open:
            self._contact_at = self._desk.seconds
        return self._desk.seconds - self._contact_at


class HostDesk:
    """Hosts, their Leases, and what one reconciler makes of them."""

    def __init__(self, *, approve: bool = True) -> None:
        self.api = OperatorApi()
        self.seconds = 1000.0
        self.hosts = Store()
        self.tasks = SlimStore(TASK_RESOURCE)
        self.leases = LeaseWatch(self)
        self.requeued: list[str] = []
        self.scheduler = task_scheduler(self.api, self.tasks, self.hosts)
        self.liveness = Liveness(self.hosts, clock=lambda: self.seconds)
        self.reconciler = HostReconciler(
            self.api,  # type: ignore[arg-type]
            self.hosts,
            self.leases,
            self.scheduler,
            liveness=self.liveness,
            workloads=[Watched(self.tasks, self)],  # type: ignore[arg-type]
            system_namespace="weir-system",
            approve_pending=approve,
            now=lambda: NOW,
            clock=lambda: self.seconds,
        )

    def add(self, key: Key) -> None:
        """Take the part of the queue of Tasks."""
        self.requeued.append(key.name)

    def bind(self, name: str, host: str) -> None:
        """Let there be a Task on a host."""
        self.tasks.apply("ADDED", self.api.put(TASK, {
            "metadata": {"name": name, "namespace": "ns"}, "spec": {}, "status": {"nodeName": host}
        }))  # fmt: skip

    def put(self, name: str = "n1", ready: str | None = "True", **spec: Any) -> None:
        """Make or change a Host as its daemon would, and let the cache have it."""
        found = [] if ready is None else [READY | {"status": ready}]
        status: Object = {"conditions": found, "capacity": {"cpus": 4, "memory": "8Gi"}}
        spec = {"approval": "Pending", **spec}
        self.api.put(HOST, {"metadata": {"name": name}, "spec": spec, "status": status})
        self.sync(name)

    def sync(self, name: str = "n1") -> None:
        self.hosts.apply("MODIFIED", self.host(name))

    def renew(self, name: str = "n1") -> None:
        """Let a Lease change; its watch says so while it is open."""
        lease = self.api.put(LEASE, {"metadata": {"name": name, "namespace": "weir-system"}})
        if self.leases.is_open:
            self.leases.store.apply("MODIFIED", lease)
            self.reconciler.observe_lease(Key("weir-system", name))

    def pass_time(self, seconds: float) -> None:
        """Let time go by; an open watch tells of the operator's own Lease every few seconds."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds = min(self.seconds + 4.0, end)
            if self.leases.is_open:
                self.reconciler.observe_lease(Key("weir-system", "weir-operator"))

    async def look(self, after: float = 0.0, name: str = "n1") -> float | None:
        """Reconcile a Host so many seconds later."""
        self.pass_time(after)
        return await self.reconciler.reconcile(Key("", name))

    async def look_until_quiet(self, name: str = "n1") -> float | None:
        while (again := await self.look(name=name)) == 0:
            pass
        return again

    def host(self, name: str = "n1") -> Object:
        found = self.api.peek(HOST, Key("", name))
        assert found is not None
        return found

    def said(self, kind: str, name: str = "n1") -> tuple[str, str]:
        found = condition(self.host(name), kind)
        return found.get("status", ""), found.get("reason", "")

    def lost(self) -> list[str]:
        """Return the names of the Hosts whose Ready is Unknown."""
        found = self.api.objects(HOST).values()
        return [
            host["metadata"]["name"]
            for host in found
            if condition(host, "Ready").get("status") == "Unknown"
        ]
