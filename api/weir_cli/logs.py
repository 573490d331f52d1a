"""``kubectl weir logs``."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from weir_cli.access import open_daemons
from weir_cli.errors import CommandError
from weir_cli.options import LogsOptions
from weir_cli.reads import get_host, get_task, namespace_of
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.kinds import TASK
from weir_kube.api import Api, Object
from weir_kube.daemons import Daemons
from weir_kube.errors import ApiUnavailableError, DaemonRefusedError, GoneError, NotFoundError

# The daemon may know of a start or a bind a little later than we do, or may just be starting.
_LATE = frozenset({"NotStarted", "NotReady", "NotFound"})
_LATE_SECONDS = 10.0
_RETRY_SECONDS = 0.3
_STDOUT = 1


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


async def print_logs(api: Api, options: LogsOptions) -> None:
    """Copy a Task's output to stdout."""
    told = ""
    async with aclosing(_states(api, options)) as states:
        async for task in states:
            match readiness(task, options.run, follow=options.follow):
                case Never(why=why):
                    raise CommandError(f'task "{options.name}" printed nothing: {why}')
                case NotYet(why=why):
                    if not options.follow:
                        raise CommandError(f'task "{options.name}" has no output yet: {why}')
                    if why != told:
                        told = why
                        print(f"waiting for {options.name} to start: {why}", file=sys.stderr)
                case Readable(host=host, run=run):
                    await _copy(api, options, host, run or options.run)
                    return


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


async def _states(api: Api, options: LogsOptions) -> AsyncGenerator[Object, None]:
    """Yield the Task now and on every change; raises NotFoundError once it is deleted."""
    while True:
        task = await get_task(api, options, options.name)
        yield task
        watch = api.watch(
            TASK,
            task["metadata"]["resourceVersion"],
            namespace_of(api, options),
            field_selector=f"metadata.name={options.name}",
        )
        try:
            async with aclosing(watch) as events:
                async for event in events:
                    if event.type == "DELETED":
                        break
                    if event.type != "BOOKMARK":
                        yield event.object
        except (GoneError, ApiUnavailableError):
            await asyncio.sleep(1)


async def _copy(api: Api, options: LogsOptions, host_name: str, run: int | None) -> None:
    try:
        host = await get_host(api, options, host_name)
    except NotFoundError as error:
        raise CommandError(f"host {host_name} is gone, and the output with it") from error
    namespace, name = quote(namespace_of(api, options)), quote(options.name)
    path = f"/v1/namespaces/{namespace}/tasks/{name}/log"
    query = {"follow": "true"} if options.follow else {}
    for parameter, value in (
        ("tail", options.tail),
        ("stream", options.stream),
        ("run", run),
    ):
        if value is not None:
            query[parameter] = str(value)
    async with open_daemons(api, options) as daemons:
        await _print_stream(daemons, host, path, query)


async def _print_stream(
    daemons: Daemons, host: Object, path: str, query: Mapping[str, str]
) -> None:
    late_until = time.monotonic() + _LATE_SECONDS
    while True:
        try:
            async with daemons.stream(host, path, query, silent_seconds=0) as response:
                dropped = int(response.headers.get("Weir-Dropped-Bytes", "0"))
                if dropped and "tail" not in query:
                    print(f"(the oldest {dropped} bytes were not kept)", file=sys.stderr)
                async for data in response.content.iter_any():
                    _write(data)
                return
        except DaemonRefusedError as error:
            if error.said not in _LATE or time.monotonic() > late_until:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


def _write(data: bytes) -> None:
    """Write at once and as it is; a slow reader holds the daemon back."""
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]
