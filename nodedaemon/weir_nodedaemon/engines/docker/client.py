"""Docker's HTTP API, spoken asynchronously: short calls, and the endless answers (logs, events).

An SDK that blocks needs a thread for each call: sixteen slow starts keep a kill waiting, and a pull
that has no answer yet cannot be ended at all. Here a call costs one connection and nothing waits
for another. The loop reads a stream only as fast as its reader takes it, and closing the iterator
closes the connection, which makes Docker stop.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import aiohttp

from weir_nodedaemon.engines.docker.refusals import RefusedError, refusal
from weir_nodedaemon.engines.port import EngineUnavailableError, ObservedInstance

_UNIX = "unix://"
_READ_BYTES = 1 << 16  # what is read ahead of the reader, per stream
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


def socket_of(base_url: str) -> str | None:
    """Return the path of Docker's socket on this machine; None: it is asked by TCP."""
    return base_url.removeprefix(_UNIX) if base_url.startswith(_UNIX) else None


class DockerClient:
    """Calls one Docker API, in the version that this Docker has."""

    def __init__(self, base_url: str, *, read_seconds: float, change_seconds: float) -> None:
        """Connect at the first call, in the running loop.

        Args:
            base_url: ``unix://<path>`` or ``tcp://<address>:<port>``.
            read_seconds: deadline of calls that only read, and until a stream's answer begins.
            change_seconds: deadline of calls that change something.
        """
        self.base_url = base_url
        self.read_seconds = read_seconds
        self.change_seconds = change_seconds
        self._socket = socket_of(base_url)
        self._root = "http://docker" if self._socket else base_url.replace("tcp://", "http://", 1)
        self._version = ""
        self._calls: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        deadline_seconds: float | None = None,
    ) -> Any:
        """Return the JSON that a look is answered with; raises as ``call`` does."""
        return await self.call(
            "GET", path, params=params, deadline_seconds=deadline_seconds or self.read_seconds
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        deadline_seconds: float | None = None,
    ) -> Any:
        """Return the JSON of one answer; None: it has no body.

        Args:
            method: of HTTP.
            path: of the endpoint, without the version.
            params: of the query.
            body: to send as JSON.
            deadline_seconds: for all of it; by default that of calls that change something.

        Raises:
            RefusedError: Docker answered with an error.
            EngineUnavailableError: no answer, or none that can be read; the call may still take
                effect.
        """
        seconds = deadline_seconds or self.change_seconds
        try:
            async with asyncio.timeout(seconds):
                url = f"{self._root}/v{await self.api_version()}{path}"
                session = self._session(keep=True)
                async with session.request(method, url, params=params, json=body) as response:
                    data = await response.read()
        except TimeoutError as exc:
            raise EngineUnavailableError(
                f"Docker does not answer within {seconds:g} s: {method} {path}"
            ) from exc
        except _FAILURES as exc:
            raise self._away(exc) from exc
        if response.status >= 400:
            raise RefusedError(response.status, _message(data.decode(errors="replace")))
        try:
            return json.loads(data) if data else None
        except ValueError as exc:
            raise self._away(exc) from exc  # half an answer, or somebody else's

    @asynccontextmanager
    async def stream(
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
            answer_seconds: deadline until the answer begins; by default that of reads.
            silence_seconds: longest time without a byte; None: it may be silent for ever.

        Raises:
            RefusedError: the answer is an error.
            EngineUnavailableError: no answer, or the stream was cut or silent for too long.
        """
        try:
            async with asyncio.timeout(answer_seconds or self.read_seconds):
                response = await self._session(keep=False).request(
                    method,
                    f"{self._root}/v{await self.api_version()}{path}",
                    params=params,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=silence_seconds),
                )
                if response.status >= 400:
                    raise RefusedError(response.status, _message(await response.text()))
        except _FAILURES as exc:
            raise self._away(exc) from exc
        try:
            yield _Pieces(response)
        finally:
            response.close()

    async def version(self) -> str:
        """Return the version of Docker; raises EngineUnavailableError."""
        return str((await self._ask_version())["Version"])

    async def api_version(self) -> str:
        """Return the version of the API that this Docker speaks."""
        if not self._version:
            await self._ask_version()
        return self._version

    async def close(self) -> None:
        """Cut all connections."""
        for session in (self._calls, self._streams):
            if session is not None:
                await session.close()
        self._calls = self._streams = None

    async def _ask_version(self) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(self.read_seconds),
                self._session(keep=True).get(f"{self._root}/version") as response,
            ):
                answer: dict[str, Any] = json.loads(await response.read())
                self._version = str(answer["ApiVersion"])
        except (*_FAILURES, ValueError, KeyError) as exc:
            raise self._away(exc) from exc
        return answer

    def _away(self, exc: BaseException) -> EngineUnavailableError:
        self._version = ""  # the Docker that comes back may speak another
        return EngineUnavailableError(f"Docker does not answer: {str(exc) or repr(exc)}")

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        """Return the session for calls, or that for streams, whose connections serve once."""
        session = self._calls if keep else self._streams
        if session is None:
            # No limit: followers must not keep a pull or an archive waiting.
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(self._socket, limit=0, force_close=not keep)
                if self._socket
                else aiohttp.TCPConnector(limit=0, force_close=not keep)
            )
            session = aiohttp.ClientSession(
                connector=connector,
                read_bufsize=_READ_BYTES,
                timeout=aiohttp.ClientTimeout(total=None),  # ours hold
            )
            if keep:
                self._calls = session
            else:
                self._streams = session
        return session


class Presence:
    """Notices that Docker itself was away: one that dies ends its streams as if they were over.

    It holds a stream of its own, of events that never happen, which dies with Docker.
    """

    _NOTHING = json.dumps({"type": ["plugin"], "event": ["never"]})

    def __init__(self, client: DockerClient) -> None:
        """Hold nothing yet."""
        self._client = client
        self._holding: asyncio.Task[None] | None = None
        self._held = asyncio.Event()

    async def token(self) -> object:
        """Return what ``check`` takes later; raises EngineUnavailableError."""
        holding = self._holding
        if holding is None or holding.done():
            self._held = asyncio.Event()
            holding = self._holding = asyncio.create_task(self._hold(self._held), name="presence")
        held = asyncio.create_task(self._held.wait())
        try:
            await asyncio.wait([held, holding], return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()
        if holding.done():
            raise EngineUnavailableError("Docker does not answer")
        return holding

    async def check(self, token: object) -> None:
        """Return if Docker has been there since the token was given.

        Raises:
            EngineUnavailableError: it was away, or is.
        """
        await self._client.call("HEAD", "/_ping", deadline_seconds=self._client.read_seconds)
        if self._holding is not token or self._holding is None or self._holding.done():
            raise EngineUnavailableError("Docker was away for a moment")

    async def close(self) -> None:
        """Let go."""
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.wait([self._holding])

    async def _hold(self, held: asyncio.Event) -> None:
        with suppress(EngineUnavailableError, RefusedError):
            async with self._client.stream(
                "GET", "/events", params={"filters": self._NOTHING}
            ) as pieces:
                held.set()
                async for _ in pieces:
                    pass


class DockerPart(ABC):
    """What all parts of the engine share: a client, and the host whose containers these are."""

    def __init__(self, client: DockerClient, host_name: str) -> None:
        """Use this client; several Hosts may share a Docker."""
        self._client = client
        self._host_name = host_name

    @abstractmethod
    async def inspect(self, name: str) -> ObservedInstance | None:
        """Return one container of this host, or None."""

    async def _raw(
        self, reference: str, deadline_seconds: float | None = None
    ) -> Mapping[str, Any] | None:
        """Return what Docker shows of any container, whosever it is."""
        try:
            found: Mapping[str, Any] = await self._client.get(
                f"{container_path(reference)}/json", deadline_seconds=deadline_seconds
            )
        except RefusedError as exc:
            if exc.status == 404:
                return None
            raise refusal(exc) from exc
        return found


async def json_lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the JSON objects of a stream that has one in each line.

    Raises:
        EngineUnavailableError: the stream was cut.
    """
    rest = b""
    try:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
        if rest.strip():
            yield json.loads(rest)
    except ValueError as exc:
        raise EngineUnavailableError(f"Docker's stream is no JSON: {exc}") from exc


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


def container_path(name: str) -> str:
    """Return the path of a container, by its name or id."""
    return f"/containers/{quote(name, safe='')}"


def _message(body: str) -> str:
    """Return the message in the body of an error."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip()
