"""What the daemon does next, case by case."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.journal import JournalEntry, StopReason
from weir_nodedaemon.kinds.task.plan import TELL_START_AFTER, Act, plan, running_time

NOW = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
FRESH = JournalEntry("default", "t")
STARTED = {"conditions": [{"type": "Started", "status": "True", "reason": "ContainerStarted"}]}
PAUSED = {
    "conditions": [*STARTED["conditions"], {"type": "Paused", "status": "True", "reason": "Paused"}]
}
ENDED = {"finishedAt": "2026-11-22T09:59:00.000000Z"}


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec.model_validate({"image": "busybox", "command": ["true"], **fields})


def container(state: str, *, age: float = 60.0) -> ObservedInstance:
    ran = state not in ("created", "removing")
    return ObservedInstance(
        name="weir-u-1",
        labels={},
        state=InstanceState(state),
        started_at=NOW - age * SECOND if ran else None,
    )


KILLED = {"desiredState": "Killed"}
PAUSE = {"desiredState": "Paused"}
TERMED = replace(
    FRESH,
    started=True,
    stop_reason=StopReason.KILLED,
    stop_deadline=NOW + 5 * SECOND,
    term_sent=True,
)
OVERDUE = replace(TERMED, stop_deadline=NOW)

SUSPEND = {"suspend": True}
RESTART = {"onHostLost": "Restart"}
HALTED = replace(TERMED, stop_reason=StopReason.SUSPENDED)
FENCED = replace(TERMED, stop_reason=StopReason.HOST_LOST)
STOPPED = {
    "nodeName": "n1",
    "runID": 1,
    "conditions": [{"type": "Started", "status": "False", "reason": "Stopped"}],
}

# case, spec, status, state of the container, record, what to do, when to look again
Case = tuple[str, dict[str, Any], dict[str, Any], str | None, JournalEntry, Act, float | None]
CASES: list[Case] = [
    ("bound: start it", {}, {}, None, FRESH, Act.START, None),
    ("created but not started: start it", {}, {}, "created", FRESH, Act.START, None),
    ("paused before its start: hold it", PAUSE, {}, None, FRESH, Act.HOLD, None),
    ("paused before its start, created: hold it", PAUSE, {}, "created", FRESH, Act.HOLD, None),
    ("killed before its start", KILLED, {}, None, FRESH, Act.FINISH_UNSTARTED, None),
    ("killed when created only", KILLED, {}, "created", FRESH, Act.FINISH_UNSTARTED, None),
    ("runs, not told: tell it", {}, {}, "running", FRESH, Act.TELL, None),
    ("runs, told: nothing", {}, STARTED, "running", FRESH, Act.NOTHING, None),
    ("paused, not told: tell it", PAUSE, STARTED, "paused", FRESH, Act.TELL, None),
    ("paused, told: nothing", PAUSE, PAUSED, "paused", FRESH, Act.NOTHING, None),
    ("runs and shall pause", PAUSE, STARTED, "running", FRESH, Act.PAUSE, None),
    ("paused and shall run", {}, PAUSED, "paused", FRESH, Act.RESUME, None),
    ("runs again, not told: tell it", {}, PAUSED, "running", FRESH, Act.TELL, None),
    ("somebody paused it behind our back", {}, STARTED, "paused", FRESH, Act.RESUME, None),
    ("runs and is killed", KILLED, STARTED, "running", FRESH, Act.TERMINATE, 10),
    ("paused and killed", KILLED, PAUSED, "paused", FRESH, Act.TERMINATE, 10),
    ("killed, start not told", KILLED, {}, "running", FRESH, Act.TERMINATE, 10),
    ("killed without grace", {**KILLED, "stopGraceSeconds": 0}, STARTED, "running", FRESH,
     Act.TERMINATE, 0),
    ("TERM sent: wait for the grace", KILLED, STARTED, "running", TERMED, Act.NOTHING, 5),
    ("grace over: KILL", KILLED, STARTED, "running", OVERDUE, Act.KILL, 2),
    ("TERM noted, not sent: once more", KILLED, STARTED, "running",
     replace(OVERDUE, term_sent=False), Act.TERMINATE, 10),
    ("time left", {"timeoutSeconds": 90}, STARTED, "running", FRESH, Act.NOTHING, 30),
    ("time over", {"timeoutSeconds": 60}, STARTED, "running", FRESH, Act.TERMINATE, 10),
    ("pauses do not count", {"timeoutSeconds": 60}, STARTED, "running",
     replace(FRESH, paused_seconds=20.0), Act.NOTHING, 20),
    ("a paused Task's time stands still", {**PAUSE, "timeoutSeconds": 60}, PAUSED, "paused",
     replace(FRESH, paused_since=NOW - 30 * SECOND), Act.NOTHING, None),
    ("timed out: pausing does not help any more", {**PAUSE, "timeoutSeconds": 60}, STARTED,
     "running", replace(TERMED, stop_reason=StopReason.TIMED_OUT), Act.NOTHING, 5),
    ("exited: finish", {}, STARTED, "exited", FRESH, Act.FINISH, None),
    ("exited before its start was told: finish", {}, {}, "exited", FRESH, Act.FINISH, None),
    ("exited and killed: finish", KILLED, STARTED, "exited", TERMED, Act.FINISH, None),
    ("exited and paused: finish", PAUSE, PAUSED, "exited", FRESH, Act.FINISH, None),
    ("somebody removes it: help, and look again", {}, STARTED, "removing", FRESH, Act.DISCARD, 0.5),
    ("finished, its removal was cut off: once more", {}, ENDED, "removing", FRESH, Act.DISCARD,
     None),
    ("told to run, container gone: lost", {}, STARTED, None, FRESH, Act.FINISH_LOST, None),
    ("noted to run, container gone: lost", {}, {}, None, replace(FRESH, started=True),
     Act.FINISH_LOST, None),
    ("killed, container gone: lost all the same", KILLED, STARTED, None, TERMED,
     Act.FINISH_LOST, None),
    ("finished, nothing left", {}, ENDED, None, FRESH, Act.NOTHING, None),
    ("finished: remove the container", {}, ENDED, "exited", FRESH, Act.DISCARD, None),
    ("finished, created late: remove it", KILLED, ENDED, "created", FRESH, Act.DISCARD, None),
    ("finished by somebody else, still runs: stop it", {}, ENDED, "running", FRESH,
     Act.TERMINATE, 10),
    ("finished, being stopped: wait", {}, ENDED, "running", TERMED, Act.NOTHING, 5),
    ("finished, grace over: KILL", {}, ENDED, "paused", OVERDUE, Act.KILL, 2),
    ("suspended before its start: give it back", SUSPEND, {}, None, FRESH, Act.GIVE_BACK, None),
    ("suspended when created only", SUSPEND, {}, "created", FRESH, Act.GIVE_BACK, None),
    ("suspended and paused before its start", {**SUSPEND, **PAUSE}, {}, None, FRESH,
     Act.GIVE_BACK, None),
    ("suspended and killed before its start", {**SUSPEND, **KILLED}, {}, None, FRESH,
     Act.FINISH_UNSTARTED, None),
    ("runs and is suspended", SUSPEND, STARTED, "running", FRESH, Act.TERMINATE, 10),
    ("paused and suspended", {**SUSPEND, **PAUSE}, PAUSED, "paused", FRESH, Act.TERMINATE, 10),
    ("no longer suspended: the stop goes through", {}, STARTED, "running", HALTED,
     Act.NOTHING, 5),
    ("suspended, grace over: KILL", SUSPEND, STARTED, "running",
     replace(HALTED, stop_deadline=NOW), Act.KILL, 2),
    ("suspended and exited: finish", SUSPEND, STARTED, "exited", HALTED, Act.FINISH, None),
    ("stopped for a suspension, container gone: give it back", {}, STARTED, None, HALTED,
     Act.GIVE_BACK, None),
    ("fenced, container gone: give it back", RESTART, STARTED, None, FENCED, Act.GIVE_BACK, None),
    ("fenced, container gone, not to be restarted: lost", {"onHostLost": "Fail"}, STARTED, None,
     FENCED, Act.FINISH_LOST, None),
    ("fenced, killed meanwhile, container gone: lost", {**RESTART, **KILLED}, STARTED, None,
     FENCED, Act.FINISH_LOST, None),
    ("given back, nothing left", {}, STOPPED, None, FRESH, Act.NOTHING, None),
    ("given back, killed meanwhile", KILLED, STOPPED, None, FRESH, Act.NOTHING, None),
    ("given back: remove the container", {}, STOPPED, "exited", HALTED, Act.DISCARD, None),
    ("given back, created late: remove it", SUSPEND, STOPPED, "created", FRESH, Act.DISCARD, None),
    ("given back, started late: stop it", SUSPEND, STOPPED, "running", FRESH, Act.TERMINATE, 10),
]  # fmt: skip


@pytest.mark.parametrize(("case"), CASES, ids=[case[0] for case in CASES])
def test_the_next_step(case: Case) -> None:
    _, fields, status, state, record, act, seconds = case
    seen = None if state is None else container(state)

    found = plan(spec(**fields), status, seen, record, NOW)

    assert found.act is act
    look_again = None if seconds is None else seconds * SECOND
    assert found.requeue_after == look_again


def test_a_start_is_told_only_after_a_moment() -> None:
    """What ends at once costs one write."""
    found = plan(spec(), {}, container("running", age=0.1), FRESH, NOW)

    assert found.act is Act.NOTHING
    assert found.requeue_after == TELL_START_AFTER - 0.1 * SECOND


def test_a_clock_that_jumped_back_does_not_keep_a_start_untold() -> None:
    assert plan(spec(), {}, container("running", age=-3600), FRESH, NOW).act is Act.TELL


def test_a_stop_is_noted_with_reason_and_deadline() -> None:
    found = plan(
        spec(timeoutSeconds=60, stopGraceSeconds=3), STARTED, container("running"), FRESH, NOW
    )

    assert found.record.stop_reason is StopReason.TIMED_OUT
    assert found.record.stop_deadline == NOW + 3 * SECOND
    assert not found.record.term_sent


def test_a_timeout_that_came_first_stays_the_reason_of_the_stop() -> None:
    timed_out = replace(TERMED, stop_reason=StopReason.TIMED_OUT)

    found = plan(spec(**KILLED), STARTED, container("running"), timed_out, NOW)

    assert found.record.stop_reason is StopReason.TIMED_OUT


def test_pauses_are_noted_by_what_is_observed() -> None:
    paused = plan(spec(**PAUSE), STARTED, container("paused"), FRESH, NOW).record
    assert paused.paused_since == NOW

    later = NOW + 7 * SECOND
    resumed = plan(spec(), PAUSED, container("running"), paused, later).record
    assert resumed.paused_since is None
    assert resumed.paused_seconds == 7.0
    assert running_time(container("running"), resumed, later) == 60 * SECOND


def test_a_plan_made_twice_is_the_same() -> None:
    """The second time with what the first one noted."""
    for _, fields, status, state, record, _act, _seconds in CASES:
        seen = None if state is None else container(state)
        first = plan(spec(**fields), status, seen, record, NOW)
        assert plan(spec(**fields), status, seen, first.record, NOW) == first
