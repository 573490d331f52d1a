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
from weir_nodedaemon.instances.identity import Moment
from weir_nodedaemon.instances.journal import Ended, JournalEntry, StopReason

# A Task that ends within this time costs one status write instead of two.
REPORT_START_AFTER = dt.timedelta(milliseconds=250)
_ASK_AGAIN = dt.timedelta(seconds=2)
_SET_SECONDS = 0.5  # a clock that is only slowed or hurried differs by less
_RETRY_REMOVAL = dt.timedelta(milliseconds=500)


class Act(Enum):
    """The one thing to do now."""

    NOTHING = auto()
    START = auto()  # create the container unless it is there, and start it
    HOLD = auto()  # paused before its start: bound, not started
    PAUSE = auto()
    RESUME = auto()
    STOP = auto()  # for the plan's reason: TERM, the grace, KILL
    REPORT = auto()  # it runs: let status say so
    FINISH = auto()  # it exited: archive, report the end, remove
    FINISH_UNSTARTED = auto()  # killed before its start: report the end
    GIVE_BACK = auto()  # to be stopped and not there: say that the Task may be unbound
    FINISH_LOST = auto()  # it ran, its container is gone, and how it ended was not noted
    DISCARD = auto()  # its end is reported, or it goes already: remove the container


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, what to note before it, and when to look again if nothing happens."""

    act: Act
    entry: JournalEntry
    requeue_after: dt.timedelta | None = None
    stop: StopReason | None = None


def plan(
    spec: TaskSpec,
    status: Mapping[str, Any],
    container: ObservedInstance | None,
    entry: JournalEntry,
    now: Moment,
) -> Plan:
    """Return the next step for a Task bound to this host.

    Args:
        spec: what is wanted.
        status: what has been told so far.
        container: the container of this run as the engine shows it; None: there is none.
        entry: what was noted about this run.
        now: the time.
    """
    entry = _note_what_is_seen(entry, container, now)
    if status.get("finishedAt") or retry.is_stopped(status):
        return _after_the_end(container, entry)
    if container is None:
        return _without_container(spec, status, entry)
    match container.state:
        case InstanceState.CREATED:
            return _before_the_start(spec, entry)
        case InstanceState.RUNNING | InstanceState.PAUSED:
            return _while_it_runs(spec, status, container, entry, now)
        case InstanceState.EXITED:
            return Plan(Act.FINISH, entry)
        case InstanceState.REMOVING:
            # Not by us; or the engine died in it, which leaves it half done until asked again.
            return Plan(Act.DISCARD, entry, _RETRY_REMOVAL)
        case InstanceState.UNKNOWN:
            return Plan(Act.NOTHING, entry, _ASK_AGAIN)


def running_seconds(entry: JournalEntry, now: Moment) -> float:
    """Return how long a program has run, its pauses not counted; 0: it was not seen to run."""
    if entry.started_uptime is None:
        return 0.0
    paused = entry.paused_seconds
    if entry.paused_uptime is not None:
        paused += now.uptime - entry.paused_uptime
    return now.uptime - entry.started_uptime - paused


def _note_what_is_seen(
    entry: JournalEntry, container: ObservedInstance | None, now: Moment
) -> JournalEntry:
    """Note start, pauses and end when they are seen first, whoever caused them.

    The engine tells the start by the time of day, once: from then on the uptime counts.
    """
    if container is None:
        return entry
    if container.state is InstanceState.EXITED:
        if entry.ended:
            return entry
        # The engine tells the end by the time of day, too: was it before the stop was noted?
        noted = None if _was_set(entry, now) else entry.stop_noted
        return replace(entry, started=True, ended=Ended.of(container), stop_noted=noted)
    if container.state not in (InstanceState.RUNNING, InstanceState.PAUSED):
        return entry
    since = entry.started_uptime
    if since is None or since > now.uptime:  # of an earlier boot
        age = (now.at - container.started_at).total_seconds() if container.started_at else 0.0
        entry = replace(entry, started=True, started_uptime=now.uptime - max(0.0, age))
    if container.state is InstanceState.PAUSED and entry.paused_uptime is None:
        return replace(entry, paused_uptime=now.uptime)
    if container.state is InstanceState.RUNNING and entry.paused_uptime is not None:
        over = max(0.0, now.uptime - entry.paused_uptime)
        return replace(entry, paused_uptime=None, paused_seconds=entry.paused_seconds + over)
    return entry


def _was_set(entry: JournalEntry, now: Moment) -> bool:
    """Tell whether the time of day was set since a stop was noted: then it decides nothing."""
    if entry.stop_noted is None or entry.stop_uptime is None or now.uptime < entry.stop_uptime:
        return False
    by_time_of_day = (now.at - entry.stop_noted).total_seconds()
    return abs(by_time_of_day - (now.uptime - entry.stop_uptime)) > _SET_SECONDS


def _after_the_end(container: ObservedInstance | None, entry: JournalEntry) -> Plan:
    if container is None:
        return Plan(Act.NOTHING, entry)
    if container.state in (InstanceState.RUNNING, InstanceState.PAUSED):
        # Somebody else reported the end (a lost host that is back): the grace holds here too.
        return Plan(Act.STOP, entry, stop=StopReason.KILLED)
    return Plan(Act.DISCARD, entry)


def _without_container(spec: TaskSpec, status: Mapping[str, Any], entry: JournalEntry) -> Plan:
    if entry.ended is not None:
        return Plan(Act.FINISH, entry)  # somebody removed it; how it ended is noted
    if entry.started or _is_true(status, ConditionType.STARTED):
        stopped = is_interruption(spec, entry.stop_reason)
        return Plan(Act.GIVE_BACK if stopped else Act.FINISH_LOST, entry)
    return _before_the_start(spec, entry)


def _before_the_start(spec: TaskSpec, entry: JournalEntry) -> Plan:
    if spec.desired_state == "Killed":
        return Plan(Act.FINISH_UNSTARTED, entry)
    if spec.suspend:
        return Plan(Act.GIVE_BACK, entry)
    return Plan(Act.HOLD if spec.desired_state == "Paused" else Act.START, entry)


def _while_it_runs(
    spec: TaskSpec,
    status: Mapping[str, Any],
    container: ObservedInstance,
    entry: JournalEntry,
    now: Moment,
) -> Plan:
    reason = entry.stop_reason or _wish_to_stop(spec)
    if reason is not None:
        return Plan(Act.STOP, entry, stop=reason)
    left = None
    if spec.timeout_seconds is not None:
        left = dt.timedelta(seconds=spec.timeout_seconds - running_seconds(entry, now))
        if left <= dt.timedelta(0):
            return Plan(Act.STOP, entry, stop=StopReason.TIMED_OUT)
    paused = container.state is InstanceState.PAUSED
    if paused != (spec.desired_state == "Paused"):
        return Plan(Act.RESUME if paused else Act.PAUSE, entry)
    if paused:
        left = None  # its time stands still
    started = _is_true(status, ConditionType.STARTED)
    if started and paused == _is_true(status, ConditionType.PAUSED):
        return Plan(Act.NOTHING, entry, left)
    age = dt.timedelta(seconds=now.uptime - (entry.started_uptime or now.uptime))
    if not started and not paused and age < REPORT_START_AFTER:
        return Plan(Act.NOTHING, entry, REPORT_START_AFTER - age)
    return Plan(Act.REPORT, entry, left)


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


def _is_true(status: Mapping[str, Any], type: str) -> bool:
    condition = conditions.get(status.get("conditions"), type)
    return condition is not None and condition["status"] == conditions.TRUE
