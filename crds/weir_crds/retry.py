"""What follows a run that ended: the Task's end, or another run after a pause. Pure.

The daemon asks at the end of a run, the operator when it places the next: both get one answer.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, UNKNOWN, ConditionType, Reason
from weir_crds.task import Retry
from weir_crds.times import after, parse_time

CAP_SECONDS = 3600
"""The pause does not double beyond this; a longer ``backoffSeconds`` holds as it is."""

HELD_BACK_SECONDS = 300
"""How long a Task that could not be started for want of a Secret leaves its place to others."""

HELD_BACK = frozenset({Reason.SECRET_NOT_READABLE, Reason.PULL_SECRET_NOT_READABLE})
"""Why a run that was not started gives back its host: nobody tells when the reason is gone."""

_DOUBLINGS = 32  # far beyond the cap, and far from an overflow


@dataclass(frozen=True, slots=True)
class Finish:
    """The run was the last: how it ended is how the Task ended."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Another run follows."""

    seconds: int


def next_step(
    spec: Mapping[str, Any], status: Mapping[str, Any], reason: str
) -> Finish | RetryAfter:
    """Return what follows a run that ended for that reason.

    Args:
        spec: of the Task.
        status: of the Task, while it is bound: ``failures`` counts the runs before this one.
        reason: how the run ended, as ``Succeeded`` would say.
    """
    retry = _retry_of(spec)
    failures = status.get("failures") or 0
    if (
        reason not in retry.reasons
        or failures >= retry.limit
        or spec.get("desiredState") == "Killed"
    ):
        return Finish()
    return RetryAfter(_pause(retry, failures))


def is_retrying(status: Mapping[str, Any]) -> bool:
    """Tell whether the current run ended badly and is to be followed by another."""
    succeeded = conditions.get(status.get("conditions"), ConditionType.SUCCEEDED)
    return (
        succeeded is not None
        and (succeeded["status"], succeeded["reason"]) == (UNKNOWN, Reason.RETRYING)
        and (status.get("lastResult") or {}).get("runID") == status.get("runID")
    )


def is_held_back(status: Mapping[str, Any]) -> bool:
    """Tell whether the current run gave back its host before its start, to be tried again later."""
    result = status.get("lastResult") or {}
    return result.get("runID") == status.get("runID") and result.get("reason") in HELD_BACK


def is_stopped(status: Mapping[str, Any]) -> bool:
    """Tell whether the daemon has let go of the current run, so that it may be unbound."""
    started = conditions.get(status.get("conditions"), ConditionType.STARTED)
    return (
        bool(status.get("nodeName"))
        and not status.get("finishedAt")
        and started is not None
        and (started["status"], started["reason"]) == (FALSE, Reason.STOPPED)
    )


@dataclass(frozen=True, slots=True)
class Pause:
    """From when on a Task without a host waits for its next run, and for how many seconds."""

    since: dt.datetime
    seconds: int

    @property
    def ends_at(self) -> dt.datetime:
        """When it may be placed again, by the clock that ``since`` was taken from."""
        return after(self.since, self.seconds)


def pause_of(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Pause | None:
    """Return the pause before a Task's next run, over or not; None: there is none.

    The pause counts from when the operator unbound it, by the operator's own clock: that of a host
    may be wrong either way.

    Raises:
        InvalidTimeError: a time that the CRD should have refused.
    """
    result = status.get("lastResult")
    if not result or status.get("nodeName") or not result.get("finishedAt"):
        return None
    if result["runID"] + 1 != status.get("runID"):
        return None
    seconds = _pause_after(spec, result["reason"], status.get("failures") or 0)
    if seconds is None:
        return None
    scheduled = conditions.get(status.get("conditions"), ConditionType.SCHEDULED)
    if scheduled is not None and scheduled["status"] == FALSE:
        since = parse_time(scheduled["lastTransitionTime"])
    else:  # somebody else cleared the host: no better time is known
        since = parse_time(result["finishedAt"])
    return Pause(since, seconds)


def _pause_after(spec: Mapping[str, Any], reason: str, failures: int) -> int | None:
    """Return how long a Task pauses after a run that ended so; None: not at all."""
    if reason in HELD_BACK:
        return HELD_BACK_SECONDS
    retry = _retry_of(spec)
    return _pause(retry, failures - 1) if failures and reason in retry.reasons else None


def _pause(retry: Retry, failures_before: int) -> int:
    doubled: int = retry.backoff_seconds * 2 ** min(failures_before, _DOUBLINGS)
    return min(doubled, max(CAP_SECONDS, retry.backoff_seconds))


def _retry_of(spec: Mapping[str, Any]) -> Retry:
    return Retry.model_validate(spec.get("retry") or {})
