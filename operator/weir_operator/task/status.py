"""What the operator writes into a Task's status: the changed fields of a merge patch. Pure."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import ConditionType, Reason
from weir_crds.phase import phase_of
from weir_crds.times import now_rfc3339
from weir_operator.scheduling.messages import WaitReport, bound_message
from weir_operator.scheduling.place import Placement
from weir_operator.scheduling.workload import Changes
from weir_operator.task.decide import End, back_off

FIRST_RUN = 1
_OF_A_RUN = (
    "nodeName",
    "cpus",
    "numaNode",
    "gpus",
    "scheduledAt",
    "startedAt",
    "exitCode",
    "signal",
    "logs",
)
_CONDITIONS_OF_A_RUN = (ConditionType.STARTED, ConditionType.PAUSED, ConditionType.SUCCEEDED)


def bound(task: Mapping[str, Any], placement: Placement, now: dt.datetime) -> Changes:
    """Return the one write that gives a Task its host, cores and GPUs."""
    status = task.get("status") or {}
    changes: Changes = {
        "nodeName": placement.host,
        "cpus": list(placement.cpus),
        "gpus": [{"index": gpu.index, "uuid": gpu.uuid} for gpu in placement.gpus],
        "runID": status.get("runID") or FIRST_RUN,
        "scheduledAt": now_rfc3339(now),
    }
    if placement.numa_node is not None:
        changes["numaNode"] = placement.numa_node
    return _with(
        task,
        changes,
        now,
        type=ConditionType.SCHEDULED,
        status=conditions.TRUE,
        reason=Reason.BOUND,
        message=bound_message(placement),
    )


def waiting(task: Mapping[str, Any], why: WaitReport, now: dt.datetime) -> Changes:
    """Return the write that says why a Task waits."""
    return _scheduled(task, {}, why, now)


def unbound(task: Mapping[str, Any], now: dt.datetime, *, lost: bool = False) -> Changes:
    """Return the one write that takes a Task from its host and begins its next run.

    Args:
        task: the Task, bound.
        now: the time.
        lost: its host is; nobody told how the run ended, and it counts for nothing.
    """
    spec, status = task["spec"], task["status"]
    run = status["runID"]
    retrying = not lost and retry.is_retrying(status)
    pauses = retrying or (not lost and retry.is_held_back(status))
    changes: Changes = {**dict.fromkeys(_OF_A_RUN), "runID": run + 1}
    if retrying:
        changes["failures"] = (status.get("failures") or 0) + 1
    if lost:
        changes["lastResult"] = {
            "runID": run,
            "reason": Reason.HOST_LOST,
            "nodeName": status["nodeName"],
            "finishedAt": now_rfc3339(now),
        }
    kept = conditions.without(status.get("conditions"), *_CONDITIONS_OF_A_RUN)
    before = {**task, "status": {**status, "conditions": kept}}
    if spec.get("suspend"):
        why = WaitReport(Reason.SUSPENDED, "spec.suspend is true")
    elif lost:
        why = WaitReport(Reason.QUEUED, f"its host {status['nodeName']} was lost")
    else:
        why = WaitReport(Reason.QUEUED, f"run {run} was stopped")
    unbound = _scheduled(before, changes, why, now)
    if not pauses or spec.get("suspend"):
        return unbound
    return _scheduled(before, changes, back_off(spec, {**status, **unbound}), now)


def _scheduled(
    task: Mapping[str, Any], changes: Changes, why: WaitReport, now: dt.datetime
) -> Changes:
    return _with(
        task,
        dict(changes),
        now,
        type=ConditionType.SCHEDULED,
        status=conditions.FALSE,
        reason=why.reason,
        message=why.message,
    )


def ended(task: Mapping[str, Any], end: End, now: dt.datetime) -> Changes:
    """Return the write that ends a Task which no daemon has, or none that is heard of."""
    return _with(
        task,
        {"finishedAt": now_rfc3339(now)},
        now,
        type=ConditionType.SUCCEEDED,
        status=conditions.FALSE,
        reason=end.reason,
        message=end.message,
    )


def _with(
    task: Mapping[str, Any],
    changes: Changes,
    now: dt.datetime,
    *,
    type: ConditionType,
    status: str,
    reason: Reason,
    message: str,
) -> Changes:
    before = task.get("status") or {}
    generation = task["metadata"].get("generation")
    changes["conditions"] = conditions.set_condition(
        before.get("conditions"),
        type,
        status,
        reason,
        message,
        now=now,
        observed_generation=generation,
    )
    changes["phase"] = phase_of(task["spec"], {**before, **changes})
    if generation is not None:
        changes["observedGeneration"] = generation
    return changes
