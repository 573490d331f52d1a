"""What the daemon does next, case by case."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.identity import Moment
from weir_nodedaemon.instances.journal import Ended, JournalEntry, StopReason
from weir_nodedaemon.instances.stop import stop_step
from weir_nodedaemon.kinds.task import verdict
from weir_nodedaemon.kinds.task.plan import REPORT_START_AFTER, Act, plan, running_seconds

NOW = Moment(dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC), 5000.0)
SECOND = dt.timedelta(seconds=1)
FRESH = JournalEntry("Task", "default", "t")
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
        started_at=NOW.at - age * SECOND if ran else None,
    )


KILLED = {"desiredState": "Killed"}
PAUSE = {"desiredState": "Paused"}
TERMED = replace(
    FRESH,
    started=True,
    stop_reason=StopReason.KILLED,
    kill_uptime=NOW.uptime + 5,
    term_sent=True,
)

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
    ("runs, not told: tell it", {}, {}, "running", FRESH, Act.REPORT, None),
    ("runs, told: nothing", {}, STARTED, "running", FRESH, Act.NOTHING, None),
    ("paused, not told: tell it", PAUSE, STARTED, "paused", FRESH, Act.REPORT, None),
    ("paused, told: nothing", PAUSE, PAUSED, "paused", FRESH, Act.NOTHING, None),
    ("runs and shall pause", PAUSE, STARTED, "running", FRESH, Act.PAUSE, None),
    ("paused and shall run", {}, PAUSED, "paused", FRESH, Act.RESUME, None),
    ("runs again, not told: tell it", {}, PAUSED, "running", FRESH, Act.REPORT, None),
    ("somebody paused it behind our back", {}, STARTED, "paused", FRESH, Act.RESUME, None),
    ("runs and is killed", KILLED, STARTED, "running", FRESH, Act.STOP, None),
    ("paused and killed", KILLED, PAUSED, "paused", FRESH, Act.STOP, None),
    ("killed, start not told", KILLED, {}, "running", FRESH, Act.STOP, None),
    ("killed without grace", {**KILLED, "stopGraceSeconds": 0}, STARTED, "running", FRESH,
     Act.STOP, None),
    ("time left", {"timeoutSeconds": 90}, STARTED, "running", FRESH, Act.NOTHING, 30),
    ("time over", {"timeoutSeconds": 60}, STARTED, "running", FRESH, Act.STOP, None),
    ("pauses do not count", {"timeoutSeconds": 60}, STARTED, "running",
     replace(FRESH, paused_seconds=20.0), Act.NOTHING, 20),
    ("a paused Task's time stands still", {**PAUSE, "timeoutSeconds": 60}, PAUSED, "paused",
     replace(FRESH, paused_uptime=NOW.uptime - 30), Act.NOTHING, None),
    ("timed out: pausing does not help any more", {**PAUSE, "timeoutSeconds": 60}, STARTED,
     "running", replace(TERMED, stop_reason=StopReason.TIMED_OUT), Act.STOP, None),
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
    ("somebody removed it, its end is noted: finish", {}, STARTED, None, replace(FRESH,
     ended=Ended(3, False, "", None, NOW.at)), Act.FINISH, None),
    ("the engine cannot show it: ask again", {}, STARTED, "unknown", FRESH, Act.NOTHING, 2),
    ("finished, nothing left", {}, ENDED, None, FRESH, Act.NOTHING, None),
    ("finished: remove the container", {}, ENDED, "exited", FRESH, Act.DISCARD, None),
    ("finished, created late: remove it", KILLED, ENDED, "created", FRESH, Act.DISCARD, None),
    ("finished by somebody else, still runs: stop it", {}, ENDED, "running", FRESH,
     Act.STOP, None),
    ("finished, being stopped: go on", {}, ENDED, "running", TERMED, Act.STOP, None),
    ("suspended before its start: give it back", SUSPEND, {}, None, FRESH, Act.GIVE_BACK, None),
    ("suspended when created only", SUSPEND, {}, "created", FRESH, Act.GIVE_BACK, None),
    ("suspended and paused before its start", {**SUSPEND, **PAUSE}, {}, None, FRESH,
     Act.GIVE_BACK, None),
    ("suspended and killed before its start", {**SUSPEND, **KILLED}, {}, None, FRESH,
     Act.FINISH_UNSTARTED, None),
    ("runs and is suspended", SUSPEND, STARTED, "running", FRESH, Act.STOP, None),
    ("paused and suspended", {**SUSPEND, **PAUSE}, PAUSED, "paused", FRESH, Act.STOP, None),
    ("no longer suspended: the stop goes through", {}, STARTED, "running", HALTED,
     Act.STOP, None),
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
    ("given back, started late: stop it", SUSPEND, STOPPED, "running", FRESH, Act.STOP, None),
]  # fmt: skip


@pytest.mark.parametrize(("case"), CASES, ids=[case[0] for case in CASES])
def test_the_next_step(case: Case) -> None:
    _, fields, status, state, entry, act, seconds = case
    seen = None if state is None else container(state)

    found = plan(spec(**fields), status, seen, entry, NOW)

    assert found.act is act
    look_again = None if seconds is None else seconds * SECOND
    assert found.requeue_after == look_again


def test_a_start_is_reported_only_after_a_moment() -> None:
    """What ends at once costs one write."""
    found = plan(spec(), {}, container("running", age=0.1), FRESH, NOW)

    assert found.act is Act.NOTHING
    assert found.requeue_after == REPORT_START_AFTER - 0.1 * SECOND


def test_a_clock_that_was_set_back_keeps_no_start_unreported() -> None:
    first = plan(spec(), {}, container("running", age=-3600), FRESH, NOW)
    assert first.requeue_after == REPORT_START_AFTER
    later = Moment(NOW.at, NOW.uptime + 0.25)
    assert plan(spec(), {}, container("running", age=-3600), first.entry, later).act is Act.REPORT


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_timeout_counts_on_whatever_is_done_to_the_clock(step: float) -> None:
    limited = spec(timeoutSeconds=90)
    noted = plan(limited, STARTED, container("running"), FRESH, NOW).entry

    early = Moment(NOW.at + step * SECOND, NOW.uptime + 29)
    assert plan(limited, STARTED, container("running"), noted, early).act is Act.NOTHING
    late = Moment(NOW.at + step * SECOND, NOW.uptime + 30)
    assert plan(limited, STARTED, container("running"), noted, late).stop is StopReason.TIMED_OUT


def test_what_was_noted_before_a_reboot_is_measured_anew() -> None:
    noted = replace(FRESH, started_uptime=NOW.uptime + 1)
    found = plan(spec(timeoutSeconds=90), STARTED, container("running"), noted, NOW)
    assert (found.act, found.requeue_after) == (Act.NOTHING, 30 * SECOND)


@pytest.mark.parametrize(
    ("fields", "status", "entry", "reason"),
    [
        (KILLED, STARTED, FRESH, StopReason.KILLED),
        (SUSPEND, STARTED, FRESH, StopReason.SUSPENDED),
        ({"timeoutSeconds": 60}, STARTED, FRESH, StopReason.TIMED_OUT),
        ({}, ENDED, FRESH, StopReason.KILLED),
        (KILLED, STARTED, replace(TERMED, stop_reason=StopReason.TIMED_OUT), StopReason.TIMED_OUT),
        ({}, STARTED, HALTED, StopReason.SUSPENDED),
    ],
)
def test_why_it_is_stopped(
    fields: dict[str, Any], status: dict[str, Any], entry: JournalEntry, reason: StopReason
) -> None:
    found = plan(spec(**fields), status, container("running"), entry, NOW)
    assert (found.act, found.stop) == (Act.STOP, reason)


def test_pauses_are_noted_by_what_is_observed() -> None:
    paused = plan(spec(**PAUSE), STARTED, container("paused"), FRESH, NOW).entry
    assert paused.paused_uptime == NOW.uptime

    later = Moment(NOW.at + 7 * SECOND, NOW.uptime + 7)
    resumed = plan(spec(), PAUSED, container("running"), paused, later).entry
    assert resumed.paused_uptime is None
    assert resumed.paused_seconds == 7.0
    assert running_seconds(resumed, later) == 60


def test_an_end_is_noted_when_it_is_seen_first() -> None:
    seen = replace(container("exited"), exit_code=3, finished_at=NOW.at)
    noted = plan(spec(), STARTED, seen, FRESH, NOW).entry
    assert noted.ended == Ended(3, False, "", seen.started_at, NOW.at)
    again = plan(spec(), STARTED, replace(seen, exit_code=0), noted, NOW).entry
    assert again.ended == noted.ended


def test_a_plan_made_twice_is_the_same() -> None:
    """The second time with what the first one noted."""
    for _, fields, status, state, entry, _act, _seconds in CASES:
        seen = None if state is None else container(state)
        first = plan(spec(**fields), status, seen, entry, NOW)
        assert plan(spec(**fields), status, seen, first.entry, NOW) == first


@pytest.mark.parametrize(
    ("clock", "ended", "reason"),
    [
        pytest.param(-3600, 1, "Killed", id="set back, then it ended by the TERM"),
        pytest.param(3600, 1, "Killed", id="set forward, then it ended by the TERM"),
        pytest.param(0, 1, "Killed", id="ended by the TERM"),
        pytest.param(0, -1, "Completed", id="had ended before"),
    ],
)
def test_a_clock_that_is_set_makes_no_stop_an_end_of_its_own(
    clock: int, ended: int, reason: str
) -> None:
    noted = stop_step(FRESH, StopReason.KILLED, 10.0, NOW).entry
    exited = replace(
        container("exited"), exit_code=0, finished_at=NOW.at + (clock + ended) * SECOND
    )
    later = Moment(NOW.at + (clock + 2) * SECOND, NOW.uptime + 2)
    todo = plan(spec(**KILLED), STARTED, exited, noted, later)
    assert todo.act is Act.FINISH
    assert verdict.judge(exited, todo.entry, spec(**KILLED)).reason == reason
