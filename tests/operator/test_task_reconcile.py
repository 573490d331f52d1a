"""One Task is brought nearer to its spec, a step at a time."""

import datetime as dt
from typing import Any

import pytest

from support.operator_rig import NAMESPACE, OperatorApi
from support.schedulers import task_scheduler
from support.tasks import condition, task
from weir_crds.kinds import HOST, TASK
from weir_crds.times import now_rfc3339
from weir_kube.errors import ApiUnavailableError
from weir_kube.store import Key, Object, Store
from weir_kube.workqueue import WorkQueue
from weir_operator.host.liveness import Liveness
from weir_operator.scheduling.watched import Placed
from weir_operator.task.reconcile import TaskReconciler
from weir_operator.task.workload import TaskWorkload

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
KEY = Key(NAMESPACE, "t")


class Desk:
    """One reconciler, its cache fed by hand, its clock set by hand."""

    def __init__(self) -> None:
        self.api = OperatorApi()
        self.tasks, self.hosts = Store(), Store()
        self.seconds = 0.0
        self.clock_error = dt.timedelta()
        """By how much the operator's wall clock is wrong."""
        self.workload = TaskWorkload(lambda: self.seconds)
        self.scheduler = task_scheduler(
            self.api, self.tasks, self.hosts, self.now, workload=self.workload
        )
        self.reconciler = TaskReconciler(
            self.api,  # type: ignore[arg-type]
            Placed(self.tasks, WorkQueue("tasks"), self.workload),
            self.scheduler,
            self.hosts,
            Liveness(self.hosts, clock=lambda: self.seconds),
            now=self.now,
            clock=lambda: self.seconds,
        )

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.seconds) + self.clock_error

    def put(self, status: Object | None = None, **spec: Any) -> None:
        """Make or change the Task, and let the cache have it."""
        self.api.put(TASK, {**task("t", NAMESPACE, **spec), "status": status or {}})
        self.sync()

    def sync(self) -> None:
        """Let the cache have the Task as it is."""
        found = self.api.peek(TASK, KEY)
        assert found is not None
        self.tasks.apply("MODIFIED", found)

    def add_host(self, cores: int) -> None:
        """Let there be a host that is ready."""
        host = self.api.put(
            HOST,
            {
                "metadata": {"name": "n1"},
                "spec": {"approval": "Approved"},
                "status": {
                    "capacity": {"cpus": cores, "memory": "8Gi"},
                    "conditions": [
                        {"type": kind, "status": "True"} for kind in ("Ready", "DockerReady")
                    ],
                },
            },
        )
        self.hosts.apply("ADDED", host)
        self.scheduler.observe_host("n1")

    async def look(self, seconds: float = 0.0) -> float | None:
        """Reconcile at this time."""
        self.seconds = seconds
        return await self.reconciler.reconcile(KEY)

    @property
    def status(self) -> Object:
        found = self.api.peek(TASK, KEY)
        assert found is not None
        status: Object = found["status"]
        return status

    def said(self, kind: str = "Scheduled") -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = condition({"status": self.status}, kind)
        return found.get("status", ""), found.get("reason", "")


@pytest.mark.parametrize(
    ("spec", "reason", "phase"),
    [
        ({"desiredState": "Killed"}, "Killed", "Killed"),
        ({"approval": "Rejected"}, "Rejected", "Rejected"),
    ],
)
async def test_what_never_had_a_host_is_ended(
    spec: dict[str, Any], reason: str, phase: str
) -> None:
    desk = Desk()
    desk.put(**spec)
    assert await desk.look() == 0
    assert desk.said("Succeeded") == ("False", reason)
    assert desk.status["finishedAt"] == now_rfc3339(NOW)
    assert desk.status["phase"] == phase
    assert await desk.look() is None
    assert len(desk.api.writes) == 1


async def test_a_bound_task_is_its_daemons() -> None:
    desk = Desk()
    desk.put(status={"nodeName": "n1", "cpus": [0], "runID": 1}, desiredState="Killed")
    assert await desk.look() is None
    assert desk.api.writes == []


def host(ready: str) -> Object:
    said = {"type": "Ready", "status": ready, "reason": "x", "lastTransitionTime": now_rfc3339(NOW)}
    return {"metadata": {"name": "n1"}, "spec": {}, "status": {"conditions": [said]}}


@pytest.mark.parametrize("is_back", [True, False])
async def test_a_cache_that_is_behind_costs_no_run(is_back: bool) -> None:
    """The API server is asked before a run is taken from a host without its daemon's word."""
    desk = Desk()
    desk.hosts.apply("ADDED", desk.api.put(HOST, host("Unknown")))
    if is_back:
        desk.api.put(HOST, host("True"))
    desk.put(status={"nodeName": "n1", "cpus": [0], "runID": 1}, onHostLost="Restart")

    assert await desk.look(0) == 300
    assert await desk.look(299) == 1
    await desk.look(300)

    assert desk.status["runID"] == (1 if is_back else 2)
    assert ("nodeName" in desk.status) == is_back


@pytest.mark.parametrize(
    ("spec", "reason", "phase"),
    [
        ({"suspend": True}, "Suspended", "Queued"),
        ({"approval": "Pending"}, "AwaitingApproval", "PendingApproval"),
        ({}, "Queued", "Queued"),
    ],
)
async def test_what_is_held_back_says_so_once(
    spec: dict[str, Any], reason: str, phase: str
) -> None:
    desk = Desk()
    desk.put(**spec)
    assert await desk.look(0) == 2
    assert desk.api.writes == []
    wait = 30 if reason == "Queued" else 2
    assert await desk.look(wait) == 30
    assert desk.said() == ("False", reason)
    assert desk.status["phase"] == phase
    for later in (40, 80, 1000):
        assert await desk.look(later) == 30
    assert len(desk.api.writes) == 1


async def test_what_can_never_fit_says_so_at_once() -> None:
    desk = Desk()
    desk.add_host(2)
    desk.put(resources={"cpu": 3})
    await desk.look(0)
    desk.scheduler.place_for(1.0)  # the loop refuses it
    await desk.look(0)
    assert desk.said() == ("False", "Unschedulable")
    assert condition({"status": desk.status}, "Scheduled")["message"] == (
        "0/1 hosts: 1 too few cores (n1)"
    )


async def test_an_approval_starts_the_wait_anew() -> None:
    desk = Desk()
    desk.put(approval="Pending")
    await desk.look(0)
    await desk.look(2)
    desk.api.change_spec(TASK, KEY, approval="Approved")
    desk.sync()
    assert await desk.look(3) == 2
    assert desk.said() == ("False", "AwaitingApproval")
    assert len(desk.scheduler.queue) == 1


async def test_a_write_that_conflicts_is_decided_anew() -> None:
    desk = Desk()
    desk.put(desiredState="Killed")
    desk.api.change_status(TASK, KEY, nodeName="n1", cpus=[0])  # the cache does not know yet
    assert await desk.look() == 0
    assert desk.api.writes == []
    assert await desk.look() is None
    assert desk.said("Succeeded") == ("", "")


async def test_a_task_that_is_gone_is_let_go() -> None:
    desk = Desk()
    desk.put(desiredState="Killed")
    desk.api.remove(TASK, KEY)
    assert await desk.look() == 0
    assert await desk.look() is None
    assert len(desk.tasks) == 0


async def test_an_end_without_an_answer_is_the_same_end() -> None:
    desk = Desk()
    desk.put(desiredState="Killed")
    desk.api.lose_answer = lambda _kind, _key: ApiUnavailableError("lost")
    with pytest.raises(ApiUnavailableError):
        await desk.look(0)
    assert await desk.look(5) == 0
    assert await desk.look(5) is None
    assert desk.status["finishedAt"] == now_rfc3339(NOW)
    assert len(desk.api.writes) == 1


def back_off(desk: Desk, seconds: int = 100, since: dt.datetime = NOW) -> None:
    """Let the Task have failed once, and been taken from its host."""
    result = {"runID": 1, "reason": "NonZeroExit", "finishedAt": now_rfc3339(since)}
    said = {
        "type": "Scheduled",
        "status": "False",
        "reason": "BackOff",
        "message": "",
        "lastTransitionTime": now_rfc3339(since),
    }
    status = {"runID": 2, "failures": 1, "lastResult": result, "conditions": [said]}
    desk.put(status, retry={"limit": 3, "backoffSeconds": seconds})


HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize("error", [HOUR, -HOUR, 9000 * HOUR, -9000 * HOUR])
async def test_a_wall_clock_that_is_set_neither_delays_a_retry_nor_skips_its_back_off(
    error: dt.timedelta,
) -> None:
    desk = Desk()
    back_off(desk)
    await desk.look(0)
    desk.clock_error = error
    assert await desk.look(40) == 30
    assert await desk.look(95) == 5
    assert len(desk.scheduler.queue) == 0
    await desk.look(100)
    assert len(desk.scheduler.queue) == 1
    desk.clock_error = -error
    await desk.look(500)
    assert len(desk.scheduler.queue) == 1


@pytest.mark.parametrize(
    ("since", "left"),
    [
        pytest.param(NOW - dt.timedelta(seconds=60), 40, id="before this process began"),
        pytest.param(NOW + HOUR, 100, id="by a clock that was ahead"),
        pytest.param(NOW - HOUR, 0, id="long ago"),
        pytest.param(dt.datetime(9999, 12, 31, 23, 50, tzinfo=dt.UTC), 100, id="the last day"),
    ],
)
async def test_a_back_off_from_before_is_what_is_left_of_it_and_no_longer_than_a_whole_one(
    since: dt.datetime, left: int
) -> None:
    desk = Desk()
    back_off(desk, since=since)
    if left:
        await desk.look(0)
        await desk.look(left - 1)
        assert len(desk.scheduler.queue) == 0
    await desk.look(left)
    assert len(desk.scheduler.queue) == 1


async def test_at_the_end_of_time_a_back_off_is_over_early() -> None:
    desk = Desk()
    back_off(desk, since=dt.datetime.max.replace(tzinfo=dt.UTC) - dt.timedelta(seconds=50))
    await desk.look(0)
    assert len(desk.scheduler.queue) == 0
    await desk.look(51)
    assert len(desk.scheduler.queue) == 1


async def test_another_back_off_counts_for_itself_and_what_is_over_is_forgotten() -> None:
    desk = Desk()
    back_off(desk)
    await desk.look(0)
    await desk.look(100)
    assert len(desk.scheduler.queue) == 1
    desk.put({"runID": 2, "nodeName": "n1", "cpus": [0]})
    await desk.look(101)
    assert len(desk.workload.back_offs) == 0
    back_off(desk, since=desk.now())
    await desk.look(102)
    assert len(desk.scheduler.queue) == 0
    desk.api.remove(TASK, KEY)
    desk.tasks.apply(
        "DELETED", {**task("t", NAMESPACE), "metadata": desk.tasks.get(KEY)["metadata"]}
    )
    await desk.look(103)
    assert len(desk.workload.back_offs) == 0
