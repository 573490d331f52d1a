"""Why a Task is where it is, for people. Pure: objects in, text out."""

import datetime as dt
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from weir_cli.formatting import format_age, format_bytes, format_cpu, table
from weir_cli.usage import describe_lacks, usage_of_hosts
from weir_crds import conditions
from weir_crds.conditions import ConditionType, Reason
from weir_crds.demand import Request, request_of
from weir_crds.times import InvalidTimeError, parse_time
from weir_kube.store import Object, key_of

_AHEAD_NAMED = 5

_NOT_STARTED: Mapping[str, str] = {
    Reason.PULLING_IMAGE: "The host is fetching its image.",
    Reason.IMAGE_PULL_FAILED: "The host could not fetch its image yet and tries again.",
    Reason.PULL_SECRET_NOT_READABLE: "The host may not read one of its imagePullSecrets, or there"
    " is none of that name, or no login in it.",
    Reason.REGISTRY_LOGIN_FAILED: "The registry refused, and the login that the host has for it"
    " cannot be read; the host tries again.",
    Reason.WAITING_FOR_CORES: "The host waits until what held its cores or memory has ended.",
    Reason.SECRET_NOT_READABLE: "The host may not read a Secret or ConfigMap that it names, or"
    " there is none of that name.",
    Reason.ENGINE_UNAVAILABLE: "Docker on the host does not answer; the host tries again.",
    Reason.CREATE_FAILED: "Docker could not make its container.",
    Reason.STOPPED: "Its container was stopped, so that it can be placed anew.",
}
_ENDED: Mapping[str, str] = {
    Reason.COMPLETED: "It succeeded: its program exited with code 0.",
    Reason.TIMED_OUT: "It ran longer than spec.timeoutSeconds ({timeout}) and was stopped.",
    Reason.KILLED: "It was killed: spec.desiredState was set to Killed.",
    Reason.REJECTED: "It was rejected: spec.approval was set to Rejected.",
    Reason.IMAGE_PULL_FAILED: "Its image {image} could not be fetched.",
    Reason.CREATE_FAILED: "Its container could not be made or its program not be started.",
    Reason.HOST_LOST: "Its host was lost, and spec.onHostLost is {on_host_lost}.",
}


def explain(
    task: Object, hosts: list[Object] | None, tasks: Iterable[Object] | None, now: dt.datetime
) -> list[str]:
    """Return paragraphs that say why a Task waits, runs, or ended as it did.

    Args:
        task: the Task.
        hosts: all Hosts, or that of a Task that has one; None: the person may not see them.
        tasks: the Tasks of all namespaces; None: the person may not see them.
        now: the time.
    """
    spec, status = task["spec"], task.get("status") or {}
    name = str(key_of(task))
    if status.get("finishedAt"):
        return _ended(name, task, spec, status, now)
    if not status.get("nodeName"):
        return _waiting(name, task, hosts, tasks, now)
    return _bound(name, task, hosts, now)


def explain_host(host: Object, tasks: Iterable[Object] | None, now: dt.datetime) -> list[str]:
    """Return paragraphs that say whether a Host takes new Tasks, and if not, why.

    Args:
        host: the Host.
        tasks: the Tasks of all namespaces; None: the person may not see them.
        now: the time.
    """
    (usage,) = usage_of_hosts([host], tasks or ())
    if usage.obstacles:
        lines = [f"Host {usage.name} takes no new Tasks: it {'; it '.join(usage.obstacles)}."]
    elif usage.kept_free_for:
        lines = [
            f"Host {usage.name} takes no new Task but {usage.kept_free_for}, which waits longest:"
            " it is kept free until that has room."
        ]
    else:
        lines = [f"Host {usage.name} takes new Tasks."]
    for condition in (host.get("status") or {}).get("conditions") or ():
        since = _age(condition.get("lastTransitionTime"), now)
        lines += [f"{line} (for {since})" for line in _quoted(condition)]
    if tasks is None:
        return [*lines, "You may not list the Tasks of all namespaces: who is there is not known."]
    count = "1 Task has" if usage.tasks == 1 else f"{usage.tasks or 'no'} Tasks have"
    return [*lines, f"{count[0].upper()}{count[1:]} a place on it."]


def _ended(
    name: str, task: Object, spec: Mapping[str, Any], status: Mapping[str, Any], now: dt.datetime
) -> list[str]:
    condition = conditions.of(task, ConditionType.SUCCEEDED) or {}
    where = f" on host {status['nodeName']}" if status.get("nodeName") else ""
    run = f", run {status['runID']}" if (status.get("runID") or 0) > 1 else ""
    head = f"Task {name} ended {_ago(status['finishedAt'], now)}{where}{run}."
    reason = condition.get("reason", "")
    lines = [head, _describe_end(reason, spec, status), *_quoted(condition)]
    if reason == Reason.COMPLETED:
        return lines
    if status.get("startedAt"):
        lines.append(f"What it printed: kubectl weir logs -n {_names(task)}")
    return lines


def _describe_end(reason: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    match reason:
        case Reason.NON_ZERO_EXIT:
            return f"Its program exited with code {status.get('exitCode')}."
        case Reason.SIGNALLED:
            return f"Signal {_describe_signal(status.get('signal'))} ended its program."
        case Reason.OOM_KILLED:
            limit = (spec.get("resources") or {}).get("memory")
            return (
                f"It needed more memory than its limit, spec.resources.memory ({limit}), so the"
                " kernel killed it. A new Task may ask for more."
            )
    text = _ENDED.get(reason)
    if text is None:
        return f"It ended with reason {reason or 'unknown'}."
    return text.format(
        timeout=format_age(dt.timedelta(seconds=spec.get("timeoutSeconds") or 0)),
        image=spec.get("image"),
        on_host_lost=spec.get("onHostLost"),
    )


def _waiting(
    name: str,
    task: Object,
    hosts: list[Object] | None,
    tasks: Iterable[Object] | None,
    now: dt.datetime,
) -> list[str]:
    spec = task["spec"]
    condition = conditions.of(task, ConditionType.SCHEDULED)
    since = (condition or {}).get("lastTransitionTime") or task["metadata"].get("creationTimestamp")
    lines = [f"Task {name} has no host; it waits for {_age(since, now)}."]
    lines += _last_run(task.get("status") or {}, now)
    if spec.get("desiredState") == "Killed":
        return [*lines, "It is being killed: spec.desiredState is Killed."]
    if spec.get("approval", "Approved") != "Approved":
        return [*lines, f"spec.approval is {spec['approval']}: it waits for a decision."]
    if spec.get("suspend"):
        return [*lines, "spec.suspend is true: it is kept out of the queue until it is false."]
    if condition is None:
        lines.append(
            "The operator has not said anything about it: it may be new, or no operator runs."
        )
    lines += _quoted(condition)
    if condition and condition["reason"] == Reason.BACK_OFF:
        return [*lines, *_pause_before(task)]
    asked = request_of(task)
    lines.append(f"It asks for {_describe_asked(asked)}.")
    if hosts is None:
        return [*lines, "You may not list Hosts: what each lacks is not known."]
    if not hosts:
        return [*lines, "There is no Host at all."]
    unfinished = [other for other in tasks or () if not _has_ended(other)]
    usages = usage_of_hosts(hosts, unfinished)
    refusals = {usage.name: describe_lacks(asked, usage, name) for usage in usages}
    rows = [
        (host, "no" if found else "yes", "; ".join(found) or "-")
        for host, found in refusals.items()
    ]
    lines.append(table(("HOST", "ROOM", "WHY"), rows))
    if tasks is None:
        lines.append(
            "You may not list the Tasks of all namespaces, so what they hold is not in this table."
        )
        return lines
    ahead = _ahead(task, unfinished)
    if ahead:
        more = f" and {len(ahead) - _AHEAD_NAMED} more" if len(ahead) > _AHEAD_NAMED else ""
        lines.append(
            f"Before it in the queue, by priority or age: {', '.join(ahead[:_AHEAD_NAMED])}{more}."
        )
    elif not all(refusals.values()):
        lines.append("There is room and nothing is before it: it should get its host any moment.")
    return lines


def _bound(name: str, task: Object, hosts: list[Object] | None, now: dt.datetime) -> list[str]:
    spec, status = task["spec"], task["status"]
    host = status["nodeName"]
    started = conditions.of(task, ConditionType.STARTED)
    if conditions.is_true(task, ConditionType.STARTED):
        since = status.get("startedAt") or (started or {}).get("lastTransitionTime")
        lines = [f"Task {name} has been running on host {host} for {_age(since, now)}."]
        if conditions.is_true(task, ConditionType.PAUSED):
            lines = [f"Task {name} is paused on host {host}: spec.desiredState is Paused."]
        elif spec.get("desiredState") == "Paused":
            lines.append("It is about to be paused: spec.desiredState is Paused.")
    else:
        lines = [
            f"Task {name} has host {host} for {_age(status.get('scheduledAt'), now)}"
            " and has not started."
        ]
        if spec.get("desiredState") == "Paused":
            lines.append("spec.desiredState is Paused: it keeps its place and does not start.")
        elif started is None:
            lines.append("Its host has not said anything about it yet.")
        elif started["reason"] in _NOT_STARTED:
            lines.append(_NOT_STARTED[started["reason"]])
        lines += _quoted(started)
    lines += _last_run(status, now)
    if spec.get("desiredState") == "Killed":
        lines.append(
            f"It is being killed: TERM, and KILL {spec.get('stopGraceSeconds', 10)} s later."
        )
    elif spec.get("suspend"):
        lines.append("It is being stopped: spec.suspend is true.")
    return lines + _host_trouble(host, hosts, spec, now)


def _last_run(status: Mapping[str, Any], now: dt.datetime) -> list[str]:
    """Return how the run before the current one ended."""
    last = status.get("lastResult")
    if not last:
        return []
    code = f", exit code {last['exitCode']}" if last.get("exitCode") is not None else ""
    ended = _ago(last.get("finishedAt"), now)
    where = f" on host {last['nodeName']}" if last.get("nodeName") else ""
    return [f"Its run {last.get('runID')} ended {ended}{where}: {last.get('reason')}{code}."]


def _pause_before(task: Object) -> list[str]:
    """Return why a Task pauses before its next run."""
    spec, status = task["spec"], task["status"]
    reason = (status.get("lastResult") or {}).get("reason", "")
    if reason in _NOT_STARTED:  # no failure, and nothing was printed
        return [_NOT_STARTED[reason], "It is tried again after a pause, with no retry used up."]
    used, limit = status.get("failures") or 0, (spec.get("retry") or {}).get("limit") or 0
    return [
        f"It is tried again after a pause: retry {used} of {limit}, each pause twice the last.",
        f"What it printed: kubectl weir logs -n {_names(task)}",
    ]


def _host_trouble(
    name: str, hosts: list[Object] | None, spec: Mapping[str, Any], now: dt.datetime
) -> list[str]:
    """Return what is wrong with the host of a bound Task, and what comes of it."""
    if hosts is None:
        return [f"You may not read Hosts: whether {name} is well is not known."]
    host = next((host for host in hosts if host["metadata"]["name"] == name), None)
    if host is None:
        return [
            f"There is no Host {name}: nobody tells what happens to it.",
            *_when_lost(spec),
        ]
    found = []
    for kind, trouble in (
        (ConditionType.READY, "is not heard of"),
        (ConditionType.DOCKER_READY, "has no working Docker"),
    ):
        condition = conditions.of(host, kind)
        if condition is None or condition["status"] != conditions.TRUE:
            since = _age((condition or {}).get("lastTransitionTime"), now)
            found += [f"Host {name} {trouble} for {since}.", *_quoted(condition)]
            if condition and condition["status"] == conditions.UNKNOWN:
                found += _when_lost(spec)
            break
    return found


def _when_lost(spec: Mapping[str, Any]) -> list[str]:
    """Return what is done with a Task whose host stays lost."""
    grace = format_age(dt.timedelta(seconds=spec.get("hostLostGraceSeconds", 300)))
    match spec.get("onHostLost", "Wait"):
        case "Restart":
            return [f"It is run anew elsewhere {grace} after that: spec.onHostLost is Restart."]
        case "Fail":
            return [f"It ends as HostLost {grace} after that: spec.onHostLost is Fail."]
        case _:
            return ["It waits until the host is back: spec.onHostLost is Wait."]


def _quoted(condition: Mapping[str, Any] | None) -> list[str]:
    if not condition:
        return []
    message = condition.get("message")
    end = f": {message}" if message else ""
    return [f"  {condition['type']}={condition['status']} {condition['reason']}{end}"]


def _describe_asked(asked: Request) -> str:
    if asked.cores:
        parts = [f"{asked.cores} core{'s' if asked.cores > 1 else ''} of its own"]
    elif asked.cpu_millis:
        parts = [f"{format_cpu(asked.cpu_millis)} cpu on the shared cores"]
    else:
        parts = ["a place on the shared cores"]
    if asked.memory_bytes:
        parts.append(f"{format_bytes(asked.memory_bytes)} memory")
    if asked.gpus:
        parts.append(f"{asked.gpus} gpu{'s' if asked.gpus > 1 else ''}")
    if asked.host_name:
        parts.append(f"host {asked.host_name}")
    if asked.host_selector:
        labels = ",".join(f"{key}={value}" for key, value in asked.host_selector)
        parts.append(f"a host labelled {labels}")
    if asked.numa_node is not None:
        parts.append(f"NUMA node {asked.numa_node}")
    return ", ".join(parts)


def _ahead(task: Object, tasks: list[Object]) -> list[str]:
    """Return who is before a Task by priority, then age; fair share is the operator's to know."""
    mine = _order(task)
    waiting = [other for other in tasks if _waits(other) and _order(other) < mine]
    return [str(key_of(other)) for other in sorted(waiting, key=_order)]


def _has_ended(task: Object) -> bool:
    return bool((task.get("status") or {}).get("finishedAt"))


def _waits(task: Object) -> bool:
    spec, status = task["spec"], task.get("status") or {}
    return not (
        _has_ended(task)
        or status.get("nodeName")
        or spec.get("suspend")
        or spec.get("approval", "Approved") != "Approved"
        or spec.get("desiredState") == "Killed"
    )


def _order(task: Object) -> tuple[int, str]:
    return -(task["spec"].get("priority") or 0), task["metadata"].get("creationTimestamp") or ""


def _describe_signal(number: int | None) -> str:
    try:
        return f"{number} ({signal.Signals(number or 0).name})"
    except ValueError:
        return str(number)


def _names(task: Object) -> str:
    metadata = task["metadata"]
    return f"{metadata['namespace']} {metadata['name']}"


def _age(since: str | None, now: dt.datetime) -> str:
    try:
        return format_age(now - parse_time(since or ""))
    except InvalidTimeError:
        return "an unknown time"


def _ago(since: str | None, now: dt.datetime) -> str:
    return f"{_age(since, now)} ago"
