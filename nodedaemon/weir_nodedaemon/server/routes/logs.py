"""``GET /v1/namespaces/{namespace}/{kind}/{name}/log``: raw bytes, chunked, with back-pressure."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from multidict import MultiMapping

from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.kinds import Kind
from weir_crds.names import UID_HEADER
from weir_kube.errors import NotFoundError
from weir_kube.store import Key, Object, Store
from weir_nodedaemon.engines.port import LogChunk, Stream
from weir_nodedaemon.logs import LogNotFoundError, LogStore
from weir_nodedaemon.server.admission import Session
from weir_nodedaemon.server.auth import Access
from weir_nodedaemon.server.errors import (
    NoOutputError,
    NotReadyError,
    NotStartedError,
    ObjectNotFoundError,
    RunNotFoundError,
)
from weir_nodedaemon.server.query import FLAGS, check_names, choice, number, path_name
from weir_nodedaemon.server.routes.route import Route

RUN_HEADER = "Weir-Run"
DROPPED_HEADER = "Weir-Dropped-Bytes"
GAP_HEADER = "Weir-Output-Gap"

# How long a failure to begin may take and still be told by a status instead of a broken stream.
_FIRST_CHUNK_SECONDS = 0.5
_STREAMS = {stream.value: stream for stream in Stream}


class Reader(Protocol):
    """Asks the API server for an object."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return an object; raises NotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which part of the output is wanted."""

    tail: int | None = None  # lines; None: all
    follow: bool = False
    stream: Stream | None = None  # None: both, in order
    run: int | None = None  # None: the object's last


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one object."""

    uid: str
    run_id: int


def log_path(kind: Kind) -> str:
    """Return the path of a kind's output."""
    return f"/v1/namespaces/{{namespace}}/{kind.plural}/{{name}}/log"


def routes(
    logs: LogStore, stores: dict[Kind, Store], reader: Reader, host_name: str
) -> list[Route]:
    """Return the routes to the output of each of these kinds.

    Args:
        logs: where all output is.
        stores: the objects of each kind that are bound to this host.
        reader: knows objects that have left this host.
        host_name: of this host.
    """
    found: list[Route] = []
    for kind, store in stores.items():
        output = KindOutput(kind, store, logs, reader, host_name)
        found.append(Route(log_path(kind), output.access, stream=output.stream))
    return found


def parse_log_query(query: MultiMapping[str]) -> LogQuery:
    """Return the parameters.

    Raises:
        InvalidParameterError: one is unknown, there twice, or has a value that cannot be; it is
            named.
    """
    check_names(query, LogQuery.__dataclass_fields__)
    return LogQuery(
        tail=number(query, "tail", 0),
        follow=choice(query, "follow", FLAGS) or False,
        stream=choice(query, "stream", _STREAMS),
        run=number(query, "run", 1),
    )


class KindOutput:
    """Streams what the runs of one kind's objects print."""

    def __init__(
        self, kind: Kind, objects: Store, logs: LogStore, reader: Reader, host_name: str
    ) -> None:
        """Serve the objects of this store, and runs that were here of those that have left."""
        self._kind = kind
        self._objects = objects
        self._logs = logs
        self._reader = reader
        self._host_name = host_name

    def access(self, request: web.Request) -> Access:
        """Return what a caller needs to be allowed."""
        key = _key(request)
        return Access(self._kind.plural, "log", key.name, key.namespace)

    async def stream(self, request: web.Request, session: Session) -> None:
        """Send the output that the query asks for."""
        query = parse_log_query(request.query)
        key = _key(request)
        obj = self._objects.get(key)
        if obj is None:
            obj, run = await self._earlier_run(key, query.run)
        else:
            run = choose_run(obj, query.run)
        async with aclosing(self._output(obj, run, query)) as chunks:
            first = asyncio.ensure_future(anext(chunks, None))
            try:
                await asyncio.wait([first], timeout=_FIRST_CHUNK_SECONDS)
                if first.done():
                    first.result()  # raises what is told by a status
                await session.begin(await self._headers(run))
                chunk = await first
            finally:
                first.cancel()
                await asyncio.wait([first])
            while chunk is not None:
                await session.write(chunk.data)
                chunk = await anext(chunks, None)

    async def _headers(self, run: Run) -> dict[str, str]:
        missing = await self._logs.missing(run.uid, run.run_id)
        return {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "no-store",
            UID_HEADER: run.uid,
            RUN_HEADER: str(run.run_id),
            DROPPED_HEADER: str(missing.oldest_bytes),
            **({GAP_HEADER: "true"} if missing.gap else {}),
        }

    async def _output(
        self, obj: Object, run: Run, query: LogQuery
    ) -> AsyncGenerator[LogChunk, None]:
        if not await self._logs.has_begun(run.uid, run.run_id):
            why_not_started(obj, run)
        reading = self._logs.read(
            run.uid,
            run.run_id,
            follow=query.follow and not is_over(obj, run),
            tail=query.tail,
            stream=query.stream,
        )
        try:
            async with aclosing(reading) as chunks:
                async for chunk in chunks:
                    yield chunk
        except LogNotFoundError:
            raise missing_output(obj, run) from None

    async def _earlier_run(self, key: Key, wanted: int | None) -> tuple[Object, Run]:
        """Return a run that was here of an object that is not bound to this host any more."""
        if not self._objects.has_synced:
            raise NotReadyError("the daemon has just started and does not know its objects yet")
        unknown = ObjectNotFoundError(f"no {self._kind.kind} {key} is bound to this host")
        try:
            obj = await self._reader.get(self._kind, key.name, key.namespace)
        except NotFoundError:
            raise unknown from None
        status = obj.get("status") or {}
        result = status.get("lastResult") or {}
        if wanted is None and result.get("nodeName") == self._host_name:
            wanted = result["runID"]
        if wanted is None or status.get("nodeName") == self._host_name:
            raise unknown
        run = choose_run(obj, wanted)
        if not await self._logs.has(run.uid, run.run_id):
            raise NoOutputError(f"there is no output of run {wanted} on this host")
        return obj, run


def choose_run(obj: Object, wanted: int | None) -> Run:
    """Return the run that is asked for; raises RunNotFoundError."""
    last = (obj.get("status") or {}).get("runID") or 0
    run_id = last if wanted is None else wanted
    if not 1 <= run_id <= last:
        raise RunNotFoundError(f"there is no run {run_id}: the last is {last}")
    return Run(obj["metadata"]["uid"], run_id)


def is_over(obj: Object, run: Run) -> bool:
    """Tell whether the end of a run is known to all: nothing more will be printed."""
    status = obj.get("status") or {}
    result = status.get("lastResult") or {}
    return bool(
        status.get("finishedAt")
        or run.run_id != status.get("runID")
        or result.get("runID") == run.run_id
    )


def why_not_started(obj: Object, run: Run) -> None:
    """Return if a run that printed nothing has started; raises NotStartedError."""
    started = conditions.of(obj, ConditionType.STARTED)
    if not is_over(obj, run) and (started is None or started["status"] != "True"):
        why = f" ({started['reason']}: {started['message']})" if started else ""
        raise NotStartedError(f"run {run.run_id} has not started yet{why}")


def missing_output(obj: Object, run: Run) -> Exception:
    """Return what to tell a caller about a run of which nothing is stored."""
    status = obj.get("status") or {}
    if run.run_id == status.get("runID") and not status.get("startedAt") and is_over(obj, run):
        return NoOutputError(f"run {run.run_id} never started, so it printed nothing")
    if not is_over(obj, run):
        return NotReadyError(f"the output of run {run.run_id} is not followed yet")
    return NoOutputError(f"the output of run {run.run_id} is no longer on this host")


def _key(request: web.Request) -> Key:
    return Key(
        path_name(request.match_info["namespace"], "namespace"),
        path_name(request.match_info["name"], "name"),
    )
