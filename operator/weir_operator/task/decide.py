"""What one Task needs of the operator, by its own fields. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import ConditionType, Reason
from weir_crds.times import now_rfc3339
from weir_operator.scheduling.messages import WaitReport

FIRST_REPORT_SECONDS = 2.0
"""A wait shorter than this is never written."""
QUEUED_SECONDS = 30.0
"""A wait for no lack but one's turn is not written before: the bind is on its way."""
NEXT_REPORT_SECONDS = 30.0
"""The least time between two writes about the same wait."""
NEW_MESSAGE_SECONDS = 300.0
"""The least time before a message is written anew though its reason is the same."""


class Standing(Enum):
    """Where a Task is, as far as the operator is concerned."""

    LEAVING = auto()
    """Deleted before it was bound; a foreign finalizer keeps it."""
    FINISHED = auto()
    BOUND = auto()
    STOPPED = auto()
    """Its daemon has let go of the run: to be unbound. It holds its cores until then."""
    KILLED = auto()
    """To be ended by the operator, as no daemon has it."""
    REJECTED = auto()
    AWAITING_APPROVAL = auto()
    SUSPENDED = auto()
    BACKING_OFF = auto()
    """Its last run ended badly; the next one is not due yet."""
    PENDING = auto()


def standing_of(task: Mapping[str, Any], now: dt.datetime) -> Standing:
    """Return where a Task is; the end counts before the bind, the bind before any wish.

    Args:
        task: the Task.
        now: the time by which its back-off is judged: ``BackOffs.time_of``.

    Raises:
        InvalidTimeError: a time that the CRD should have refused.
    """
    spec, status = task["spec"], task.get("status") or {}
    if status.get("finishedAt"):
        return Standing.FINISHED
    if status.get("nodeName"):
        return Standing.STOPPED if retry.is_stopped(status) else Standing.BOUND
    if task["metadata"].get("deletionTimestamp"):
        return Standing.LEAVING
    if spec.get("approval") == "Rejected":
        return Standing.REJECTED
    if spec.get("desiredState") == "Killed":
        return Standing.KILLED
    if spec.get("approval") == "Pending":
        return Standing.AWAITING_APPROVAL
    if spec.get("suspend"):
        return Standing.SUSPENDED
    pause = retry.pause_of(spec, status)
    return Standing.PENDING if pause is None or pause.ends_at <= now else Standing.BACKING_OFF


@dataclass(frozen=True, slots=True)
class End:
    """The end that the operator gives a Task that no daemon has."""

    reason: Reason
    message: str


def end_of(standing: Standing) -> End | None:
    """Return how the operator ends a Task of that standing, or None when it does not."""
    match standing:
        case Standing.KILLED:
            return End(Reason.KILLED, "killed while it had no host")
        case Standing.REJECTED:
            return End(Reason.REJECTED, "its approval was refused")
        case _:
            return None


class LostAction(Enum):
    """What the operator does about a Task on a host of which nothing is heard."""

    WAIT = auto()
    UNBIND = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class LostVerdict:
    """What to do, and when to look again if nothing happens."""

    action: LostAction
    look_again_seconds: float | None = None


def lost_verdict(spec: Mapping[str, Any], lost_seconds: float | None) -> LostVerdict:
    """Decide about a bound Task.

    Args:
        spec: of the Task.
        lost_seconds: since when nothing is heard of its host; None: it is heard of.
    """
    wish = spec.get("onHostLost", "Wait")
    if lost_seconds is None or wish == "Wait":
        return LostVerdict(LostAction.WAIT)
    left = spec.get("hostLostGraceSeconds", 300) - lost_seconds
    if left > 0:
        return LostVerdict(LostAction.WAIT, left)
    return LostVerdict(LostAction.UNBIND if wish == "Restart" else LostAction.END)


def held_back(standing: Standing, task: Mapping[str, Any]) -> WaitReport | None:
    """Return why a Task of that standing is not even queued, or None when it is."""
    match standing:
        case Standing.AWAITING_APPROVAL:
            return WaitReport(Reason.AWAITING_APPROVAL, "spec.approval is Pending")
        case Standing.SUSPENDED:
            return WaitReport(Reason.SUSPENDED, "spec.suspend is true")
        case Standing.BACKING_OFF:
            return back_off(task["spec"], task["status"])
        case _:
            return None


def back_off(spec: Mapping[str, Any], status: Mapping[str, Any]) -> WaitReport:
    """Return what is reported of a Task that waits for its next run; constant while it does.

    Raises:
        InvalidTimeError: a time that the CRD should have refused.
    """
    result, pause = status["lastResult"], retry.pause_of(spec, status)
    again = f", tried again at {now_rfc3339(pause.ends_at)}" if pause else ""
    return WaitReport(Reason.BACK_OFF, f"run {result['runID']}: {result['reason']}{again}")


@dataclass(frozen=True, slots=True)
class ReportVerdict:
    """Whether to write now why a Task waits, and when to look again if not."""

    write: bool
    look_again_seconds: float


_BY_WISH = frozenset({Reason.SUSPENDED, Reason.AWAITING_APPROVAL})


def report_verdict(
    waiting: WaitReport,
    condition: Mapping[str, Any] | None,
    *,
    waited_seconds: float,
    written_seconds_ago: float | None,
) -> ReportVerdict:
    """Decide whether a wait is worth a write.

    After two seconds (thirty, if nothing is lacking), then when the reason changes, at most every
    thirty seconds. At once: that it can never fit, and the change to or from what a person asked
    for (suspended, unapproved).

    Args:
        waiting: why it waits now.
        condition: its ``Scheduled`` condition as written.
        waited_seconds: since when, for this kind of wait.
        written_seconds_ago: when this process last wrote it; None: never.
    """
    written = condition.get("reason") if condition else None
    age = written_seconds_ago
    first = QUEUED_SECONDS if waiting.reason == Reason.QUEUED else FIRST_REPORT_SECONDS
    if condition and written == waiting.reason and condition["status"] == conditions.FALSE:
        if condition.get("message") == waiting.message:
            return ReportVerdict(write=False, look_again_seconds=NEXT_REPORT_SECONDS)
        if age is None:  # written by the process before us: unknown when
            age = waited_seconds
        due = NEW_MESSAGE_SECONDS - age
    elif waiting.reason == Reason.UNSCHEDULABLE:
        due = 0.0
    elif written in _BY_WISH or waiting.reason in _BY_WISH or age is None:
        due = first - waited_seconds
    else:
        due = max(NEXT_REPORT_SECONDS - age, first - waited_seconds)
    if due <= 0:
        return ReportVerdict(write=True, look_again_seconds=NEXT_REPORT_SECONDS)
    # The reason may become another one that is due earlier.
    soon = FIRST_REPORT_SECONDS - waited_seconds
    return ReportVerdict(
        write=False, look_again_seconds=min(due, soon if soon > 0 else NEXT_REPORT_SECONDS)
    )


def scheduled_condition(task: Mapping[str, Any]) -> conditions.Condition | None:
    """Return a Task's ``Scheduled`` condition, or None."""
    return conditions.of(task, ConditionType.SCHEDULED)


def scheduled_reason(status: Mapping[str, Any]) -> str:
    """Return the reason of ``Scheduled`` in a status, or an empty string."""
    found = conditions.get(status.get("conditions"), ConditionType.SCHEDULED)
    return str(found["reason"]) if found else ""
