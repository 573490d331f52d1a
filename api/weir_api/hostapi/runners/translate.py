"""From a runner's report on a task to what the Task's status is told. Pure.

What comes out is what a daemon of ours would write: one finish only, and a run that is to be
followed by another is stopped, not finished.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import FALSE, TRUE, UNKNOWN, Condition, ConditionType, Reason
from weir_crds.run_status import (
    Changes,
    Task,
    generation_of,
    mirrored,
    one_line,
    with_condition,
    with_paused,
)
from weir_crds.times import now_rfc3339

_EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

KILLED_BY_RUNNER = -9
"""The exit code of what a runner ended by itself."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a runner says of a task."""

    status: str
    exit_code: int | None = None
    message: str | None = None
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The report is of no effect."""

    reason: str


def changes_of(task: Task, report: Report, now: dt.datetime) -> Changes | Refusal:
    """Return what a report changes in the status of a Task that is bound to the reporter.

    Args:
        task: the whole object.
        report: what its runner says.
        now: the time; it holds where the runner's own cannot be relied on.
    """
    status = task.get("status") or {}
    if status.get("finishedAt"):
        return Refusal("the task has ended, and an end is final")
    if retry.is_stopped(status):
        return Refusal("that run is over already")
    started = conditions.is_true(task, ConditionType.STARTED)
    match report.status:
        case "pending" | "assigning":
            if started:
                return Refusal("the task has started already")
            changed = _with_condition(
                task,
                ConditionType.STARTED,
                FALSE,
                Reason.PULLING_IMAGE,
                report.message or "",
                now=now,
            )
            return mirrored(task, {"conditions": changed})
        case "running":
            return mirrored(task, _with_paused(task, _started(task, report, now), False, now))
        case "paused":
            if not started:
                return Refusal("the task has not started yet")
            return mirrored(task, _with_paused(task, {}, True, now))
        case "completed" | "failed" | "killed" | "killed_oom":
            return _ended(task, report, now)
        case "lost" | "rejected" | "pending_approval":
            return Refusal(f"a runner does not decide that a task is {report.status}")
        case "stopped":
            return Refusal("only a VPS can be stopped")
        case _:
            return Refusal("there is no such status")


def _ended(task: Task, report: Report, now: dt.datetime) -> Changes:
    status = task.get("status") or {}
    reason, code = _reason_of(task, report), report.exit_code
    if code == -1:  # made up by runners where there was none
        code = None
    message = one_line(report.message or "") or _default_message(reason, code)
    ended_at = _plausible(report.completed_at, now)
    if isinstance(retry.next_step(task["spec"], status, reason), retry.RetryAfter):
        return _stopped(task, reason, code, message, ended_at, now=now)
    changes: Changes = {}
    if reason is Reason.CREATE_FAILED:
        changes["conditions"] = _with_condition(
            task, ConditionType.STARTED, FALSE, reason, message, now=now
        )
    else:
        changes = _started(task, report, now)
    changes = _with_paused(task, changes, False, now)
    changes["finishedAt"] = now_rfc3339(ended_at)
    if code is not None:
        changes["exitCode"] = code
    changes["conditions"] = conditions.set_condition(
        changes["conditions"],
        ConditionType.SUCCEEDED,
        TRUE if reason is Reason.COMPLETED else FALSE,
        reason,
        message,
        now=now,
        observed_generation=generation_of(task),
    )
    return mirrored(task, changes)


def _stopped(
    task: Task,
    reason: Reason,
    code: int | None,
    message: str,
    ended_at: dt.datetime,
    *,
    now: dt.datetime,
) -> Changes:
    """Return what is told of a run that another one follows: it may be unbound."""
    status, generation = task.get("status") or {}, generation_of(task)
    changed = conditions.without(
        status.get("conditions"), ConditionType.PAUSED, ConditionType.SUCCEEDED
    )
    changed = conditions.set_condition(
        changed,
        ConditionType.STARTED,
        FALSE,
        Reason.STOPPED,
        message,
        now=now,
        observed_generation=generation,
    )
    changed = conditions.set_condition(
        changed,
        ConditionType.SUCCEEDED,
        UNKNOWN,
        Reason.RETRYING,
        f"{reason}: {message}",
        now=now,
        observed_generation=generation,
    )
    result: dict[str, Any] = {
        "runID": status.get("runID") or 0,
        "reason": reason,
        "nodeName": status["nodeName"],
        "finishedAt": now_rfc3339(ended_at),
    }
    if code is not None:
        result["exitCode"] = code
    return mirrored(task, {"conditions": changed, "lastResult": result})


def _reason_of(task: Task, report: Report) -> Reason:
    code = report.exit_code
    if report.status == "completed":
        return Reason.COMPLETED
    if report.status == "killed" or task["spec"].get("desiredState") == "Killed":
        return Reason.KILLED
    if report.status == "killed_oom":
        return Reason.OOM_KILLED
    if not conditions.is_true(task, ConditionType.STARTED) and code in (None, -1):
        return Reason.CREATE_FAILED
    return Reason.SIGNALLED if code is not None and 128 < code <= 192 else Reason.NON_ZERO_EXIT


def _default_message(reason: Reason, code: int | None) -> str:
    if reason in (Reason.COMPLETED, Reason.NON_ZERO_EXIT) and code is not None:
        return f"exit code {code}"
    return {
        Reason.COMPLETED: "completed, says its runner",
        Reason.KILLED: "killed as desired",
        Reason.OOM_KILLED: "ran out of memory",
        Reason.CREATE_FAILED: "not started, says its runner",
        Reason.SIGNALLED: f"ended by signal {(code or 128) - 128}",
    }.get(reason, "failed, says its runner")


def _started(task: Task, report: Report, now: dt.datetime) -> Changes:
    """Return Started=True and ``startedAt``; what is told already stays as it is."""
    if conditions.is_true(task, ConditionType.STARTED):
        return {}
    changed = _with_condition(
        task,
        ConditionType.STARTED,
        TRUE,
        Reason.CONTAINER_STARTED,
        "by an external runner",
        now=now,
    )
    return {"startedAt": now_rfc3339(_plausible(report.started_at, now)), "conditions": changed}


def _with_paused(task: Task, changes: Changes, paused: bool, now: dt.datetime) -> Changes:
    return {**changes, "conditions": with_paused(task, changes, paused, now)}


def _with_condition(
    task: Task, type: str, status: str, reason: str, message: str, *, now: dt.datetime
) -> list[Condition]:
    """Return the conditions with one of them as it is; the message is a runner's."""
    return with_condition(task, type, status, reason, one_line(message), now=now)


def _plausible(claimed: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    """Return a runner's time if it says its zone and can be true, else ours."""
    if claimed is None or claimed.tzinfo is None or not _EARLIEST <= claimed <= now:
        return now
    return claimed
