"""The one word by which REST clients know where a Task is. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from weir_crds.conditions import TRUE, ConditionType, Reason


class Status(StrEnum):
    """The words of ``status`` in a task object."""

    PENDING_APPROVAL = "pending_approval"
    REJECTED = "rejected"
    ASSIGNING = "assigning"
    """It waits for a host."""
    PENDING = "pending"
    """It has a host, which prepares it."""
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"
    KILLED_OOM = "killed_oom"
    LOST = "lost"
    """Nothing is heard of its host: it may come back, unless it has ended."""
    STOPPED = "stopped"


_ENDS: dict[str, Status] = {
    Reason.KILLED: Status.KILLED,
    Reason.OOM_KILLED: Status.KILLED_OOM,
    Reason.REJECTED: Status.REJECTED,
    Reason.HOST_LOST: Status.LOST,
}


def status_word(spec: Mapping[str, Any], status: Mapping[str, Any], *, host_ready: bool) -> Status:
    """Return the word for a Task; what comes first here counts.

    Args:
        spec: of the Task.
        status: of the Task.
        host_ready: whether the Host that it is bound to is Ready; no matter when it has none.
    """
    found = {item["type"]: item for item in status.get("conditions") or ()}
    if status.get("finishedAt"):
        succeeded = found.get(ConditionType.SUCCEEDED) or {}
        if succeeded.get("status") == TRUE:
            return Status.COMPLETED
        return _ENDS.get(succeeded.get("reason", ""), Status.FAILED)
    approval = spec.get("approval")
    if approval == "Pending":
        return Status.PENDING_APPROVAL
    if approval == "Rejected":
        return Status.REJECTED
    if not status.get("nodeName"):
        return Status.ASSIGNING
    if not host_ready:
        return Status.LOST
    if _holds(found.get(ConditionType.PAUSED)):
        return Status.PAUSED
    return Status.RUNNING if _holds(found.get(ConditionType.STARTED)) else Status.PENDING


def _holds(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition["status"] == TRUE
