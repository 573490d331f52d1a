"""What status is told, case by case."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from weir_crds.conditions import MAX_MESSAGE, Reason
from weir_crds.phase import phase_of
from weir_crds.task import TaskSpec, TaskStatus
from weir_kube.status import status_patch
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.journal import JournalEntry, StopReason
from weir_nodedaemon.kinds.task import status as report
from weir_nodedaemon.kinds.task import verdict
from weir_nodedaemon.logs import LogSummary

NOW = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)
STARTED_AT = dt.datetime(2026, 11, 22, 9, 59, 58, 123456, tzinfo=dt.UTC)
FINISHED_AT = dt.datetime(2026, 11, 22, 9, 59, 59, 654321, tzinfo=dt.UTC)
BOUND = {
    "type": "Scheduled",
    "status": "True",
    "reason": "Bound",
    "message": "",
    "lastTransitionTime": "2026-11-22T09:59:57.000000Z",
}


def task(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "t", "namespace": "default", "uid": "u", "generation": 3},
        "spec": {"image": "busybox", "desiredState": "Running"},
        "status": {"nodeName": "n1", "runID": 1, "cpus": [2], "conditions": [BOUND], **status},
    }


def exited(code: int, **fields: Any) -> ObservedInstance:
    return ObservedInstance(
        name="weir-u-1",
        labels={},
        state=InstanceState.EXITED,
        exit_code=code,
        started_at=STARTED_AT,
        finished_at=FINISHED_AT,
        **fields,
    )


def note(reason: StopReason | None = None) -> JournalEntry:
    return JournalEntry("Task", "default", "t", started=True, stop_reason=reason)


def parsed(**spec: Any) -> TaskSpec:
    return TaskSpec.model_validate({"image": "busybox", **spec})


def applied(obj: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the object after the changes, which must fit the CRD."""
    status = {**obj["status"], **changes}
    TaskStatus.model_validate(status)
    return {**obj, "status": status}


def conditions(obj: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in obj["status"]["conditions"]}


SUSPEND = {"suspend": True}
KILL = {"desiredState": "Killed"}

# case, container, note, spec, reason, signal
Case = tuple[str, ObservedInstance, JournalEntry, dict[str, Any], str, int | None]
VERDICTS: list[Case] = [
    ("success", exited(0), note(), {}, "Completed", None),
    ("exit 3", exited(3), note(), {}, "NonZeroExit", None),
    ("exit 128 is no signal", exited(128), note(), {}, "NonZeroExit", None),
    ("a signal", exited(139), note(), {}, "Signalled", 11),
    ("the last signal", exited(192), note(), {}, "Signalled", 64),
    ("exit 193 is no signal", exited(193), note(), {}, "NonZeroExit", None),
    ("out of memory", exited(137, oom_killed=True), note(), {}, "OOMKilled", 9),
    ("a child ran out of memory, the program coped", exited(0, oom_killed=True), note(), {},
     "Completed", None),
    ("out of memory once, killed now", exited(137, oom_killed=True), note(StopReason.KILLED), {},
     "Killed", 9),
    ("a child ran out of memory, the program failed later", exited(3, oom_killed=True), note(), {},
     "NonZeroExit", None),
    ("a child ran out of memory, the time was over later", exited(143, oom_killed=True),
     note(StopReason.TIMED_OUT), {}, "TimedOut", 15),
    ("a child ran out of memory, then another signal", exited(139, oom_killed=True), note(), {},
     "Signalled", 11),
    ("ended well before its time was noted to be over", exited(0),
     replace(note(StopReason.TIMED_OUT), stop_noted=NOW), {}, "Completed", None),
    ("failed before its time was noted to be over", exited(3),
     replace(note(StopReason.TIMED_OUT), stop_noted=NOW), {}, "NonZeroExit", None),
    ("ended by TERM after its time was over", exited(0),
     replace(note(StopReason.TIMED_OUT), stop_noted=STARTED_AT), {}, "TimedOut", None),
    ("killed by TERM", exited(143), note(StopReason.KILLED), {}, "Killed", 15),
    ("killed by KILL", exited(137), note(StopReason.KILLED), {}, "Killed", 9),
    ("killed, and ended well at TERM", exited(0), note(StopReason.KILLED), {}, "Killed", None),
    ("killed, and gave a code of its own", exited(5), note(StopReason.KILLED), {}, "Killed", None),
    ("timed out", exited(143), note(StopReason.TIMED_OUT), {}, "TimedOut", 15),
    ("killed, the note is lost", exited(143), note(), {"desiredState": "Killed"}, "Killed", 15),
    ("ended well before the kill reached it", exited(0), note(), {"desiredState": "Killed"},
     "Completed", None),
    ("missing program", exited(127, error="exec x failed: No such file"), note(), {},
     "CreateFailed", None),
    ("not executable", exited(126, error="exec x failed: Permission denied"), note(), {},
     "CreateFailed", None),
    ("127 of its own", exited(127), note(), {}, "NonZeroExit", None),
    ("suspended", exited(143), note(StopReason.SUSPENDED), SUSPEND, "Suspended", 15),
    ("suspended, and ended well at TERM", exited(0), note(StopReason.SUSPENDED), SUSPEND,
     "Suspended", None),
    ("suspended, and no longer", exited(137), note(StopReason.SUSPENDED), {}, "Suspended", 9),
    ("suspended, the note is lost", exited(143), note(), SUSPEND, "Suspended", 15),
    ("suspended, and it failed by itself", exited(3), note(), SUSPEND, "NonZeroExit", None),
    ("suspended, and it ran out of memory by itself", exited(137, oom_killed=True), note(),
     SUSPEND, "OOMKilled", 9),
    ("ended well before the stop was noted", exited(0), replace(note(StopReason.SUSPENDED),
     stop_noted=NOW), SUSPEND, "Completed", None),
    ("suspended, then killed", exited(143), note(StopReason.SUSPENDED), KILL, "Killed", 15),
    ("timed out, then suspended", exited(143), note(StopReason.TIMED_OUT), SUSPEND, "TimedOut", 15),
    ("fenced", exited(143), note(StopReason.HOST_LOST), {"onHostLost": "Restart"}, "HostLost", 15),
    ("fenced for good", exited(143), note(StopReason.HOST_LOST), {"onHostLost": "Fail"},
     "HostLost", 15),
    ("fenced, then killed", exited(143), note(StopReason.HOST_LOST),
     {"onHostLost": "Fail", **KILL}, "Killed", 15),
]  # fmt: skip


@pytest.mark.parametrize("case", VERDICTS, ids=[case[0] for case in VERDICTS])
def test_the_verdict(case: Case) -> None:
    _, container, record, spec, reason, signal = case

    found = verdict.judge(container, record, parsed(**spec))

    assert found.reason == reason
    assert found.signal == signal
    assert found.exit_code == container.exit_code
    assert found.succeeded == (reason == "Completed")


def test_the_end_of_a_run_whose_start_was_not_told() -> None:
    """One write holds all of it, with the container's own times."""
    result = verdict.judge(exited(3), note(), parsed())
    ended = applied(
        task(), report.end_changes(task(), result, exited(3), LogSummary(5, 2, False), NOW)
    )

    status = ended["status"]
    assert status["startedAt"] == "2026-11-22T09:59:58.123456Z"
    assert status["finishedAt"] == "2026-11-22T09:59:59.654321Z"
    assert status["exitCode"] == 3
    assert "signal" not in status
    assert status["logs"] == {"stdoutBytes": 5, "stderrBytes": 2, "truncated": False}
    assert status["phase"] == "Failed"
    assert status["observedGeneration"] == 3
    assert conditions(ended) == {
        "Scheduled": ("True", "Bound"),
        "Started": ("True", "ContainerStarted"),
        "Succeeded": ("False", "NonZeroExit"),
    }


def test_the_end_of_a_run_that_is_told_to_be_paused() -> None:
    running = exited(143)
    paused = applied(task(), report.running_changes(task(), running, NOW))
    frozen = ObservedInstance("weir-u-1", {}, InstanceState.PAUSED, started_at=STARTED_AT)
    paused = applied(paused, report.running_changes(paused, frozen, NOW))
    assert conditions(paused)["Paused"] == ("True", "Paused")
    assert paused["status"]["phase"] == "Paused"

    result = verdict.judge(running, note(StopReason.KILLED), parsed())
    ended = applied(paused, report.end_changes(paused, result, running, None, NOW))

    assert conditions(ended)["Paused"] == ("False", "Resumed")
    assert ended["status"]["phase"] == "Killed"
    assert ended["status"]["startedAt"] == paused["status"]["startedAt"]


def test_a_kill_before_the_start_has_no_exit_code() -> None:
    ended = applied(task(), report.end_changes(task(), verdict.KILLED_UNSTARTED, None, None, NOW))

    status = ended["status"]
    assert status["finishedAt"] == "2026-11-22T10:00:00.000000Z"
    assert status.keys().isdisjoint({"exitCode", "signal", "startedAt", "logs"})
    assert conditions(ended) == {"Scheduled": ("True", "Bound"), "Succeeded": ("False", "Killed")}


@pytest.mark.parametrize("result", [verdict.create_failed("no"), verdict.image_pull_failed("no")])
def test_what_could_not_start_says_so_in_both_conditions(result: verdict.Verdict) -> None:
    ended = applied(task(), report.end_changes(task(), result, None, None, NOW))

    assert conditions(ended)["Started"] == ("False", result.reason)
    assert conditions(ended)["Succeeded"] == ("False", result.reason)
    assert "startedAt" not in ended["status"]


def test_every_report_made_twice_changes_nothing() -> None:
    """Also later: no message holds a clock."""
    later = NOW + dt.timedelta(seconds=5)
    running = ObservedInstance("weir-u-1", {}, InstanceState.RUNNING, started_at=STARTED_AT)
    reports = [
        lambda obj, now: report.not_started_changes(obj, Reason.PULLING_IMAGE, "pulls x", now),
        report.held_changes,
        lambda obj, now: report.running_changes(obj, running, now),
    ]
    for make in reports:
        told = applied(task(), make(task(), NOW))
        assert status_patch(told["status"], make(told, later)) == {}


def test_a_long_message_is_cut_and_has_one_line() -> None:
    changes = report.not_started_changes(task(), Reason.IMAGE_PULL_FAILED, "a\nb " * 10_000, NOW)

    message = changes["conditions"][-1]["message"]
    assert len(message) <= MAX_MESSAGE
    assert message.startswith("a b a b")


def retried(**spec: Any) -> dict[str, Any]:
    obj = task(
        startedAt="2026-11-22T09:59:58.000000Z",
        lastResult={"runID": 0, "reason": "NonZeroExit", "exitCode": 3},
    )
    obj["spec"] |= {"retry": {"limit": 1}, **spec}
    paused = {**BOUND, "type": "Paused", "status": "False", "reason": "Resumed"}
    obj["status"]["conditions"] = [BOUND, {**BOUND, "type": "Started"}, paused]
    return obj


# case, spec, note, conditions afterwards, lastResult's reason, phase
AGAIN: list[tuple[str, dict[str, Any], JournalEntry, dict[str, tuple[str, str]], str, str]] = [
    ("retried", {}, note(), {"Succeeded": ("Unknown", "Retrying")}, "Signalled", "Retrying"),
    ("suspended", SUSPEND, note(StopReason.SUSPENDED), {}, "Suspended", "Stopping"),
    ("suspended, and no longer", {}, note(StopReason.SUSPENDED), {}, "Suspended", "Stopping"),
    ("fenced", {"onHostLost": "Restart"}, note(StopReason.HOST_LOST), {}, "HostLost", "Stopping"),
    ("failed, and suspended meanwhile", SUSPEND, note(StopReason.TIMED_OUT),
     {"Succeeded": ("Unknown", "Retrying")}, "TimedOut", "Stopping"),
]  # fmt: skip


@pytest.mark.parametrize("case", AGAIN, ids=[case[0] for case in AGAIN])
def test_a_run_that_is_not_the_last_is_given_back(case: Any) -> None:
    """One write; there is no end in it, and the last condition says what happens."""
    _, spec, record, more, reason, phase = case
    obj = retried(**spec)

    result = verdict.judge(exited(143), record, parsed(**obj["spec"]))
    after = applied(obj, report.run_changes(obj, result, exited(143), None, NOW))

    status = after["status"]
    assert conditions(after) == {
        "Scheduled": ("True", "Bound"), "Started": ("False", "Stopped"), **more
    }  # fmt: skip
    assert status["lastResult"] == {
        "runID": 1,
        "reason": reason,
        "nodeName": "n1",
        "exitCode": 143,
        "finishedAt": "2026-11-22T09:59:59.654321Z",
    }
    assert not {"finishedAt", "exitCode", "signal", "logs"} & status.keys()
    assert status["phase"] == phase_of(obj["spec"], status) == phase


@pytest.mark.parametrize(
    ("case", "spec", "record", "reason"),
    [
        ("the last failure", {"retry": {"limit": 0}}, note(), "Signalled"),
        ("fenced for good", {"onHostLost": "Fail"}, note(StopReason.HOST_LOST), "HostLost"),
        (
            "killed while it was suspended",
            {**SUSPEND, **KILL},
            note(StopReason.SUSPENDED),
            "Killed",
        ),
    ],
)
def test_the_last_run_is_the_end(
    case: str, spec: dict[str, Any], record: JournalEntry, reason: str
) -> None:
    obj = retried(**spec)
    result = verdict.judge(exited(143), record, parsed(**obj["spec"]))
    after = applied(obj, report.run_changes(obj, result, exited(143), None, NOW))

    assert conditions(after)["Succeeded"] == ("False", reason), case
    assert "finishedAt" in after["status"]


def test_what_never_ran_leaves_no_result() -> None:
    obj = task()
    changes = report.run_changes(obj, verdict.interruption(None), None, None, NOW)

    assert "lastResult" not in changes
    assert conditions(applied(obj, changes))["Started"] == ("False", "Stopped")


def test_a_result_replaces_the_one_before_it_whole() -> None:
    """A code of an earlier run is not taken over."""
    obj = retried(suspend=True)
    lost = verdict.interruption(StopReason.HOST_LOST)
    obj["status"]["conditions"] = [{**BOUND, "type": "Started", "reason": "ContainerStarted"}]

    changes = report.run_changes(obj, lost, None, None, NOW)

    assert status_patch(obj["status"], changes)["lastResult"]["exitCode"] is None
