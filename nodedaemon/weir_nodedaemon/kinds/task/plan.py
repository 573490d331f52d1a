"""What to do next about one Task: from what is wanted, observed, noted, and the time. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from weir_crds import conditions, retry
from weir_crds.conditions import ConditionType
from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import InstanceState, ObservedInstance
from weir_nodedaemon.instances.journal import JournalEntry, StopReason

# A Task that ends within this time costs one status write instead of two.
TELL_START_AFTER = dt.timedelta(milliseconds=250)
_ASK_AGAIN = dt.timedelta(seconds=2)
_LOOK_AGAIN_AT_REMOVAL = dt.timedelta(milliseconds=500)


class Act(Enum):
    """The one thing to do now."""

    NOTHING = auto()
    START = auto()  # create the container unless it is there, and start it
    HOLD = auto()  # paused before its start: bound, not started
    PAUSE = auto()
    RESUME = auto()
    TERMINATE = auto()  # note the reason, send TERM
    KILL = auto()  # the grace is over
    TELL = auto()  # it runs: let status say so
    FINISH = auto()  # it exited: archive, tell the end, remove
    FINISH_UNSTARTED = auto()  # killed before its start: tell the end
    GIVE_BACK = auto()  # to be stopped and not there: say that the Task may be unbound
    FINISH_LOST = auto()  # it ran, and its container is gone
    DISCARD = auto()  # its end is told, or it goes already: remove the container


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, what to note before it, and when to look again if nothing happens."""

    act: Act
    record: JournalEntry
    requeue_after: dt.timedelta | None = None


def plan(
    spec: TaskSpec,
    status: Mapping[str, Any],
    container: ObservedInstance | None,
    record: JournalEntry,
    now: dt.datetime,
) -> Plan:
    """Return the next step for a Task bound to this host.

    Args:
        spec: what is wanted.
        status: what has been told so far.
        container: the container of this run as the engine shows it; None: there is none.
        record: what was noted about this run.
        now: the time.
    """
    record = _note_pauses(record, container, now)
    if status.get("finishedAt") or retry.is_stopped(status):
        return _after_the_end(spec, container, record, now)
    if container is None:
        return _without_container(spec, status, record)
    match container.state:
        case InstanceState.CREATED:
            return _before_the_start(spec, record)
        case InstanceState.RUNNING | InstanceState.PAUSED:
            return _while_it_runs(spec, status, container, record, now)
        case InstanceState.EXITED:
            return Plan(Act.FINISH, record)
        case InstanceState.REMOVING:
            # Not by us; or the engine died in it, which leaves it half done until asked again.
            return Plan(Act.DISCARD, record, _LOOK_AGAIN_AT_REMOVAL)
        case InstanceState.UNKNOWN:
            return Plan(Act.NOTHING, record, _ASK_AGAIN)


def running_time(
    container: ObservedInstance, record: JournalEntry, now: dt.datetime
) -> dt.timedelta:
    """Return how long a container has run, its pauses not counted."""
    started_at = container.started_at or now
    paused = dt.timedelta(seconds=record.paused_seconds)
    if record.paused_since is not None:
        paused += now - record.paused_since
    return now - started_at - paused


def _note_pauses(
    record: JournalEntry, container: ObservedInstance | None, now: dt.datetime
) -> JournalEntry:
    """Begin and end the record's pauses by what is observed, whoever paused the container."""
    if container is None:
        return record
    if container.state is InstanceState.PAUSED and record.paused_since is None:
        return replace(record, paused_since=now)
    if container.state is InstanceState.RUNNING and record.paused_since is not None:
        over = max(0.0, (now - record.paused_since).total_seconds())
        return replace(record, paused_since=None, paused_seconds=record.paused_seconds + over)
    return record


def _after_the_end(
    spec: TaskSpec, container: ObservedInstance | None, record: JournalEntry, now: dt.datetime
) -> Plan:
    if container is None:
        return Plan(Act.NOTHING, record)
    match container.state:
        case InstanceState.RUNNING | InstanceState.PAUSED:
            # Somebody else told the end (a lost host that is back): the grace holds here too.
            return _stop(spec, StopReason.KILLED, record, now)
        case _:
            return Plan(Act.DISCARD, record)


def _without_container(spec: TaskSpec, status: Mapping[str, Any], record: JournalEntry) -> Plan:
    if record.started or _told(status, ConditionType.STARTED):
        stopped = is_interruption(spec, record.stop_reason)
        return Plan(Act.GIVE_BACK if stopped else Act.FINISH_LOST, record)
    return _before_the_start(spec, record)


def _before_the_start(spec: TaskSpec, record: JournalEntry) -> Plan:
    if spec.desired_state == "Killed":
        return Plan(Act.FINISH_UNSTARTED, record)
    if spec.suspend:
        return Plan(Act.GIVE_BACK, record)
    return Plan(Act.HOLD if spec.desired_state == "Paused" else Act.START, record)


def _while_it_runs(
    spec: TaskSpec,
    status: Mapping[str, Any],
    container: ObservedInstance,
    record: JournalEntry,
    now: dt.datetime,
) -> Plan:
    record = replace(record, started=True)
    reason = record.stop_reason or _wish_to_stop(spec)
    if reason is not None:
        return _stop(spec, reason, record, now)
    left = None
    if spec.timeout_seconds is not None:
        left = dt.timedelta(seconds=spec.timeout_seconds) - running_time(container, record, now)
        if left <= dt.timedelta(0):
            return _stop(spec, StopReason.TIMED_OUT, record, now)
    paused = container.state is InstanceState.PAUSED
    if paused != (spec.desired_state == "Paused"):
        return Plan(Act.RESUME if paused else Act.PAUSE, record)
    if paused:
        left = None  # its time stands still
    told = _told(status, ConditionType.STARTED)
    if told and paused == _told(status, ConditionType.PAUSED):
        return Plan(Act.NOTHING, record, left)
    age = now - (container.started_at or now - TELL_START_AFTER)
    if not told and not paused and dt.timedelta(0) <= age < TELL_START_AFTER:
        return Plan(Act.NOTHING, record, TELL_START_AFTER - age)
    return Plan(Act.TELL, record, left)


def is_interruption(spec: TaskSpec, reason: StopReason | None) -> bool:
    """Tell whether a run stopped for that reason is followed by another, whatever it came to."""
    if spec.desired_state == "Killed":
        return False
    lost = reason is StopReason.HOST_LOST and spec.on_host_lost != "Fail"
    return lost or reason is StopReason.SUSPENDED


def _wish_to_stop(spec: TaskSpec) -> StopReason | None:
    if spec.desired_state == "Killed":
        return StopReason.KILLED
    return StopReason.SUSPENDED if spec.suspend else None


def _stop(spec: TaskSpec, reason: StopReason, record: JournalEntry, now: dt.datetime) -> Plan:
    deadline = record.stop_deadline
    if deadline is None or not record.term_sent:
        grace = dt.timedelta(seconds=spec.stop_grace_seconds)
        noted = replace(record, stop_reason=reason, stop_noted=now, stop_deadline=now + grace)
        return Plan(Act.TERMINATE, noted, grace)
    if now >= deadline:
        return Plan(Act.KILL, record, dt.timedelta(seconds=2))
    return Plan(Act.NOTHING, record, deadline - now)


def _told(status: Mapping[str, Any], type: str) -> bool:
    condition = conditions.get(status.get("conditions"), type)
    return condition is not None and condition["status"] == conditions.TRUE
