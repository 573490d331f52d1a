"""One Host is approved, known to be alive or not, and accounted."""

import datetime as dt
from typing import Any

import pytest

from support.operator_rig import OperatorApi
from support.tasks import condition
from weir_crds.kinds import HOST
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Object, Store
from weir_operator.host.decide import decide, state_word
from weir_operator.host.liveness import Liveness
from weir_operator.host.lost import LostHosts
from weir_operator.host.reconcile import HostReconciler
from weir_operator.scheduling.allocation import Allocation
from weir_operator.scheduling.loop import Scheduler

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
KEY = Key("", "n1")
READY = {"type": "Ready", "reason": "x", "lastTransitionTime": "2026-11-22T10:00:00Z"}
EMPTY = {"cpus": 0, "memory": "0", "gpus": [], "tasks": 0, "vpses": 0}


class Desk:
    """One reconciler, its caches fed by hand, its clock set by hand."""

    def __init__(self, *, approve: bool = True) -> None:
        self.api = OperatorApi()
        self.hosts, self.leases = Store(), Store()
        self.seconds = 1000.0
        self.lost_changes: list[str] = []
        self.scheduler = Scheduler(
            self.api,  # type: ignore[arg-type]
            Store(),
            self.hosts,
            on_news=lambda _key: None,
        )
        self.reconciler = HostReconciler(
            self.api,  # type: ignore[arg-type]
            self.hosts,
            self.leases,
            self.scheduler,
            lost=LostHosts(self.hosts, now=lambda: NOW, clock=lambda: self.seconds),
            on_lost_change=self.lost_changes.append,
            system_namespace="weir-system",
            approve_pending=approve,
            now=lambda: NOW,
            clock=lambda: self.seconds,
        )

    def put(self, ready: str | None = "True", **spec: Any) -> None:
        """Make the Host, and let the cache have it."""
        found = [] if ready is None else [READY | {"status": ready}]
        status: Object = {"conditions": found, "capacity": {"cpus": 4, "memory": "8Gi"}}
        spec = {"approval": "Pending", **spec}
        self.api.put(HOST, {"metadata": {"name": "n1"}, "spec": spec, "status": status})
        self.sync()

    def sync(self) -> None:
        self.hosts.apply("MODIFIED", self.host)

    def renew(self) -> None:
        """Let its Lease change, and the cache know."""
        lease = self.api.put(LEASE, {"metadata": {"name": "n1", "namespace": "weir-system"}})
        self.leases.apply("MODIFIED", lease)
        self.reconciler.observe_lease("n1")

    async def look(self, after: float = 0.0) -> float | None:
        """Reconcile so many seconds later."""
        self.seconds += after
        return await self.reconciler.reconcile(KEY)

    async def look_until_quiet(self) -> float | None:
        while (again := await self.look()) == 0:
            pass
        return again

    @property
    def host(self) -> Object:
        found = self.api.peek(HOST, KEY)
        assert found is not None
        return found

    def said(self, kind: str) -> tuple[str, str]:
        found = condition(self.host, kind)
        return found.get("status", ""), found.get("reason", "")


class TestApproval:
    async def test_it_is_given_where_the_cluster_says_so(self) -> None:
        desk = Desk()
        desk.put()
        await desk.look_until_quiet()
        assert desk.host["spec"]["approval"] == "Approved"
        assert desk.said("Approved") == ("True", "Approved")
        assert desk.said("Ready") == ("True", "x")
        await desk.look_until_quiet()
        assert len(desk.api.writes) == 2

    async def test_it_is_awaited_otherwise(self) -> None:
        desk = Desk(approve=False)
        desk.put()
        await desk.look_until_quiet()
        assert desk.host["spec"]["approval"] == "Pending"
        assert desk.said("Approved") == ("False", "Pending")

    async def test_a_refusal_stands(self) -> None:
        desk = Desk()
        desk.put(approval="Rejected")
        await desk.look_until_quiet()
        assert desk.host["spec"]["approval"] == "Rejected"
        assert desk.said("Approved") == ("False", "Rejected")

    async def test_a_host_that_was_written_meanwhile_is_looked_at_again(self) -> None:
        desk = Desk()
        desk.put()
        desk.api.change_status(HOST, KEY, orphans=["uid"])
        assert await desk.look() == 0
        await desk.look_until_quiet()
        assert desk.said("Approved") == ("True", "Approved")
        assert desk.host["status"]["orphans"] == ["uid"]

    async def test_a_host_that_is_gone_is_let_go(self) -> None:
        desk = Desk()
        desk.put()
        desk.api.remove(HOST, KEY)
        await desk.look_until_quiet()
        assert len(desk.hosts) == 0


class TestLiveness:
    async def test_silence_for_forty_seconds_makes_it_unknown(self) -> None:
        desk = Desk()
        desk.put(approval="Approved")
        desk.renew()
        assert await desk.look() == 40
        assert await desk.look(39) == 1
        assert desk.said("Ready") == ("True", "x")
        assert await desk.look(1) is None
        assert desk.said("Ready") == ("Unknown", "LeaseExpired")
        assert desk.scheduler.ledger.hosts["n1"].facts is not None
        assert desk.scheduler.ledger.hosts["n1"].facts.unavailable == "not ready"
        writes = len(desk.api.writes)
        await desk.look(1000)
        assert len(desk.api.writes) == writes

    async def test_a_renewal_counts_from_when_we_saw_it(self) -> None:
        desk = Desk()
        desk.put(approval="Approved")
        desk.renew()
        await desk.look(30)
        desk.renew()
        assert await desk.look(30) == 10
        assert desk.said("Ready") == ("True", "x")

    async def test_a_host_that_never_had_a_lease_has_as_long(self) -> None:
        desk = Desk()
        desk.put(approval="Approved")
        await desk.look()
        await desk.look(40)
        assert desk.said("Ready") == ("Unknown", "LeaseExpired")

    async def test_an_unready_host_becomes_unknown_too(self) -> None:
        desk = Desk()
        desk.put(ready="False", approval="Approved")
        await desk.look()
        await desk.look(40)
        assert desk.said("Ready") == ("Unknown", "LeaseExpired")

    async def test_what_the_daemon_says_again_stands(self) -> None:
        desk = Desk()
        desk.put(approval="Approved")
        await desk.look()
        await desk.look(40)
        desk.renew()
        desk.put(approval="Approved")
        await desk.look()
        assert desk.said("Ready") == ("True", "x")

    def test_a_lease_seen_twice_is_not_newer(self) -> None:
        liveness = Liveness()
        liveness.observe("n1", "7", 0)
        liveness.observe("n1", "7", 10)
        assert liveness.age("n1", 10) == 10
        liveness.forget("n1")
        assert liveness.age("n1", 10) == 0


class TestAllocated:
    async def test_it_is_told_at_most_every_ten_seconds(self) -> None:
        desk = Desk()
        desk.put(approval="Approved")
        await desk.look()
        assert desk.host["status"]["allocated"] == EMPTY
        desk.scheduler.ledger.set_task("a", Allocation("n1", "o", (0, 1), 0, None, 2**30, (0,)))
        assert await desk.look(3) == 7
        desk.scheduler.ledger.set_task("b", Allocation("n1", "o", shared_millis=500))
        assert await desk.look(7) == pytest.approx(30)
        assert desk.host["status"]["allocated"] == {
            "cpus": 2,
            "memory": "1Gi",
            "gpus": [0],
            "tasks": 2,
            "vpses": 0,
        }
        writes = len(desk.api.writes)
        await desk.look(100)
        assert len(desk.api.writes) == writes + 1  # Ready, by then


@pytest.mark.parametrize(
    ("spec", "ready", "word"),
    [
        ({"approval": "Pending"}, "True", "unapproved"),
        ({"approval": "Approved"}, "Unknown", "not_ready"),
        ({"approval": "Approved", "unschedulable": True}, "True", "cordoned"),
        ({"approval": "Approved"}, "True", "ready"),
    ],
)
def test_state_word(spec: Object, ready: str, word: str) -> None:
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    assert state_word({"spec": spec, "status": status}) == word


def test_a_quiet_host_needs_nothing() -> None:
    host: Object = {
        "metadata": {"name": "n1", "generation": 3},
        "spec": {"approval": "Approved"},
        "status": {
            "allocated": EMPTY,
            "conditions": [
                {"type": "Approved", "status": "True", "reason": "Approved"},
                {"type": "Ready", "status": "True", "reason": "DaemonReady"},
            ],
        },
    }
    verdict = decide(
        host,
        approve_pending=True,
        lease_age_seconds=5,
        allocated=EMPTY,
        allocated_age_seconds=None,
        now=NOW,
    )
    assert not verdict.changes
    assert not verdict.approve
    assert verdict.look_again_seconds == 35
