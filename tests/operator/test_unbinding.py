"""A run that is not the last: how a Task is taken from its host, and when it is tried again."""

import asyncio
import datetime as dt
from typing import Any

import pytest

from support.aio import until
from support.operator_rig import NAMESPACE, OperatorApi, OperatorRig, running
from weir_crds.conditions import ConditionType
from weir_crds.kinds import HOST, TASK
from weir_crds.phase import phase_of
from weir_crds.task import TaskStatus
from weir_crds.times import now_rfc3339
from weir_kube.store import Key, Object
from weir_operator.task import status as task_status
from weir_operator.task.decide import Standing, standing_of

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
AGO = "2026-11-22T09:59:00.000000Z"


def said(type: str, status: str, reason: str) -> dict[str, str]:
    return {
        "type": type, "status": status, "reason": reason, "message": "", "lastTransitionTime": AGO
    }  # fmt: skip


RETRYING = [
    said("Scheduled", "True", "Bound"),
    said("Started", "False", "Stopped"),
    said("Succeeded", "Unknown", "Retrying"),
]
STOPPED = RETRYING[:2]
RUNNING = [RETRYING[0], said("Started", "True", "ContainerStarted"), said("Paused", "False", "R")]
RESULT = {"runID": 3, "reason": "NonZeroExit", "exitCode": 2, "finishedAt": now_rfc3339(NOW)}


def bound(conditions: list[dict[str, str]], **spec: Any) -> Object:
    return {
        "metadata": {"name": "t", "namespace": "default", "uid": "u", "generation": 2},
        "spec": {"retry": {"limit": 5, "backoffSeconds": 10}, **spec},
        "status": {
            "nodeName": "n1",
            "cpus": [1],
            "numaNode": 0,
            "gpus": [{"index": 0, "uuid": "g"}],
            "runID": 3,
            "failures": 1,
            "lastResult": RESULT,
            "scheduledAt": AGO,
            "startedAt": AGO,
            "exitCode": 137,
            "signal": 9,
            "logs": {"stdoutBytes": 1, "stderrBytes": 0, "truncated": False},
            "conditions": conditions,
        },
    }


SUSPEND = {"suspend": True}

# case, conditions, spec, lost; reason, failures, phase
Case = tuple[str, list[dict[str, str]], dict[str, Any], bool, str, int, str]
CASES: list[Case] = [
    ("a retry", RETRYING, {}, False, "BackOff", 2, "Retrying"),
    ("a retry, suspended meanwhile", RETRYING, SUSPEND, False, "Suspended", 2, "Queued"),
    ("a retry, killed meanwhile", RETRYING, {"desiredState": "Killed"}, False, "BackOff", 2,
     "Stopping"),
    ("suspended", STOPPED, SUSPEND, False, "Suspended", 1, "Queued"),
    ("suspended, and no longer", STOPPED, {}, False, "Queued", 1, "Queued"),
    ("lost", RUNNING, {}, True, "Queued", 1, "Queued"),
    ("lost and suspended", RUNNING, SUSPEND, True, "Suspended", 1, "Queued"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_one_write_begins_the_next_run(case: Case) -> None:
    _, conditions, spec, lost, reason, failures, phase = case
    task = bound(conditions, **spec)

    changes = task_status.unbound(task, NOW, lost=lost)

    after = {k: v for k, v in {**task["status"], **changes}.items() if v is not None}
    TaskStatus.model_validate(after)
    assert (after["runID"], after.get("failures")) == (4, failures)
    assert after.keys() <= {"runID", "failures", "lastResult", "conditions", "phase",
                            "observedGeneration"}  # fmt: skip
    assert [(c["type"], c["status"], c["reason"]) for c in after["conditions"]] == [
        ("Scheduled", "False", reason)
    ]
    assert after["phase"] == phase_of(task["spec"], after) == phase
    assert after["lastResult"]["reason"] == ("HostLost" if lost else "NonZeroExit")
    assert ("exitCode" in after["lastResult"]) != lost


def test_a_result_of_an_earlier_run_is_not_counted_again() -> None:
    """The daemon's word is about the run that it names."""
    task = bound(RETRYING)
    task["status"]["lastResult"] = {**RESULT, "runID": 2}

    assert "failures" not in task_status.unbound(task, NOW)


# --- the whole operator

KEY = Key(NAMESPACE, "t")


def tell(rig: OperatorRig, *conditions: dict[str, str], **status: Any) -> None:
    """Write what a daemon would."""
    kept = [c for c in rig.status("t")["conditions"] if c["type"] == "Scheduled"]
    rig.api.change_status(TASK, KEY, conditions=[*kept, *conditions], **status)


def fail(rig: OperatorRig, after_seconds: float = 0.0) -> None:
    """Let the daemon say that the run failed."""
    ended = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=after_seconds)
    run = rig.status("t")["runID"]
    tell(rig, *RETRYING[1:], lastResult={**RESULT, "runID": run, "finishedAt": now_rfc3339(ended)})


async def unbound(rig: OperatorRig, run: int) -> None:
    await until(lambda: rig.status("t").get("runID") == run, f"run {run}")


async def test_a_failed_run_is_tried_again_when_it_is_due() -> None:
    async with running(OperatorApi()) as rig:
        await rig.add_host()
        rig.add_task("t", retry={"limit": 3, "backoffSeconds": 4}, resources={"cpu": 4})
        await rig.bound("t")
        fail(rig)
        await unbound(rig, 2)
        assert rig.reason("t") == "BackOff"
        assert rig.status("t")["failures"] == 1
        # Its cores are free meanwhile.
        rig.add_task("other", resources={"cpu": 4})
        await rig.bound("other")
        rig.end("other")

        await rig.bound("t")
        assert rig.status("t")["runID"] == 2
        assert rig.reason("t") == "Bound"
        fail(rig)
        await unbound(rig, 3)
        assert rig.status("t")["failures"] == 2
        rig.change("t", desiredState="Killed")
        await until(lambda: "finishedAt" in rig.status("t"), "ended")
        assert rig.reason("t", ConditionType.SUCCEEDED) == "Killed"


async def test_a_new_operator_tries_again_what_the_old_one_held_back() -> None:
    api = OperatorApi()
    async with running(api) as rig:
        await rig.add_host()
        rig.add_task("t", retry={"limit": 3, "backoffSeconds": 4})
        await rig.bound("t")
        fail(rig)
        await unbound(rig, 2)
    async with running(api) as rig:
        assert "nodeName" not in rig.status("t")
        await rig.bound("t")


async def test_suspended_while_it_backs_off() -> None:
    """It waits until it is let go, then for the rest of its pause."""
    async with running(OperatorApi()) as rig:
        await rig.add_host()
        rig.add_task("t", retry={"limit": 3, "backoffSeconds": 1})
        await rig.bound("t")
        fail(rig)
        await unbound(rig, 2)
        rig.change("t", suspend=True)
        await until(lambda: rig.reason("t") == "Suspended", "suspended")
        assert "nodeName" not in rig.status("t")
        rig.change("t", suspend=False)
        await rig.bound("t")
        assert (rig.status("t")["runID"], rig.status("t")["failures"]) == (2, 1)


async def test_cores_are_held_until_the_daemon_has_let_go() -> None:
    async with running(OperatorApi()) as rig:
        await rig.add_host(cores=1)
        rig.add_task("t")
        await rig.bound("t")
        rig.add_task("next")
        rig.change("t", suspend=True)
        await rig.settle()
        assert "nodeName" not in rig.status("next")

        tell(rig, STOPPED[1])
        await rig.bound("next")
        assert rig.reason("t") == "Suspended"


def lose(rig: OperatorRig) -> None:
    """Let nothing be heard of a host, as this or another operator found out."""
    since = now_rfc3339(dt.datetime.now(dt.UTC))
    ready = {**said("Ready", "Unknown", "LeaseExpired"), "lastTransitionTime": since}
    others = [c for c in rig.host("n1")["status"]["conditions"] if c["type"] != "Ready"]
    rig.api.change_status(HOST, Key("", "n1"), conditions=[ready, *others])


@pytest.mark.parametrize("wish", ["Wait", "Restart", "Fail"])
async def test_a_lost_host(wish: str) -> None:
    async with running(OperatorApi()) as rig:
        await rig.add_host("n1")
        grace = 1 if wish == "Wait" else 4
        rig.add_task("t", onHostLost=wish, hostLostGraceSeconds=grace)
        await rig.bound("t")
        await rig.add_host("n2")
        tell(rig, RUNNING[1])
        lose(rig)
        await rig.settle()
        assert rig.status("t")["nodeName"] == "n1"
        assert "finishedAt" not in rig.status("t")
        if wish == "Restart":
            await until(lambda: rig.status("t").get("nodeName") == "n2", "elsewhere")
            status = rig.status("t")
            assert (status["runID"], status.get("failures")) == (2, None)
            assert status["lastResult"]["reason"] == "HostLost"
        elif wish == "Fail":
            await until(lambda: "finishedAt" in rig.status("t"), "ended")
            assert rig.reason("t", "Succeeded") == "HostLost"
            assert rig.status("t")["nodeName"] == "n1"
        else:
            await asyncio.sleep(1.5)  # longer than the grace
            assert rig.status("t")["nodeName"] == "n1"
            assert "finishedAt" not in rig.status("t")


def test_a_run_that_found_no_secret_gives_its_place_to_others_for_a_while() -> None:
    """It has not failed; and it does not come back at once to the core that it has given back."""
    task = bound(STOPPED)
    result = {"runID": 3, "reason": "SecretNotReadable", "finishedAt": now_rfc3339(NOW)}
    task["status"]["lastResult"] = result
    changes = task_status.unbound(task, NOW)
    (scheduled,) = [c for c in changes["conditions"] if c["type"] == "Scheduled"]
    assert (scheduled["status"], scheduled["reason"]) == ("False", "BackOff")
    again = now_rfc3339(NOW + dt.timedelta(seconds=300))
    assert scheduled["message"] == f"run 3: SecretNotReadable, tried again at {again}"
    assert "failures" not in changes
    unbound = {**task["status"], **changes}
    unbound["nodeName"] = None
    waiting = {**task, "status": {k: v for k, v in unbound.items() if v is not None}}
    assert standing_of(waiting, NOW) is Standing.BACKING_OFF
    assert standing_of(waiting, NOW + dt.timedelta(seconds=300)) is Standing.PENDING
