"""What ``status`` is told about a run: verdicts and changes. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, TRUE, Condition, ConditionType, Reason
from weir_crds.phase import phase_of
from weir_crds.times import now_rfc3339
from weir_nodedaemon.engines.port import ContainerState, ObservedContainer
from weir_nodedaemon.logs.store import LogSummary
from weir_nodedaemon.records import RunRecord, StopReason

Object = Mapping[str, Any]
Changes = dict[str, Any]

_EXEC_FAILED_CODES = (126, 127)
_NEVER_STARTED = (Reason.CREATE_FAILED, Reason.IMAGE_PULL_FAILED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    reason: Reason
    message: str
    exit_code: int | None = None
    signal: int | None = None

    @property
    def succeeded(self) -> bool:
        """Tell whether it ended as its author meant it to."""
        return self.reason is Reason.COMPLETED


def verdict(container: ObservedContainer, record: RunRecord, spec: Object) -> Verdict:
    """Return how an exited container ended.

    Args:
        container: what the engine shows of it.
        record: what was noted about the run.
        spec: of the Task.
    """
    code = container.exit_code if container.exit_code is not None else 255
    signal = code - 128 if 128 < code <= 192 else None
    if container.oom_killed and code != 0:
        limit = (spec.get("resources") or {}).get("memory")
        message = f"used more memory than its limit of {limit}" if limit else "ran out of memory"
        return Verdict(Reason.OOM_KILLED, message, code, signal)
    stopped = record.stop_reason
    if stopped is None and spec.get("desiredState") == "Killed" and code != 0:
        stopped = StopReason.KILLED
    if stopped is StopReason.KILLED:
        return Verdict(Reason.KILLED, "killed as desired", code, signal)
    if stopped is StopReason.TIMED_OUT:
        message = f"ran longer than {spec.get('timeoutSeconds')} s"
        return Verdict(Reason.TIMED_OUT, message, code, signal)
    if container.error and code in _EXEC_FAILED_CODES:
        return Verdict(Reason.CREATE_FAILED, _clean(container.error), code)
    if signal is not None:
        return Verdict(Reason.SIGNALLED, f"ended by signal {signal}", code, signal)
    if code == 0:
        return Verdict(Reason.COMPLETED, "exit code 0", code)
    return Verdict(Reason.NON_ZERO_EXIT, f"exit code {code}", code)


KILLED_UNSTARTED = Verdict(Reason.KILLED, "killed before its start")
CONTAINER_LOST = Verdict(
    Reason.HOST_LOST, "its container was removed by somebody else; how it ended is not known"
)


def create_failed(message: str) -> Verdict:
    """Return the verdict on a run that the engine refused."""
    return Verdict(Reason.CREATE_FAILED, _clean(message))


def image_pull_failed(message: str) -> Verdict:
    """Return the verdict on a run whose image cannot be had."""
    return Verdict(Reason.IMAGE_PULL_FAILED, _clean(message))


def not_started_changes(task: Object, reason: Reason, message: str, now: dt.datetime) -> Changes:
    """Return what status is told while a run cannot start."""
    told = _set(task, ConditionType.STARTED, FALSE, reason, _clean(message), now=now)
    return _mirrored(task, {"conditions": told})


def held_changes(task: Object, now: dt.datetime) -> Changes:
    """Return what status is told about a Task that is paused before its start."""
    told = _set(task, ConditionType.PAUSED, TRUE, Reason.PAUSED, "held before its start", now=now)
    return _mirrored(task, {"conditions": told})


def running_changes(task: Object, container: ObservedContainer, now: dt.datetime) -> Changes:
    """Return what status is told about a running or paused container."""
    changes = _started(task, container, now)
    paused = container.state is ContainerState.PAUSED
    return _mirrored(task, {**changes, "conditions": _paused(task, changes, paused, now)})


def end_changes(
    task: Object,
    result: Verdict,
    container: ObservedContainer | None,
    logs: LogSummary | None,
    now: dt.datetime,
) -> Changes:
    """Return what status is told at the end of a run: the end of the Task.

    Args:
        task: the whole object.
        result: how the run ended.
        container: what ran; None when nothing did.
        logs: of its archived output.
        now: the time; used where the container does not know better.
    """
    ran = container is not None and container.state is ContainerState.EXITED
    if result.reason in _NEVER_STARTED and not conditions.is_true(task, ConditionType.STARTED):
        changes: Changes = {
            "conditions": _set(
                task, ConditionType.STARTED, FALSE, result.reason, result.message, now=now
            )
        }
    else:
        changes = _started(task, container, now) if ran and container else {}
    changes["conditions"] = _paused(task, changes, False, now)
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
        observed_generation=_generation(task),
    )
    return _mirrored(task, changes)


def _started(task: Object, container: ObservedContainer, now: dt.datetime) -> Changes:
    """Return Started=True and ``startedAt``; what is told already stays as it is."""
    if conditions.is_true(task, ConditionType.STARTED):
        return {"conditions": _conditions(task)}
    return {
        "startedAt": now_rfc3339(container.started_at or now),
        "conditions": _set(
            task,
            ConditionType.STARTED,
            TRUE,
            Reason.CONTAINER_STARTED,
            f"container {container.name}",
            now=now,
        ),
    }


def _paused(task: Object, changes: Changes, paused: bool, now: dt.datetime) -> list[Condition]:
    """Return the conditions with Paused as it is; one that never was True is not added."""
    told: list[Condition] = changes.get("conditions") or _conditions(task)
    seen = conditions.get(told, ConditionType.PAUSED)
    if not paused and (seen is None or seen["status"] != TRUE):
        return told
    return conditions.set_condition(
        told,
        ConditionType.PAUSED,
        TRUE if paused else FALSE,
        Reason.PAUSED if paused else Reason.RESUMED,
        "all its processes are frozen" if paused else "",
        now=now,
        observed_generation=_generation(task),
    )


def _set(
    task: Object, type: str, status: str, reason: str, message: str, *, now: dt.datetime
) -> list[Condition]:
    return conditions.set_condition(
        _conditions(task),
        type,
        status,
        reason,
        message,
        now=now,
        observed_generation=_generation(task),
    )


def _mirrored(task: Object, changes: Changes) -> Changes:
    """Return the changes with ``phase`` and ``observedGeneration``, which ride on every write."""
    status = {**(task.get("status") or {}), **changes}
    return {
        **changes,
        "observedGeneration": _generation(task),
        "phase": phase_of(task["spec"], status),
    }


def _conditions(task: Object) -> list[Condition]:
    found: Sequence[Condition] = (task.get("status") or {}).get("conditions") or ()
    return [dict(condition) for condition in found]


def _generation(task: Object) -> int | None:
    generation: int | None = task["metadata"].get("generation")
    return generation


def _clean(message: str) -> str:
    """Return a message fit for a condition: one line, not endless."""
    line = " ".join(message.split())
    return line if len(line) <= conditions.MAX_MESSAGE else line[: conditions.MAX_MESSAGE - 1] + "…"
