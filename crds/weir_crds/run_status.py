"""What the status of a Task says of a run, whoever speaks for its host. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, TRUE, Condition, ConditionType, Reason
from weir_crds.phase import phase_of

Task = Mapping[str, Any]
Changes = dict[str, Any]


def with_condition(
    task: Task, type: str, status: str, reason: str, message: str, *, now: dt.datetime
) -> list[Condition]:
    """Return the Task's conditions with one of them as it is now."""
    return conditions.set_condition(
        conditions_of(task),
        type,
        status,
        reason,
        message,
        now=now,
        observed_generation=generation_of(task),
    )


def with_paused(task: Task, changes: Changes, paused: bool, now: dt.datetime) -> list[Condition]:
    """Return the conditions, as ``changes`` has them, with Paused as it is.

    One that never was True is not added.
    """
    current: list[Condition] = changes.get("conditions") or conditions_of(task)
    seen = conditions.get(current, ConditionType.PAUSED)
    if not paused and (seen is None or seen["status"] != TRUE):
        return current
    return conditions.set_condition(
        current,
        ConditionType.PAUSED,
        TRUE if paused else FALSE,
        Reason.PAUSED if paused else Reason.RESUMED,
        "all its processes are frozen" if paused else "",
        now=now,
        observed_generation=generation_of(task),
    )


def mirrored(task: Task, changes: Changes) -> Changes:
    """Return the changes with ``phase`` and ``observedGeneration``, which ride on every write."""
    status = {**(task.get("status") or {}), **changes}
    return {
        **changes,
        "observedGeneration": generation_of(task),
        "phase": phase_of(task["spec"], status),
    }


def conditions_of(task: Task) -> list[Condition]:
    """Return the Task's conditions, which may be changed."""
    found: Sequence[Condition] = (task.get("status") or {}).get("conditions") or ()
    return [dict(condition) for condition in found]


def generation_of(task: Task) -> int | None:
    """Return the generation that what is told was seen of."""
    generation: int | None = task["metadata"].get("generation")
    return generation


def one_line(message: str) -> str:
    """Return a message fit for a condition: one line, not endless."""
    line = " ".join(message.split())
    return line if len(line) <= conditions.MAX_MESSAGE else line[: conditions.MAX_MESSAGE - 1] + "…"
