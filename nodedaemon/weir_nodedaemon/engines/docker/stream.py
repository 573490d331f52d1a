"""Docker's endless answers (logs, events, a pull's progress), read without blocking.

The Docker SDK reads them in a thread that blocks for as long as the stream lives, and a pull that
has no answer yet cannot be ended at all. Here a stream costs one connection: the loop reads it only
as fast as its reader takes it, and closing the iterator closes the connection, which makes Docker
stop.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from weir_nodedaemon.engines.docker.refusals import RefusedError
from weir_nodedaemon.engines.port import EngineUnavailableError

_UNIX = "unix://"
_READ_BYTES = 1 << 16  # what is read ahead of the reader, per stream
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


class StreamClient:
    """Opens streams of one Docker API."""

    def __init__(
        self,
        base_url: str,
        api_version: Callable[[], Awaitable[str]],
        answer_seconds: float,
    ) -> None:
        """Connect at the first stream, in the running loop.

        Args:
            base_url: as the engine's.
            api_version: tells the version of the API to use.
            answer_seconds: deadline until an answer begins, unless ``open`` says otherwise.
        """
        self._api_version = api_version
        self._answer_seconds = answer_seconds
        self._socket = base_url.removeprefix(_UNIX) if base_url.startswith(_UNIX) else None
        self._root = "http://docker" if self._socket else base_url.replace("tcp://", "http://", 1)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        answer_seconds: float | None = None,
        silence_seconds: float | None = None,
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """Give the pieces of an answer as they come, until the context is left.

        Args:
            method: of HTTP.
            path: of the endpoint, without the version.
            params: of the query.
            headers: beside the usual ones.
            answer_seconds: deadline until the answer begins.
            silence_seconds: longest time without a byte; None: it may be silent for ever.

        Raises:
            RefusedError: the answer is an error.
            EngineUnavailableError: no answer, or the connection was cut within the stream.
        """
        version = await self._api_version()
        try:
            async with asyncio.timeout(answer_seconds or self._answer_seconds):
                response = await self._connected().request(
                    method,
                    f"{self._root}/v{version}{path}",
                    params=params,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=silence_seconds),
                )
                if response.status >= 400:
                    raise RefusedError(response.status, _words(await response.text()))
        except _FAILURES as exc:
            raise EngineUnavailableError(f"Docker does not answer: {exc!r}") from exc
        try:
            yield _Pieces(response)
        finally:
            response.close()

    async def close(self) -> None:
        """Cut all streams."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit: followers must not keep a pull or an archive waiting.
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(self._socket, limit=0, force_close=True)
                if self._socket
                else aiohttp.TCPConnector(limit=0, force_close=True)
            )
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=_READ_BYTES)
        return self._session


async def json_lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the JSON objects of a stream that has one in each line."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)


class _Pieces:
    """The body of an answer, in pieces as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._content.readany()
        except _FAILURES as exc:
            raise EngineUnavailableError(f"Docker's stream was cut: {exc!r}") from exc
        if not piece:
            raise StopAsyncIteration
        return piece


def _words(body: str) -> str:
    """Return the message in the body of an error."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip()
