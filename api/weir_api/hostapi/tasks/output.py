"""The output of a task, streamed from the host that has it."""

import asyncio
import codecs
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import Protocol

import aiohttp
from aiohttp import web

from weir_api.access.capabilities import Capability
from weir_api.access.identity import Identity
from weir_api.errors import SlowDownError, UnavailableError
from weir_api.hostapi.entries import Entry
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.wire import NOT_FOUND, TAG, OutputQuery, TaskId
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state import audit
from weir_api.web.endpoint import TEXT, Answer, Call, endpoint
from weir_crds.kinds import TASK
from weir_crds.names import UID_HEADER
from weir_kube.errors import DaemonRefusedError, DaemonUnavailableError
from weir_kube.store import Object

logger = logging.getLogger(__name__)

# A pager may hold a stream for long, but not for ever; nor may who reads it drop by drop.
_STALLED_SECONDS = 300.0
_LONGEST_SECONDS = 3600.0
# To a daemon we are one caller of 64 streams at most: none of ours shall take them all.
_MOST_OF_CALLER = 16

# How a daemon says that there is nothing to read: not yet, or not any more.
_EMPTY = frozenset({"NotStarted", "NoOutput", "RunNotFound", "NotFound"})


_ANSWERS = {200: Answer("The output; empty: there is none (yet).", str, TEXT, "epoch 1 …\n")}
_ERRORS = {
    **NOT_FOUND,
    429: "The caller reads much from that host at the moment already; `Retry-After`.",
    503: "The host that has it cannot be reached.",
}
_DESCRIPTION = "While it runs and after. Bytes that are no UTF-8 come as U+FFFD."


class DaemonStreams(Protocol):
    """Asks the daemon of a Host."""

    def stream(
        self, host: Object, path: str, query: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask; raises DaemonUnavailableError, DaemonRefusedError, NotContactedError, ApiError."""
        ...


class TaskOutput:
    """Streams output."""

    def __init__(self, index: WorkloadIndex, hosts: KnownHosts, daemons: DaemonStreams) -> None:
        """Find Tasks in the index and ask the daemons of their hosts."""
        self._index = index
        self._hosts = hosts
        self._daemons = daemons
        self._reads = audit.RateLimitedLines(burst=200, per_second=20.0)
        self._reading: Counter[tuple[str, str]] = Counter()

    @endpoint(
        "GET",
        "/api/tasks/{task_id}/stdout",
        Capability.READ_OUTPUT,
        "What a task wrote to its stdout",
        tag=TAG,
        answers=_ANSWERS,
        errors=_ERRORS,
        query=OutputQuery,
        params={"task_id": TaskId},
        description=_DESCRIPTION,
        streams=True,
    )
    async def stdout(self, call: Call) -> web.StreamResponse:
        """Stream what a task wrote to stdout."""
        return await self._answer(call, "stdout")

    @endpoint(
        "GET",
        "/api/tasks/{task_id}/stderr",
        Capability.READ_OUTPUT,
        "What a task wrote to its stderr",
        tag=TAG,
        answers=_ANSWERS,
        errors=_ERRORS,
        query=OutputQuery,
        params={"task_id": TaskId},
        description=_DESCRIPTION,
        streams=True,
    )
    async def stderr(self, call: Call) -> web.StreamResponse:
        """Stream what a task wrote to stderr."""
        return await self._answer(call, "stderr")

    async def _answer(self, call: Call, stream: str) -> web.StreamResponse:
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.READ_OUTPUT
        )
        what = f"{TASK.kind}/{entry.key.namespace}/{entry.key.name}/log"
        self._reads.note("get", what, audit.DONE, stream)
        host = self._host_of(entry)
        if host is None:
            return _nothing()
        query = {"stream": stream}
        if call.query.lines:
            query["tail"] = str(call.query.lines)
        path = f"/v1/namespaces/{entry.key.namespace}/tasks/{entry.key.name}/log"
        try:
            with self._counted(call.identity, host):
                uid = entry.obj["metadata"]["uid"]
                return await self._forward(call.request, host, path, query, uid)
        except DaemonRefusedError as refusal:
            if refusal.daemon_reason in _EMPTY:
                return _nothing()
            raise

    async def _forward(
        self, request: web.Request, host: Object, path: str, query: Mapping[str, str], uid: str
    ) -> web.StreamResponse:
        async with (
            self._daemons.stream(host, path, query) as source,
            aclosing(_decoded(source)) as text,
        ):
            if source.headers.get(UID_HEADER, uid) != uid:
                return _nothing()  # of another Task: one of them was deleted, and bore its name
            first = await anext(text, None)  # until then, what fails can be told by a status
            return _nothing() if first is None else await _send(request, first, text)

    @contextmanager
    def _counted(self, identity: Identity, host: Object) -> Iterator[None]:
        """Count one that a caller reads from a host; raises SlowDownError."""
        name = host["metadata"]["name"]
        key = (identity.name, name)
        if self._reading[key] >= _MOST_OF_CALLER:
            raise SlowDownError(f"you read {_MOST_OF_CALLER} outputs from host {name} already")
        self._reading[key] += 1
        try:
            yield
        finally:
            self._reading -= Counter([key])

    def _host_of(self, entry: Entry) -> Object | None:
        """Return the Host that has the output of a Task's last run; None: there is none."""
        status = entry.obj.get("status") or {}
        name = status.get("nodeName") or (status.get("lastResult") or {}).get("nodeName")
        if not name:
            return None
        host = self._hosts.get(name)
        if host is None:
            raise UnavailableError(f"the output is on host {name}, which is not there any more")
        return host.obj


async def _decoded(source: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """Yield a body as valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in source.content.iter_any():
        text = decoder.decode(chunk)
        if text:
            yield text.encode()
    rest = decoder.decode(b"", final=True)
    if rest:
        yield rest.encode()


async def _send(
    request: web.Request, first: bytes, rest: AsyncIterator[bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": TEXT, "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            await _write(response, first)
            async for chunk in rest:
                await _write(response, chunk)
            await response.write_eof()
    except aiohttp.ClientConnectionResetError:
        raise  # it is our client that has left
    except (DaemonUnavailableError, aiohttp.ClientError, TimeoutError) as error:
        logger.warning("broke off path=%s: %s", request.path, error or "the client stalled")
        # The status is sent: only a broken connection says that this is not all.
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the answer broke off") from error
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_STALLED_SECONDS):
        await response.write(data)  # waits for the client


def _nothing() -> web.Response:
    return web.Response(body=b"", headers={"Content-Type": TEXT, "Cache-Control": "no-store"})
