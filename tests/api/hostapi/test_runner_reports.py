"""What a runner's report makes of a Task's status."""

import datetime as dt
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from support.rest_tasks import condition, ended, made_task, running
from weir_api.hostapi.runners.translate import Refusal, Report, changes_of
from weir_api.hostapi.tasks.view import status_of
from weir_api.hostapi.tasks.wire import Status
from weir_crds.task import TaskStatus

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
EARLIER = dt.datetime(2026, 11, 22, 11, 30, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 11, 22, 13, tzinfo=dt.UTC)
BOUND = {
    "nodeName": "n1",
    "runID": 1,
    "cpus": [],
    "conditions": [condition("Scheduled", "True", "Bound")],
}
PREPARING = BOUND | {
    "conditions": [*BOUND["conditions"], condition("Started", "False", "PullingImage")]
}
PAUSED = running(conditions=[*running()["conditions"], condition("Paused", "True", "Paused")])
STOPPED = BOUND | {"conditions": [condition("Started", "False", "Stopped")]}
RETRY = {"retry": {"limit": 1, "backoffSeconds": 1}}


def after(status: Mapping[str, Any], report: Report, **spec: Any) -> Any:
    """Return the status after a report, or why it is refused; what comes out has to be valid."""
    task = made_task(spec=spec, status=dict(status))
    changes = changes_of(task, report, NOW)
    if isinstance(changes, Refusal):
        return changes.reason
    told = {**status, **changes}
    TaskStatus.model_validate({k: v for k, v in told.items() if v is not None})
    return told


def word(told: Any, **spec: Any) -> str:
    return status_of(made_task(spec=spec)["spec"], told, host_ready=True)


def told_of(told: Mapping[str, Any], type: str) -> tuple[str, str] | None:
    found = [each for each in told["conditions"] if each["type"] == type]
    return (found[0]["status"], found[0]["reason"]) if found else None


@pytest.mark.parametrize(
    ("sentence", "before", "report", "becomes"),
    [
        ("preparing begins", BOUND, Report("pending"), Status.PENDING),
        ("preparing goes on", PREPARING, Report("assigning", message="layer 3"), Status.PENDING),
        ("it runs", BOUND, Report("running"), Status.RUNNING),
        ("it runs after preparing", PREPARING, Report("running"), Status.RUNNING),
        ("it runs on", running(), Report("running"), Status.RUNNING),
        ("it is paused", running(), Report("paused"), Status.PAUSED),
        ("it is paused still", PAUSED, Report("paused"), Status.PAUSED),
        ("it goes on", PAUSED, Report("running"), Status.RUNNING),
        ("it has ended well", running(), Report("completed", 0), Status.COMPLETED),
        ("it has ended well while paused", PAUSED, Report("completed", 0), Status.COMPLETED),
        ("it has ended before it was said to run", BOUND, Report("completed", 0), "completed"),
        ("it has failed", running(), Report("failed", 3), Status.FAILED),
        ("it has failed by a signal", running(), Report("failed", 143), Status.FAILED),
        ("it could not be started", PREPARING, Report("failed", -1), Status.FAILED),
        ("it was killed", running(), Report("killed", 137), Status.KILLED),
        ("it ran out of memory", running(), Report("killed_oom", -9), Status.KILLED_OOM),
    ],
)
def test_steps_that_can_be(
    sentence: str, before: dict[str, Any], report: Report, becomes: str
) -> None:
    told = after(before, report)
    assert isinstance(told, dict), f"{sentence}: {told}"
    assert word(told) == becomes, sentence
    finished = becomes in ("completed", "failed", "killed", "killed_oom")
    assert ("finishedAt" in told) is finished, sentence


@pytest.mark.parametrize(
    ("sentence", "before", "report", "why"),
    [
        ("an end is final", ended(), Report("running"), "final"),
        ("an end is final for ends, too", ended(), Report("failed", 1), "final"),
        ("a killed one is not completed", ended("Killed"), Report("completed", 0), "final"),
        ("what runs is not prepared", running(), Report("pending"), "started already"),
        ("what does not run is not paused", BOUND, Report("paused"), "not started"),
        ("a run that is over says no more", STOPPED, Report("running"), "over already"),
        ("lost is the operator's word", running(), Report("lost"), "does not decide"),
        ("so is rejected", BOUND, Report("rejected"), "does not decide"),
        ("and what waits for approval", BOUND, Report("pending_approval"), "does not decide"),
        ("a task cannot be stopped", running(), Report("stopped"), "VPS"),
        ("any other word", running(), Report("banana"), "no such status"),
        ("no word", running(), Report(""), "no such status"),
    ],
)
def test_steps_that_cannot_be(
    sentence: str, before: dict[str, Any], report: Report, why: str
) -> None:
    refused = after(before, report)
    assert isinstance(refused, str), sentence
    assert why in refused, sentence


@pytest.mark.parametrize(
    ("sentence", "before", "report", "spec", "succeeded", "code"),
    [
        ("well", running(), Report("completed", 0), {}, ("True", "Completed"), 0),
        ("well, without a code", running(), Report("completed"), {}, ("True", "Completed"), None),
        ("badly", running(), Report("failed", 3), {}, ("False", "NonZeroExit"), 3),
        ("by a signal", running(), Report("failed", 143), {}, ("False", "Signalled"), 143),
        ("nobody knows how", running(), Report("failed", -1), {}, ("False", "NonZeroExit"), None),
        ("before its start", BOUND, Report("failed"), {}, ("False", "CreateFailed"), None),
        ("killed", running(), Report("killed", 137), {}, ("False", "Killed"), 137),
        ("failed, as it was to be killed", running(), Report("failed", 143),
         {"desiredState": "Killed"}, ("False", "Killed"), 143),
        ("well, though it was to be killed", running(), Report("completed", 0),
         {"desiredState": "Killed"}, ("True", "Completed"), 0),
        ("out of memory", running(), Report("killed_oom", -9), {}, ("False", "OOMKilled"), -9),
    ],
)  # fmt: skip
def test_how_it_ended(
    sentence: str,
    before: dict[str, Any],
    report: Report,
    spec: dict[str, Any],
    succeeded: tuple[str, str],
    code: int | None,
) -> None:
    told = after(before, report, **spec)
    assert told_of(told, "Succeeded") == succeeded, sentence
    assert told.get("exitCode") == code, sentence
    assert told_of(told, "Paused") is None or told_of(told, "Paused") == ("False", "Resumed")


def test_a_run_that_is_to_be_followed_by_another_is_stopped_not_finished() -> None:
    told = after(running(), Report("failed", 3, "boom"), **RETRY)
    assert "finishedAt" not in told
    assert told_of(told, "Started") == ("False", "Stopped")
    assert told_of(told, "Succeeded") == ("Unknown", "Retrying")
    assert told["lastResult"] == {
        "runID": 1,
        "reason": "NonZeroExit",
        "nodeName": "n1",
        "exitCode": 3,
        "finishedAt": "2026-11-22T12:00:00.000000Z",
    }
    assert "over already" in after(told, Report("completed", 0), **RETRY)
    # The last of its runs is its end.
    assert "finishedAt" in after({**running(), "failures": 1}, Report("failed", 3), **RETRY)


def test_the_runners_words_are_kept_in_one_line() -> None:
    told = after(running(), Report("failed", 3, "line 1\n  line 2\t" + "x" * 10_000))
    [message] = [each["message"] for each in told["conditions"] if each["type"] == "Succeeded"]
    assert message.startswith("line 1 line 2 xxx")
    assert len(message) == 4096


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (EARLIER, "2026-11-22T11:30:00.000000Z"),
        (EARLIER.astimezone(dt.timezone(dt.timedelta(hours=9))), "2026-11-22T11:30:00.000000Z"),
        (EARLIER.replace(tzinfo=None), "2026-11-22T12:00:00.000000Z"),
        (LATER, "2026-11-22T12:00:00.000000Z"),
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=9))),
         "2026-11-22T12:00:00.000000Z"),
        (None, "2026-11-22T12:00:00.000000Z"),
    ],
    ids=["its own", "of another zone", "without a zone", "to come", "long ago", "not told"],
)  # fmt: skip
def test_a_runners_time_counts_if_it_can_be_true(told: dt.datetime | None, kept: str) -> None:
    begun = after(BOUND, Report("running", started_at=told))
    assert begun["startedAt"] == kept
    done = after(running(), Report("completed", 0, completed_at=told))
    assert done["finishedAt"] == kept
    assert done["startedAt"] == running()["startedAt"]  # once told it stays


WORDS = ["pending", "running", "paused", "completed", "failed", "killed", "killed_oom", "lost",
         "stopped", "rejected", "banana"]  # fmt: skip


ENDS = {
    "completed": ("True", "Completed"),
    "failed": ("False", "NonZeroExit"),
    "killed": ("False", "Killed"),
    "killed_oom": ("False", "OOMKilled"),
}


def test_there_is_one_end_whatever_is_reported_and_the_first_is_it() -> None:
    for words in itertools.permutations(WORDS, 3):
        first = next((word for word in words if word in ENDS), None)
        status: Any = BOUND
        ends = []
        for each in words:
            report = Report(each, 1 if each == "failed" else 0)
            told = after(status, report)
            if isinstance(told, str):
                continue
            again = after(told, report)
            assert isinstance(again, str) or again == told, words  # a report that comes twice
            status = told
            if "finishedAt" in told:
                ends.append(told_of(told, "Succeeded"))
        assert ends == ([ENDS[first]] if first else []), words
