"""What one Task needs of the operator, by its own fields."""

import datetime as dt
from typing import Any

import pytest

from support.tasks import task
from weir_crds.conditions import Reason
from weir_operator.scheduling.messages import WaitReport
from weir_operator.task.decide import (
    LostAction,
    LostVerdict,
    ReportVerdict,
    Standing,
    end_of,
    held_back,
    lost_verdict,
    report_verdict,
    standing_of,
)

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
STOPPED = {
    "nodeName": "n1",
    "runID": 1,
    "conditions": [{"type": "Started", "status": "False", "reason": "Stopped"}],
}
RETRY = {"retry": {"limit": 3, "backoffSeconds": 10}}
FAILED = {
    "runID": 2,
    "failures": 1,
    "lastResult": {"runID": 1, "reason": "NonZeroExit", "finishedAt": "2026-11-22T09:59:55Z"},
}


def given(spec: dict[str, Any], status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    made = task("t", "default", **spec)
    made["metadata"].update(metadata)
    made["status"] = status
    return made


@pytest.mark.parametrize(
    ("spec", "status", "standing"),
    [
        ({}, {}, Standing.PENDING),
        ({"desiredState": "Paused"}, {}, Standing.PENDING),
        ({"suspend": True}, {}, Standing.SUSPENDED),
        ({"approval": "Pending"}, {}, Standing.AWAITING_APPROVAL),
        ({"approval": "Pending", "suspend": True}, {}, Standing.AWAITING_APPROVAL),
        ({"approval": "Pending", "desiredState": "Killed"}, {}, Standing.KILLED),
        ({"approval": "Rejected", "desiredState": "Killed"}, {}, Standing.REJECTED),
        ({"suspend": True, "desiredState": "Killed"}, {}, Standing.KILLED),
        ({}, {"nodeName": "n1"}, Standing.BOUND),
        ({"desiredState": "Killed"}, {"nodeName": "n1"}, Standing.BOUND),
        ({"suspend": True}, {"nodeName": "n1"}, Standing.BOUND),
        ({}, STOPPED, Standing.STOPPED),
        ({"desiredState": "Killed"}, STOPPED, Standing.STOPPED),
        ({"suspend": True}, STOPPED, Standing.STOPPED),
        (RETRY, FAILED, Standing.BACKING_OFF),
        (RETRY, {**FAILED, "failures": 2}, Standing.BACKING_OFF),
        (RETRY | {"desiredState": "Paused"}, FAILED, Standing.BACKING_OFF),
        (RETRY | {"desiredState": "Killed"}, FAILED, Standing.KILLED),
        (RETRY | {"suspend": True}, FAILED, Standing.SUSPENDED),
        (RETRY, {**FAILED, "nodeName": "n1"}, Standing.BOUND),
        ({"retry": {"limit": 1, "backoffSeconds": 5}}, FAILED, Standing.PENDING),
        ({}, {"nodeName": "n1", "finishedAt": "2026-11-22T10:00:00Z"}, Standing.FINISHED),
        ({"suspend": True}, {"finishedAt": "2026-11-22T10:00:00Z"}, Standing.FINISHED),
    ],
)
def test_standing(spec: dict[str, Any], status: dict[str, Any], standing: Standing) -> None:
    assert standing_of(given(spec, status), NOW) is standing


def test_a_deleted_task_that_something_keeps_is_not_bound_any_more() -> None:
    leaving = given({}, {}, deletionTimestamp="2026-11-22T10:00:00Z")
    assert standing_of(leaving, NOW) is Standing.LEAVING


def test_a_deleted_task_that_is_bound_keeps_its_cores() -> None:
    bound = given({}, {"nodeName": "n1"}, deletionTimestamp="2026-11-22T10:00:00Z")
    assert standing_of(bound, NOW) is Standing.BOUND


@pytest.mark.parametrize("standing", Standing)
def test_the_operator_ends_only_what_no_daemon_has(standing: Standing) -> None:
    end = end_of(standing)
    reasons = {Standing.KILLED: Reason.KILLED, Standing.REJECTED: Reason.REJECTED}
    assert (end.reason if end else None) == reasons.get(standing)


@pytest.mark.parametrize("standing", Standing)
def test_some_are_not_even_queued(standing: Standing) -> None:
    waiting = held_back(standing, given(RETRY, FAILED))
    reasons = {
        Standing.SUSPENDED: Reason.SUSPENDED,
        Standing.AWAITING_APPROVAL: Reason.AWAITING_APPROVAL,
        Standing.BACKING_OFF: Reason.BACK_OFF,
    }
    assert (waiting.reason if waiting else None) == reasons.get(standing)


def test_what_is_said_of_a_back_off_is_constant() -> None:
    waiting = held_back(Standing.BACKING_OFF, given(RETRY, FAILED))
    assert waiting is not None
    assert waiting.message == "run 1: NonZeroExit, tried again at 2026-11-22T10:00:05.000000Z"


@pytest.mark.parametrize(
    ("spec", "lost_seconds", "verdict"),
    [
        ({"onHostLost": "Restart"}, None, LostVerdict(LostAction.WAIT)),
        ({}, 1e6, LostVerdict(LostAction.WAIT)),
        ({"onHostLost": "Restart"}, 100, LostVerdict(LostAction.WAIT, 200)),
        ({"onHostLost": "Restart"}, -40, LostVerdict(LostAction.WAIT, 340)),
        ({"onHostLost": "Restart"}, 300, LostVerdict(LostAction.UNBIND)),
        ({"onHostLost": "Fail", "hostLostGraceSeconds": 5}, 5, LostVerdict(LostAction.END)),
        ({"onHostLost": "Restart", "hostLostGraceSeconds": 0}, 0.0, LostVerdict(LostAction.UNBIND)),
    ],
)
def test_a_lost_host(
    spec: dict[str, Any], lost_seconds: float | None, verdict: LostVerdict
) -> None:
    assert lost_verdict(spec, lost_seconds) == verdict


FULL = WaitReport(Reason.INSUFFICIENT_CAPACITY, "0/1 hosts: 1 lack cpu (n1)")
NEVER = WaitReport(Reason.UNSCHEDULABLE, "0/1 hosts: 1 too few cores (n1)")
QUEUED = WaitReport(Reason.QUEUED, "others are before it")
SUSPENDED = WaitReport(Reason.SUSPENDED, "spec.suspend is true")


def said(waiting: WaitReport, message: str | None = None) -> dict[str, str]:
    """Return the condition that says it."""
    return {"status": "False", "reason": waiting.reason, "message": message or waiting.message}


BOUND = {"status": "True", "reason": "Bound", "message": "n1, core 0 (NUMA 0)"}
OLD = "0/1 hosts: 1 lack memory (n1)"

WRITE = ReportVerdict(write=True, look_again_seconds=30.0)


def wait(seconds: float) -> ReportVerdict:
    return ReportVerdict(write=False, look_again_seconds=seconds)


REPORTS: list[tuple[str, WaitReport, dict[str, str] | None, float, float | None, ReportVerdict]] = [
    ("not within the first two seconds", FULL, None, 0.5, None, wait(1.5)),
    ("after two seconds", FULL, None, 2.0, None, WRITE),
    ("never a second time", FULL, said(FULL), 100.0, 90.0, wait(30.0)),
    ("nor after a restart", FULL, said(FULL), 2.0, None, wait(30.0)),
    ("that it can never fit, at once", NEVER, None, 0.0, None, WRITE),
    ("also when another reason stood there", NEVER, said(FULL), 5.0, 1.0, WRITE),
    ("another reason not within thirty seconds", FULL, said(NEVER), 20.0, 10.0, wait(20.0)),
    ("another reason after thirty seconds", FULL, said(NEVER), 40.0, 30.0, WRITE),
    ("another reason after a restart", FULL, said(NEVER), 2.0, None, WRITE),
    ("a turn that is about to come is not told", QUEUED, None, 2.5, None, wait(27.5)),
    ("and looked at early, as more may be told", QUEUED, None, 0.5, None, wait(1.5)),
    ("but after thirty seconds it is", QUEUED, None, 30.0, None, WRITE),
    ("a wish is told after two seconds", SUSPENDED, said(FULL), 2.0, 3.0, WRITE),
    ("and its end too", FULL, said(SUSPENDED), 2.0, 3.0, WRITE),
    ("but not before", FULL, said(SUSPENDED), 1.0, 3.0, wait(1.0)),
    ("new wording waits", FULL, said(FULL, OLD), 100.0, 90.0, wait(30.0)),
    ("five minutes", FULL, said(FULL, OLD), 400.0, 300.0, WRITE),
    ("also after a restart", FULL, said(FULL, OLD), 10.0, None, wait(30.0)),
    ("for five minutes from when we saw it", FULL, said(FULL, OLD), 299.0, None, wait(1.0)),
    ("and then it is written", FULL, said(FULL, OLD), 300.0, None, WRITE),
    ("what was bound once says why not now", FULL, BOUND, 3.0, None, WRITE),
]


@pytest.mark.parametrize(
    ("waiting", "condition", "waited", "written", "verdict"),
    [case[1:] for case in REPORTS],
    ids=[case[0] for case in REPORTS],
)
def test_a_wait_is_told(
    waiting: WaitReport,
    condition: dict[str, str] | None,
    waited: float,
    written: float | None,
    verdict: ReportVerdict,
) -> None:
    got = report_verdict(waiting, condition, waited_seconds=waited, written_seconds_ago=written)
    assert got == verdict
