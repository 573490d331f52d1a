"""What follows a run that ended, and when."""

import datetime as dt
from typing import Any

import pytest

from weir_crds.retry import Finish, RetryAfter, is_retrying, is_stopped, next_step, pause_of

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
RETRY: dict[str, Any] = {"limit": 3, "backoffSeconds": 10}
KILLED = {"desiredState": "Killed"}


@pytest.mark.parametrize(
    ("sentence", "retry", "more", "failures", "reason", "step"),
    [
        ("no retry is wanted", {}, {}, None, "NonZeroExit", Finish()),
        ("the first failure", RETRY, {}, None, "NonZeroExit", RetryAfter(10)),
        ("the second waits twice as long", RETRY, {}, 1, "NonZeroExit", RetryAfter(20)),
        ("the third four times", RETRY, {}, 2, "Signalled", RetryAfter(40)),
        ("then it is enough", RETRY, {}, 3, "NonZeroExit", Finish()),
        ("more failures than allowed", RETRY, {}, 4, "NonZeroExit", Finish()),
        ("out of memory", RETRY, {}, 0, "OOMKilled", RetryAfter(10)),
        ("too slow", RETRY, {}, 0, "TimedOut", RetryAfter(10)),
        ("success", RETRY, {}, 0, "Completed", Finish()),
        ("killed", RETRY, KILLED, 0, "Killed", Finish()),
        ("failed, and killed meanwhile", RETRY, KILLED, 0, "NonZeroExit", Finish()),
        ("suspended meanwhile", RETRY, {"suspend": True}, 0, "NonZeroExit", RetryAfter(10)),
        ("never created", RETRY, {}, 0, "CreateFailed", Finish()),
        ("no image", RETRY, {}, 0, "ImagePullFailed", Finish()),
        ("lost", RETRY, {}, 0, "HostLost", Finish()),
        ("a reason that is not listed", RETRY | {"reasons": ["OOMKilled"]}, {}, 0, "NonZeroExit",
         Finish()),
        ("a reason that is", RETRY | {"reasons": ["OOMKilled"]}, {}, 0, "OOMKilled",
         RetryAfter(10)),
        ("no reason is listed", RETRY | {"reasons": []}, {}, 0, "NonZeroExit", Finish()),
        ("no pause", RETRY | {"backoffSeconds": 0}, {}, 2, "NonZeroExit", RetryAfter(0)),
        ("never longer than an hour", RETRY | {"limit": 1000}, {}, 999, "NonZeroExit",
         RetryAfter(3600)),
        ("but as long as was asked for", RETRY | {"backoffSeconds": 7200}, {}, 2, "NonZeroExit",
         RetryAfter(7200)),
    ],
)  # fmt: skip
def test_the_next_step(
    sentence: str,
    retry: dict[str, Any],
    more: dict[str, Any],
    failures: int | None,
    reason: str,
    step: Finish | RetryAfter,
) -> None:
    status = {} if failures is None else {"failures": failures}
    assert next_step({"retry": retry, **more}, status, reason) == step, sentence


def unbound(**changes: Any) -> dict[str, Any]:
    """Return the status of a Task whose first run failed at noon."""
    result = {"runID": 1, "reason": "NonZeroExit", "finishedAt": "2026-11-22T12:00:00.000000Z"}
    return {"runID": 2, "failures": 1, "lastResult": result, **changes}


def scheduled(status: str, since: str) -> list[dict[str, Any]]:
    return [
        {"type": "Scheduled", "status": status, "reason": "BackOff", "lastTransitionTime": since}
    ]


NO_SECRET = {
    "runID": 1,
    "reason": "SecretNotReadable",
    "finishedAt": "2026-11-22T12:00:00.000000Z",
}
LOST = {"runID": 1, "reason": "HostLost", "finishedAt": "2026-11-22T12:00:00.000000Z"}


@pytest.mark.parametrize(
    ("sentence", "status", "seconds"),
    [
        ("after the first failure", unbound(), 10),
        ("after the third", unbound(failures=3), 40),
        ("unbound a little later", unbound(conditions=scheduled("False", "2026-11-22T12:00:01Z")),
         11),
        ("a host whose clock is fast",
         unbound(conditions=scheduled("False", "2026-11-22T11:00:00Z")), -3590),
        ("a host whose clock is slow",
         unbound(conditions=scheduled("False", "2026-11-22T12:15:00Z")), 910),
        ("bound again", unbound(nodeName="n1"), None),
        ("a Secret was not there", unbound(failures=None, lastResult=NO_SECRET), 300),
        ("a Secret was not there after a failure", unbound(failures=3, lastResult=NO_SECRET), 300),
        ("it was not there for an earlier run", unbound(runID=3, lastResult=NO_SECRET), None),
        ("it was not there, and it is bound", unbound(nodeName="n1", lastResult=NO_SECRET), None),
        ("never run", {}, None),
        ("lost with its host", unbound(lastResult=LOST), None),
        ("lost with its host after a failure", unbound(runID=3, lastResult={**LOST, "runID": 2}),
         None),
        ("suspended before its second run began", unbound(runID=3), None),
    ],
)  # fmt: skip
def test_when_it_may_be_placed_again(
    sentence: str, status: dict[str, Any], seconds: int | None
) -> None:
    due = None if seconds is None else NOON + dt.timedelta(seconds=seconds)
    pause = pause_of({"retry": RETRY}, status)
    assert (pause and pause.ends_at) == due, sentence


def told(*conditions: tuple[str, str, str], **status: Any) -> dict[str, Any]:
    found = [
        {"type": type, "status": value, "reason": reason} for type, value, reason in conditions
    ]
    return {"nodeName": "n1", "runID": 2, **status, "conditions": found}


STOPPED = ("Started", "False", "Stopped")
RETRYING = ("Succeeded", "Unknown", "Retrying")


@pytest.mark.parametrize(
    ("sentence", "status", "stopped", "retrying"),
    [
        ("bound", told(), False, False),
        ("pulling", told(("Started", "False", "PullingImage")), False, False),
        ("running", told(("Started", "True", "ContainerStarted")), False, False),
        ("stopped", told(STOPPED), True, False),
        ("to be retried", told(STOPPED, RETRYING, lastResult={"runID": 2}), True, True),
        ("an earlier run's word", told(STOPPED, RETRYING, lastResult={"runID": 1}), True, False),
        ("finished", told(STOPPED, finishedAt="2026-11-22T12:00:00Z"), False, False),
        ("not bound", told(STOPPED, nodeName=None), False, False),
    ],
)
def test_who_may_be_unbound(
    sentence: str, status: dict[str, Any], stopped: bool, retrying: bool
) -> None:
    assert (is_stopped(status), is_retrying(status)) == (stopped, retrying), sentence
