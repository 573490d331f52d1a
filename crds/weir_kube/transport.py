"""One HTTP request to the API server, with its deadline, its token and its retries."""

import asyncio
import datetime as dt
import email.utils
import json
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import yarl

from weir_kube.access import Access
from weir_kube.errors import (
    ApiError,
    ApiUnavailableError,
    NotLeadingError,
    TooManyRequestsError,
    error_of,
)
from weir_kube.metrics import count_request, time_request

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_UNAUTHORIZED = 401
_WARNINGS_REMEMBERED = 256
_RETRY_AFTER_AT_MOST = 60.0
"""However long a Retry-After is, a date by a clock that is wrong above all: who waits holds cores,
and nobody would tell that the API server is back."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; ``verb`` and ``kind`` name it in metrics and messages."""

    verb: str
    kind: str
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = "application/json"
    may_be_sent: Callable[[], bool] = lambda: True

    @property
    def label(self) -> str:
        """Names it in messages."""
        return f"{self.verb} {self.kind}"


class Transport:
    """Sends requests to one API server. Watches have connections of their own."""

    def __init__(self, access: Access) -> None:
        """Keep the access; connections are opened when needed."""
        self.access = access
        self._requests: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None
        self._warned: set[str] = set()

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        for session in (self._requests, self._watches):
            if session is not None:
                await session.close()
        self._requests = self._watches = None

    def authenticated_session(
        self, *middlewares: aiohttp.ClientMiddlewareType
    ) -> aiohttp.ClientSession:
        """Open a session for another library: every request of it carries the current token."""
        return self.access.session(connections=0, middlewares=(*middlewares, self._authenticate))

    async def send(self, request: Request, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        """Send a request and return the parsed JSON of its answer.

        A 429, or a 503 with Retry-After, is tried again when the wait fits in the deadline.

        Raises:
            ApiError: the answer was no success; its subclass says what it was.
            ApiUnavailableError: there was no answer. The request may have taken effect.
            NotLeadingError: it was not to be sent, or not to be sent once more.
        """
        if self._requests is None:
            self._requests = self.access.session(connections=self.access.connections)
        ends_at = time.monotonic() + deadline_seconds
        while True:
            if not request.may_be_sent():
                raise NotLeadingError(f"{request.label}: the Lease is not held")
            remaining = max(ends_at - time.monotonic(), 0.001)
            timeout = aiohttp.ClientTimeout(total=remaining, sock_connect=_CONNECT_SECONDS)
            async with self._exchange(self._requests, request, timeout) as response:
                body = await response.read()
            if response.status < 300:
                return _parsed(request, body)
            error = _error(response, body)
            wait = _wait(response.status, error)
            if wait is None or time.monotonic() + wait >= ends_at:
                raise error
            logger.debug("%s %s: %s; retried in %.1f s", request.verb, request.kind, error, wait)
            await asyncio.sleep(wait)

    async def lines(
        self,
        request: Request,
        idle_seconds: float,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Send a request and yield the lines of its answer, however long, as they come.

        Nothing for ``idle_seconds`` counts as the answer's end.

        Raises:
            ApiError: the answer was no success.
            ApiUnavailableError: no connection, or it broke.
        """
        if self._watches is None:
            self._watches = self.access.session(connections=0)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=idle_seconds
        )
        async with self._exchange(self._watches, request, timeout) as response:
            if response.status >= 300:
                raise _error(response, await response.read())
            if on_open is not None:
                on_open()
            async with aclosing(_lines(response)) as lines:
                async for line in lines:
                    yield line

    @asynccontextmanager
    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open the answer to a request; with another token, should this one be refused."""
        started = time.monotonic()
        code = 0
        try:
            async with asyncio.timeout(timeout.total or DEADLINE_SECONDS):
                response = await self._open(session, request, timeout)
            try:
                code = response.status
                self._log_warnings(response)
                time_request(request.verb, request.kind).observe(time.monotonic() - started)
                yield response
            finally:
                if request.verb == "watch":
                    response.close()  # left early, it would go on in the pool
                else:
                    response.release()
        except TimeoutError as exc:
            raise ApiUnavailableError(
                f"{request.label}: no answer from {self.access.server} in time"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise ApiUnavailableError(
                f"{request.label}: {self.access.server}: {exc or type(exc).__name__}"
            ) from exc
        finally:
            count_request(request.verb, request.kind, code).inc()

    async def _open(
        self, session: aiohttp.ClientSession, request: Request, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        query = f"?{urlencode(request.query)}" if request.query else ""
        url = yarl.URL(f"{self.access.server}{request.path}{query}", encoded=True)
        data = None
        headers: dict[str, str] = {}
        if request.body is not None:
            data = json.dumps(request.body, separators=(",", ":")).encode()
            headers["Content-Type"] = request.content_type
        credentials = self.access.credentials
        for attempt in (1, 2):
            authorization = await credentials.header()
            if authorization is not None:
                headers["Authorization"] = authorization
            response = await session.request(
                request.method,
                url,
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                server_hostname=self.access.tls_server_name,
            )
            if response.status != _UNAUTHORIZED or attempt == 2:
                break
            if not await credentials.refresh(authorization):
                break
            response.release()
        return response

    async def _authenticate(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        credentials = self.access.credentials
        authorization = await credentials.header()
        if authorization is not None:
            request.headers["Authorization"] = authorization
        response = await handler(request)
        if response.status == _UNAUTHORIZED and await credentials.refresh(authorization):
            response.release()
            request.headers["Authorization"] = await credentials.header() or ""
            response = await handler(request)
        return response

    def _log_warnings(self, response: aiohttp.ClientResponse) -> None:
        """Log what the API server warns of (unknown fields, deprecations), each text once."""
        for warning in response.headers.getall("Warning", ()):
            if warning not in self._warned and len(self._warned) < _WARNINGS_REMEMBERED:
                self._warned.add(warning)
                logger.warning("the API server warns: %s", warning)


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    pending: list[bytes] = []
    try:
        async for chunk in response.content.iter_any():
            first, *rest = chunk.split(b"\n")
            pending.append(first)
            for following in rest:
                line = b"".join(pending)
                pending = [following]
                if line:
                    yield line
    except aiohttp.SocketTimeoutError:
        return
    if any(pending):
        yield b"".join(pending)


def _parsed(request: Request, body: bytes) -> Any:
    try:
        answer = orjson.loads(body)
    except ValueError as exc:
        raise ApiUnavailableError(f"{request.label}: the answer is no JSON") from exc
    if not isinstance(answer, dict):
        raise ApiUnavailableError(f"{request.label}: the answer is no object")
    return answer


def _error(response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {"message": body[:500].decode("utf-8", "replace").strip()}
    return error_of(
        response.status,
        status,
        retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
    )


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, whichever form it has (RFC 9110)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _RETRY_AFTER_AT_MOST)


def _seconds_until(date: str) -> float:
    """Return how far off an HTTP date is by our own clock; NaN: it is none."""
    try:
        when = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    if when.tzinfo is None:  # "-0000" means UTC, and says nothing of where it was written
        when = when.replace(tzinfo=dt.UTC)
    return (when - dt.datetime.now(dt.UTC)).total_seconds()


def _wait(status: int, error: ApiError) -> float | None:
    """Return how long to wait before another try; None: do not try."""
    asked = error.retry_after_seconds
    if asked is None:
        return None
    if isinstance(error, TooManyRequestsError) or status == _UNAVAILABLE:
        return asked + random.uniform(0, 0.1 + asked / 10)  # noqa: S311
    return None
