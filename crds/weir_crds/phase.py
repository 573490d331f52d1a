"""The one word that sums up a Task for people. No code reads it; every writer of status sets it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import ConditionType, Reason


class Phase(StrEnum):
    """The words of ``Task.status.phase``."""

    PENDING_APPROVAL = "PendingApproval"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    RETRYING = "Retrying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    KILLED = "Killed"
    REJECTED = "Rejected"


def phase_of(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Return the phase of a Task with this spec and this (new) status.

    A finished Task shows how it ended; an unbound one why it does not run; a bound one what its
    container does, or what it is told to do when that is to stop.
    """
    found = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if status.get("finishedAt"):
        return _final(found.get(ConditionType.SUCCEEDED, {}))
    approval = spec.get("approval", "Approved")
    if approval == "Rejected":
        return Phase.REJECTED
    if approval == "Pending":
        return Phase.PENDING_APPROVAL
    if spec.get("desiredState") == "Killed":
        return Phase.STOPPING
    if not status.get("nodeName"):
        backing_off = found.get(ConditionType.SCHEDULED, {}).get("reason") == Reason.BACK_OFF
        return Phase.RETRYING if backing_off else Phase.QUEUED
    if spec.get("suspend"):
        return Phase.STOPPING
    if retry.is_retrying(status):
        return Phase.RETRYING
    if retry.is_stopped(status):
        return Phase.STOPPING  # it is on its way back into the queue
    if _is_true(found.get(ConditionType.PAUSED)):
        return Phase.PAUSED
    return Phase.RUNNING if _is_true(found.get(ConditionType.STARTED)) else Phase.STARTING


def _final(succeeded: Mapping[str, Any]) -> str:
    if _is_true(succeeded):
        return Phase.SUCCEEDED
    match succeeded.get("reason"):
        case Reason.KILLED:
            return Phase.KILLED
        case Reason.REJECTED:
            return Phase.REJECTED
        case _:
            return Phase.FAILED


def _is_true(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == conditions.TRUE
