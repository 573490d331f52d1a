"""``kubectl weir logs``."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

from weir_cli.daemon import Daemon
from weir_cli.errors import CommandError
from weir_cli.kubectl import Kubectl
from weir_cli.options import LogsOptions
from weir_cli.output import write_output
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.kinds import HOST, TASK, Kind
from weir_crds.names import UID_HEADER
from weir_kube.errors import DaemonRefusedError
from weir_kube.store import Object

# The daemon may know of a start or a bind a little later than we do, or may just be starting.
_LATE = frozenset({"NotStarted", "NotReady", "NotFound"})
_LATE_SECONDS = 10.0
_RETRY_SECONDS = 0.3
_LONGEST_PAUSE_SECONDS = 5.0
_ANOTHER = "it has the output of another Task of that name, which was deleted or is newer"


class TaskReader(Protocol):
    """Reads and watches Tasks of a namespace (``Kubectl`` does)."""

    @property
    def namespace(self) -> str:
        """The namespace that is meant."""
        ...

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return an object, or raise KubectlError."""
        ...

    def watch(
        self, kind: Kind, namespace: str, name: str, version: str
    ) -> AbstractContextManager[Iterator[tuple[str, Object]]]:
        """Yield the changes of one object after a resourceVersion, until the server ends them."""
        ...


@dataclass(frozen=True, slots=True)
class Readable:
    """There is output on this host; of which run, where that is not the current one."""

    host: str
    run: int | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """There may be output later; ``why`` says what is waited for."""

    why: str


@dataclass(frozen=True, slots=True)
class Never:
    """There is none and there will be none."""

    why: str


def print_logs(kubectl: Kubectl, options: LogsOptions) -> None:
    """Copy a Task's output to stdout."""
    waits_for = ""
    for task in states(kubectl, options.name):
        wanted = _run_of(task, options)
        match readiness(task, wanted, follow=options.follow):
            case Never(why=why):
                raise CommandError(f'task "{options.name}" printed nothing: {why}')
            case NotYet(why=why):
                if not options.follow:
                    raise CommandError(f'task "{options.name}" has no output yet: {why}')
                if why != waits_for:
                    waits_for = why
                    print(f"waiting for {options.name} to start: {why}", file=sys.stderr)
            case Readable(host=host, run=run):
                _copy(kubectl, options, task["metadata"]["uid"], host, run or wanted)
                return


def _run_of(task: Object, options: LogsOptions) -> int | None:
    """Return the number of the run that is asked for; None: the last."""
    if not options.previous:
        return options.run
    current = (task.get("status") or {}).get("runID") or 0
    if current < 2:
        raise CommandError(f'task "{options.name}" has no run before its last')
    return int(current) - 1


def readiness(
    task: Object, wanted: int | None = None, *, follow: bool = False
) -> Readable | NotYet | Never:
    """Return where a Task's output is, or why there is none.

    Args:
        task: the Task.
        wanted: the run that is asked for; None: the current one, or the one before it while the
            Task has no host.
        follow: whether the next run is worth waiting for.
    """
    status = task.get("status") or {}
    host = status.get("nodeName")
    result = status.get("lastResult") or {}
    waits = host is not None or (follow and not status.get("finishedAt"))
    asked_for = wanted == result.get("runID") or (wanted is None and not waits)
    if result.get("nodeName") and asked_for:
        return Readable(result["nodeName"], result["runID"])
    started = conditions.of(task, ConditionType.STARTED)
    if host and (status.get("startedAt") or (started and started["status"] == conditions.TRUE)):
        return Readable(host)
    if host and (status.get("runID") or 0) > 1:
        return Readable(host)  # of an earlier run
    if status.get("finishedAt"):
        ended = conditions.of(task, ConditionType.SUCCEEDED)
        return Never(f"it never started{_because(ended)}")
    if host:
        return NotYet(f"host {host} has not started it{_because(started)}")
    return NotYet(f"it has no host{_because(conditions.of(task, ConditionType.SCHEDULED))}")


def _because(condition: conditions.Condition | None) -> str:
    if condition is None:
        return ""
    message = condition.get("message")
    return f" ({condition['reason']}: {message})" if message else f" ({condition['reason']})"


def states(
    kubectl: TaskReader, name: str, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Object]:
    """Yield the Task now and on every change; raises KubectlError once it is deleted."""
    pause = _RETRY_SECONDS
    while True:
        task = kubectl.get(TASK, name, kubectl.namespace)
        yield task
        version = task["metadata"]["resourceVersion"]
        # A watch that shows nothing before its end may well be forbidden, or cut by a proxy.
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        with kubectl.watch(TASK, kubectl.namespace, name, version) as events:
            for kind, obj in events:
                pause = _RETRY_SECONDS
                if kind == "DELETED":
                    break
                if kind != "BOOKMARK":
                    yield obj
        sleep(pause)


def _copy(
    kubectl: Kubectl, options: LogsOptions, uid: str, host_name: str, run: int | None
) -> None:
    host = kubectl.find(HOST, host_name)
    if host is None:
        raise CommandError(f"host {host_name} is gone, and the output with it")
    namespace, name = quote(kubectl.namespace), quote(options.name)
    path = f"/v1/namespaces/{namespace}/tasks/{name}/log"
    query = {"follow": "true"} if options.follow else {}
    for parameter, value in (
        ("tail", options.tail),
        ("stream", options.stream),
        ("run", run),
    ):
        if value is not None:
            query[parameter] = str(value)
    _print_stream(Daemon(kubectl, host), path, query, uid)


def _print_stream(daemon: Daemon, path: str, query: Mapping[str, str], uid: str) -> None:
    late_until = time.monotonic() + _LATE_SECONDS
    while True:
        try:
            # Only a Task that still runs may be silent.
            with daemon.stream(path, query, endless="follow" in query) as (headers, pieces):
                if headers.get(UID_HEADER, uid) != uid:
                    host = daemon.endpoint.host
                    raise DaemonRefusedError(host, "NotFound", _ANOTHER, HTTPStatus.NOT_FOUND)
                dropped = headers.get("Weir-Dropped-Bytes", "0")
                if dropped != "0" and "tail" not in query:
                    print(f"(the oldest {dropped} bytes were not kept)", file=sys.stderr)
                if headers.get("Weir-Output-Gap"):
                    print("(some of the output in here could not be stored)", file=sys.stderr)
                for data in pieces:
                    write_output(data)
                return
        except DaemonRefusedError as error:
            if error.daemon_reason not in _LATE or time.monotonic() > late_until:
                raise
            time.sleep(_RETRY_SECONDS)
