"""What ``status`` is told about a run: verdicts and changes. Pure."""

import datetime as dt
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import FALSE, TRUE, UNKNOWN, ConditionType, Reason
from weir_crds.run_status import (
    Changes,
    conditions_of,
    generation_of,
    mirrored,
    one_line,
    tell,
    tell_paused,
)
from weir_crds.task import TaskSpec
from weir_crds.times import now_rfc3339
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.journal import JournalEntry, StopReason
from weir_nodedaemon.kinds.task.plan import is_interruption
from weir_nodedaemon.logs.store import LogSummary

Object = Mapping[str, Any]

_EXEC_FAILED_CODES = (126, 127)
_NEVER_STARTED = (Reason.CREATE_FAILED, Reason.IMAGE_PULL_FAILED)
_STOP_SIGNALS = (signals.SIGTERM, signals.SIGKILL)
_CUT_OFF = "its host could not reach the API server and stopped it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    reason: Reason
    message: str
    exit_code: int | None = None
    signal: int | None = None
    interrupted: bool = False
    """It was stopped to run again: how it ended counts for nothing."""

    @property
    def succeeded(self) -> bool:
        """Tell whether it ended as its author meant it to."""
        return self.reason is Reason.COMPLETED


def verdict(container: ObservedInstance, record: JournalEntry, spec: TaskSpec) -> Verdict:
    """Return how an exited container ended.

    Args:
        container: what the engine shows of it.
        record: what was noted about the run.
        spec: of the Task.
    """
    code = container.exit_code if container.exit_code is not None else 255
    signal = code - 128 if 128 < code <= 192 else None
    stopped = _why_stopped(container, record, spec, code, signal)
    if is_interruption(spec, stopped):
        return replace(interruption(stopped), exit_code=code, signal=signal)
    if stopped is StopReason.HOST_LOST and spec.desired_state != "Killed":
        return Verdict(Reason.HOST_LOST, _CUT_OFF, code, signal)
    if container.oom_killed and code != 0:
        limit = spec.resources.memory
        message = f"used more memory than its limit of {limit}" if limit else "ran out of memory"
        return Verdict(Reason.OOM_KILLED, message, code, signal)
    if stopped in (StopReason.KILLED, StopReason.SUSPENDED, StopReason.HOST_LOST):
        return Verdict(Reason.KILLED, "killed as desired", code, signal)
    if stopped is StopReason.TIMED_OUT:
        message = f"ran longer than {spec.timeout_seconds} s"
        return Verdict(Reason.TIMED_OUT, message, code, signal)
    if container.error and code in _EXEC_FAILED_CODES:
        return Verdict(Reason.CREATE_FAILED, one_line(container.error), code)
    if signal is not None:
        return Verdict(Reason.SIGNALLED, f"ended by signal {signal}", code, signal)
    if code == 0:
        return Verdict(Reason.COMPLETED, "exit code 0", code)
    return Verdict(Reason.NON_ZERO_EXIT, f"exit code {code}", code)


def _why_stopped(
    container: ObservedInstance, record: JournalEntry, spec: TaskSpec, code: int, signal: int | None
) -> StopReason | None:
    """Return why the daemon stopped a container, by its note or, without one, by what is wanted."""
    stopped = record.stop_reason
    if stopped is None and code:
        if spec.desired_state == "Killed":
            return StopReason.KILLED
        if spec.suspend and signal in _STOP_SIGNALS and not container.oom_killed:
            return StopReason.SUSPENDED
    by_itself = (
        record.stop_noted is not None
        and container.finished_at is not None
        and container.finished_at < record.stop_noted
    )
    return None if by_itself and is_interruption(spec, stopped) else stopped


KILLED_UNSTARTED = Verdict(Reason.KILLED, "killed before its start")
CONTAINER_LOST = Verdict(
    Reason.HOST_LOST, "its container was removed by somebody else; how it ended is not known"
)


def interruption(reason: StopReason | None) -> Verdict:
    """Return the verdict on a run that was stopped for that reason, to run again."""
    if reason is StopReason.HOST_LOST:
        return Verdict(Reason.HOST_LOST, _CUT_OFF, interrupted=True)
    return Verdict(Reason.SUSPENDED, "stopped, as spec.suspend was true", interrupted=True)


def container_lost(message: str) -> Verdict:
    """Return the verdict on a run that the engine lost after it had begun."""
    return Verdict(Reason.HOST_LOST, one_line(message))


def create_failed(message: str) -> Verdict:
    """Return the verdict on a run that the engine refused."""
    return Verdict(Reason.CREATE_FAILED, one_line(message))


def image_pull_failed(message: str) -> Verdict:
    """Return the verdict on a run whose image cannot be had."""
    return Verdict(Reason.IMAGE_PULL_FAILED, one_line(message))


def not_started_changes(task: Object, reason: Reason, message: str, now: dt.datetime) -> Changes:
    """Return what status is told while a run cannot start."""
    told = tell(task, ConditionType.STARTED, FALSE, reason, one_line(message), now=now)
    return mirrored(task, {"conditions": told})


def held_changes(task: Object, now: dt.datetime) -> Changes:
    """Return what status is told about a Task that is paused before its start."""
    told = tell(task, ConditionType.PAUSED, TRUE, Reason.PAUSED, "held before its start", now=now)
    return mirrored(task, {"conditions": told})


def running_changes(task: Object, container: ObservedInstance, now: dt.datetime) -> Changes:
    """Return what status is told about a running or paused container."""
    changes = _started(task, container, now)
    paused = container.state is InstanceState.PAUSED
    return mirrored(task, {**changes, "conditions": tell_paused(task, changes, paused, now)})


def run_changes(
    task: Object,
    result: Verdict,
    container: ObservedInstance | None,
    logs: LogSummary | None,
    now: dt.datetime,
) -> Changes:
    """Return what status is told at the end of a run: the Task's end, unless another run follows.

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
    """Return what status is told when a run is over and the Task is not: it may be unbound."""
    status = task.get("status") or {}
    told = conditions.without(conditions_of(task), ConditionType.PAUSED, ConditionType.SUCCEEDED)
    told = conditions.set_condition(
        told,
        ConditionType.STARTED,
        FALSE,
        Reason.STOPPED,
        result.message,
        now=now,
        observed_generation=generation_of(task),
    )
    if not result.interrupted:
        told = conditions.set_condition(
            told,
            ConditionType.SUCCEEDED,
            UNKNOWN,
            Reason.RETRYING,
            f"{result.reason}: {result.message}",
            now=now,
            observed_generation=generation_of(task),
        )
    changes: Changes = {"conditions": told}
    if _ran(container) or conditions.is_true(task, ConditionType.STARTED):
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
    """Return what status is told at the end of the Task; arguments as for ``run_changes``."""
    ran = _ran(container)
    if result.reason in _NEVER_STARTED and not conditions.is_true(task, ConditionType.STARTED):
        changes: Changes = {
            "conditions": tell(
                task, ConditionType.STARTED, FALSE, result.reason, result.message, now=now
            )
        }
    else:
        changes = _started(task, container, now) if ran and container else {}
    changes["conditions"] = tell_paused(task, changes, False, now)
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
    """Return Started=True and ``startedAt``; what is told already stays as it is."""
    if conditions.is_true(task, ConditionType.STARTED):
        return {"conditions": conditions_of(task)}
    return {
        "startedAt": now_rfc3339(container.started_at or now),
        "conditions": tell(
            task,
            ConditionType.STARTED,
            TRUE,
            Reason.CONTAINER_STARTED,
            f"container {container.name}",
            now=now,
        ),
    }
