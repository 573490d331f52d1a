"""``GET /v1/namespaces/{namespace}/tasks/{name}/log``: raw bytes, chunked, with back-pressure."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from aiohttp import web

from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.errors import WeirError
from weir_crds.kinds import TASK, Kind
from weir_kube.errors import NotFoundError
from weir_kube.store import Key, Object, Store
from weir_nodedaemon.engines.port import InstanceGoneError, LogChunk
from weir_nodedaemon.logs import LogStore, closing, select, tail
from weir_nodedaemon.server.auth import Access
from weir_nodedaemon.server.errors import (
    NoOutputError,
    NotReadyError,
    NotStartedError,
    OutputLostError,
    RunNotFoundError,
    TaskNotFoundError,
    TooManyStreamsError,
)
from weir_nodedaemon.server.output import LogSource, Run, read_run
from weir_nodedaemon.server.parameters import LogQuery, parse_log_query, parse_name
from weir_nodedaemon.server.routes.metrics import LOG_BYTES, LOG_STREAMS

logger = logging.getLogger(__name__)

PATH = "/v1/namespaces/{namespace}/tasks/{name}/log"
RUN_HEADER = "Weir-Run"
DROPPED_HEADER = "Weir-Dropped-Bytes"

_STREAMS = 64
# How long a failure to begin may take and still be told by a status instead of a broken stream.
_FIRST_CHUNK_SECONDS = 0.5
# A pager may hold a stream for long, but not for ever.
_STALLED_SECONDS = 1800.0


def log_access(request: web.Request) -> Access:
    """Return what a caller of this route needs to be allowed."""
    namespace, name = _key(request)
    return Access("tasks", "log", name, namespace)


class TaskReader(Protocol):
    """Asks the API server for an object."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return an object; raises NotFoundError."""
        ...


class LogRoute:
    """Streams the output of runs."""

    def __init__(
        self,
        tasks: Store,
        engine: LogSource,
        logs: LogStore,
        *,
        reader: TaskReader,
        host_name: str,
        streams: int = _STREAMS,
        stalled_seconds: float = _STALLED_SECONDS,
    ) -> None:
        """Serve the Tasks of this store, at most ``streams`` at a time.

        Of a Task that has left this host, ``reader`` tells which runs it had.
        """
        self._tasks = tasks
        self._engine = engine
        self._logs = logs
        self._reader = reader
        self._host_name = host_name
        self._streams = streams
        self._stalled_seconds = stalled_seconds
        self._open = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with the output that the query asks for."""
        query = parse_log_query(request.query)
        if self._open >= self._streams:
            raise TooManyStreamsError(f"{self._open} logs are being read from this host already")
        self._open += 1
        LOG_STREAMS.inc()
        try:
            return await self._answer(request, query)
        finally:
            self._open -= 1
            LOG_STREAMS.dec()

    async def _answer(self, request: web.Request, query: LogQuery) -> web.StreamResponse:
        key = _key(request)
        task = self._tasks.get(key)
        if task is None:
            task, run = await self._earlier_run(key, query.run)
        else:
            run = choose_run(task, query.run)
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/octet-stream",
                "Cache-Control": "no-store",
                RUN_HEADER: str(run.run_id),
                DROPPED_HEADER: str(await self._logs.dropped_bytes(run.uid, run.run_id)),
            }
        )
        async with closing(self._output(run, query)) as chunks:
            first: asyncio.Task[LogChunk | None] = asyncio.ensure_future(_next(chunks))
            try:
                await asyncio.wait([first], timeout=_FIRST_CHUNK_SECONDS)
                if first.done() and first.exception() is not None:
                    raise _begin_error(first.exception(), task, run)
                await response.prepare(request)
                await self._send(request, response, first, chunks)
            finally:
                first.cancel()
                await asyncio.wait([first])
        return response

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        first: "asyncio.Task[LogChunk | None]",
        chunks: AsyncIterator[LogChunk],
    ) -> None:
        try:
            chunk = await first
            while chunk is not None:
                async with asyncio.timeout(self._stalled_seconds):
                    await response.write(chunk.data)  # waits for the client
                LOG_BYTES.inc(len(chunk.data))
                chunk = await _next(chunks)
        except (WeirError, TimeoutError) as error:
            logger.warning("broke off path=%s: %s", request.path, error or "the client stalled")
            # The status is sent: only a broken connection says that this is not all.
            if request.transport is not None:
                request.transport.abort()

    def _output(self, run: Run, query: LogQuery) -> AsyncIterator[LogChunk]:
        def wanted(*, follow: bool) -> AsyncIterator[LogChunk]:
            return select(read_run(self._engine, self._logs, run, follow=follow), query.stream)

        if query.tail is None:
            return wanted(follow=query.follow)
        return tail(lambda: wanted(follow=False), lambda: wanted(follow=query.follow), query.tail)

    async def _earlier_run(self, key: Key, wanted: int | None) -> tuple[Object, Run]:
        """Return a run that was here of a Task that is not bound to this host any more."""
        if not self._tasks.has_synced:
            raise NotReadyError("the daemon has just started and does not know its Tasks yet")
        unknown = TaskNotFoundError(f"no Task {key} is bound to this host")
        try:
            task = await self._reader.get(TASK, key.name, key.namespace)
        except NotFoundError:
            raise unknown from None
        status = task.get("status") or {}
        result = status.get("lastResult") or {}
        if wanted is None and result.get("nodeName") == self._host_name:
            wanted = result["runID"]
        if wanted is None or status.get("nodeName") == self._host_name:
            raise unknown
        run = choose_run(task, wanted)
        if self._logs.summary(run.uid, run.run_id) is None:
            raise NoOutputError(f"there is no output of run {wanted} on this host")
        return task, run


def choose_run(task: Object, wanted: int | None) -> Run:
    """Return the run that is asked for; raises RunNotFoundError."""
    last = (task.get("status") or {}).get("runID") or 0
    run_id = last if wanted is None else wanted
    if not 1 <= run_id <= last:
        raise RunNotFoundError(f"there is no run {run_id}: the last is {last}")
    return Run(task["metadata"]["uid"], run_id)


def _begin_error(error: BaseException | None, task: Object, run: Run) -> BaseException:
    """Return what to tell a caller whose output could not even begin."""
    if not isinstance(error, InstanceGoneError):
        return error or OutputLostError("unknown")
    status = task.get("status") or {}
    if run.run_id != status.get("runID"):
        return NoOutputError(f"the output of run {run.run_id} is no longer on this host")
    started = conditions.of(task, ConditionType.STARTED)
    if not status.get("finishedAt") and (started is None or started["status"] != "True"):
        why = f" ({started['reason']}: {started['message']})" if started else ""
        return NotStartedError(f"run {run.run_id} has not started yet{why}")
    if not status.get("startedAt"):
        return NoOutputError(f"run {run.run_id} never started, so it printed nothing")
    return NoOutputError(f"the output of run {run.run_id} is no longer on this host")


async def _next(chunks: AsyncIterator[LogChunk]) -> LogChunk | None:
    return await anext(chunks, None)


def _key(request: web.Request) -> Key:
    return Key(
        parse_name(request.match_info["namespace"], "namespace"),
        parse_name(request.match_info["name"], "name"),
    )
