"""What a Task's status says of its run. Pure."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import FALSE, TRUE, UNKNOWN, ConditionType, Reason
from weir_crds.run_status import (
    Changes,
    conditions_of,
    generation_of,
    mirrored,
    one_line,
    with_condition,
    with_paused,
)
from weir_crds.times import now_rfc3339
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.kinds.task.verdict import Verdict
from weir_nodedaemon.logs.run import LogSummary

Object = Mapping[str, Any]

_NEVER_STARTED = (Reason.CREATE_FAILED, Reason.IMAGE_PULL_FAILED)


def not_started_changes(task: Object, reason: Reason, message: str, now: dt.datetime) -> Changes:
    """Return what status says while a run cannot start."""
    updated = with_condition(task, ConditionType.STARTED, FALSE, reason, one_line(message), now=now)
    return mirrored(task, {"conditions": updated})


def held_changes(task: Object, now: dt.datetime) -> Changes:
    """Return what status says about a Task that is paused before its start."""
    updated = with_condition(
        task, ConditionType.PAUSED, TRUE, Reason.PAUSED, "held before its start", now=now
    )
    return mirrored(task, {"conditions": updated})


def running_changes(task: Object, container: ObservedInstance, now: dt.datetime) -> Changes:
    """Return what status says about a running or paused container."""
    changes = _started(task, container, now)
    paused = container.state is InstanceState.PAUSED
    return mirrored(task, {**changes, "conditions": with_paused(task, changes, paused, now)})


def run_changes(
    task: Object,
    result: Verdict,
    container: ObservedInstance | None,
    logs: LogSummary | None,
    now: dt.datetime,
) -> Changes:
    """Return what status says at the end of a run: the Task's end, unless another run follows.

    Args:
        task: the whole object.
        result: how the run ended.
        container: what ran; None when nothing did.
        logs: of its archived output.
        now: the time; used where the container does not know better.
    """
    status = task.get("status") or {}
    again = isinstance(retry.next_step(task["spec"], status, result.reason), retry.RetryAfter)
    if again or result.interrupted:
        return stopped_changes(task, result, container, now)
    return end_changes(task, result, container, logs, now)


def stopped_changes(
    task: Object, result: Verdict, container: ObservedInstance | None, now: dt.datetime
) -> Changes:
    """Return what status says when a run is over and the Task is not: it may be unbound."""
    status = task.get("status") or {}
    updated = conditions.without(conditions_of(task), ConditionType.PAUSED, ConditionType.SUCCEEDED)
    updated = conditions.set_condition(
        updated,
        ConditionType.STARTED,
        FALSE,
        Reason.STOPPED,
        result.message,
        now=now,
        observed_generation=generation_of(task),
    )
    if not result.interrupted:
        updated = conditions.set_condition(
            updated,
            ConditionType.SUCCEEDED,
            UNKNOWN,
            Reason.RETRYING,
            f"{result.reason}: {result.message}",
            now=now,
            observed_generation=generation_of(task),
        )
    changes: Changes = {"conditions": updated}
    if result.reason in retry.HELD_BACK:
        changes["lastResult"] = {
            "runID": status["runID"],
            "reason": result.reason,
            "finishedAt": now_rfc3339(now),
        }
    elif _ran(container) or conditions.is_true(task, ConditionType.STARTED):
        finished_at = (container.finished_at if container else None) or now
        changes["lastResult"] = {
            "runID": status["runID"],
            "reason": result.reason,
            "nodeName": status["nodeName"],
            "finishedAt": now_rfc3339(finished_at),
        }
        if result.exit_code is not None:
            changes["lastResult"]["exitCode"] = result.exit_code
    return mirrored(task, changes)


def end_changes(
    task: Object,
    result: Verdict,
    container: ObservedInstance | None,
    logs: LogSummary | None,
    now: dt.datetime,
) -> Changes:
    """Return what status says at the end of the Task; arguments as for ``run_changes``."""
    ran = _ran(container)
    if result.reason in _NEVER_STARTED and not conditions.is_true(task, ConditionType.STARTED):
        changes: Changes = {
            "conditions": with_condition(
                task, ConditionType.STARTED, FALSE, result.reason, result.message, now=now
            )
        }
    else:
        changes = _started(task, container, now) if ran and container else {}
    changes["conditions"] = with_paused(task, changes, False, now)
    finished_at = (container.finished_at if ran and container else None) or now
    changes["finishedAt"] = now_rfc3339(finished_at)
    if result.exit_code is not None:
        changes["exitCode"] = result.exit_code
    if result.signal is not None:
        changes["signal"] = result.signal
    if logs is not None:
        changes["logs"] = {
            "stdoutBytes": logs.stdout_bytes,
            "stderrBytes": logs.stderr_bytes,
            "truncated": logs.truncated,
        }
    changes["conditions"] = conditions.set_condition(
        changes["conditions"],
        ConditionType.SUCCEEDED,
        TRUE if result.succeeded else FALSE,
        result.reason,
        result.message,
        now=now,
        observed_generation=generation_of(task),
    )
    return mirrored(task, changes)


def _ran(container: ObservedInstance | None) -> bool:
    return container is not None and container.state is InstanceState.EXITED


def _started(task: Object, container: ObservedInstance, now: dt.datetime) -> Changes:
    """Return Started=True and ``startedAt``; what it says already stays as it is."""
    if conditions.is_true(task, ConditionType.STARTED):
        return {"conditions": conditions_of(task)}
    return {
        "startedAt": now_rfc3339(container.started_at or now),
        "conditions": with_condition(
            task,
            ConditionType.STARTED,
            TRUE,
            Reason.CONTAINER_STARTED,
            f"container {container.name}",
            now=now,
        ),
    }
