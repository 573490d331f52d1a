"""Talks to the hosts' daemons, each known by the certificate that its Host names."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from weir_api.errors import DaemonRefusedError, UnavailableError
from weir_api.state.daemon_tokens import DaemonTokens, TokenSource
from weir_kube.sockets import within_a_minute
from weir_kube.store import Object

_CONNECT_SECONDS = 5.0
# A daemon asks the API server about a new caller before it answers.
_ANSWER_SECONDS = 20.0
_IDLE_SECONDS = 60.0
# Nothing that is asked for comes in drips: a daemon that is silent for so long is stuck.
_SILENT_SECONDS = 30.0
_JSON_LIMIT = 16 * 1024 * 1024
_REFUSAL_LIMIT = 64 * 1024

_BROKEN_OFF = (
    aiohttp.ClientPayloadError,
    aiohttp.ClientOSError,
    aiohttp.ServerDisconnectedError,
    aiohttp.SocketTimeoutError,
)
"""How the daemon's side fails in the middle of an answer. Not all of ``ClientConnectionError``: our
own client's leaving is one of those, too."""


class Daemons:
    """Asks daemons, over connections that are kept open and shared by all who ask."""

    def __init__(self, tokens: TokenSource) -> None:
        """Connect to nobody yet."""
        self._tokens = DaemonTokens(tokens)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; streams under way break off."""
        await self._tokens.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(
        self, host: Object, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask a Host's daemon; the answer is 200, and its body is not read yet.

        The token goes only to who shows the certificate that the Host names.

        Raises:
            UnavailableError: it is not reached, is not who it should be, or breaks off while the
                body is read.
            DaemonRefusedError: it answers, but not that.
        """
        name = host["metadata"]["name"]
        response = await self._ask(host, path, query)
        try:
            yield response
        except _BROKEN_OFF as error:
            raise UnavailableError(f"host {name} broke off in the middle of its answer") from error
        finally:
            # What was read to its end is back in the pool already; the rest is no use to others.
            response.close()

    async def get_json(
        self, host: Object, path: str, query: Mapping[str, str], seconds: float
    ) -> Any:
        """Ask a Host's daemon for one answer, which has to come in so many seconds.

        Raises:
            UnavailableError: it is not reached, is not who it should be, is too slow, or answers
                what is not JSON.
            DaemonRefusedError: it answers, but not that.
        """
        name = host["metadata"]["name"]
        try:
            async with asyncio.timeout(seconds), self.stream(host, path, query) as response:
                return json.loads(await _read(response, _JSON_LIMIT))
        except TimeoutError as error:
            raise UnavailableError(
                f"the daemon of host {name} did not answer within {seconds:g} s"
            ) from error
        except ValueError as error:
            raise UnavailableError(
                f"the daemon of host {name} answered with what cannot be read: {error}"
            ) from error

    async def _ask(
        self, host: Object, path: str, query: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        name = host["metadata"]["name"]
        token = await self._tokens.get()
        response = await self._send(host, path, query, token)
        if response.status == 401:
            # Void before its time, say by a restart of the API server with new keys: once more.
            response.close()
            self._tokens.forget(token)
            response = await self._send(host, path, query, await self._tokens.get())
        if response.status != 200:
            try:
                raise await _refusal(name, response)
            finally:
                response.close()
        return response

    async def _send(
        self, host: Object, path: str, query: Mapping[str, str], token: str
    ) -> aiohttp.ClientResponse:
        name = host["metadata"]["name"]
        endpoint = (host.get("status") or {}).get("endpoint")
        if not endpoint:
            raise UnavailableError(f"host {name} has not told where its daemon is reached")
        url = endpoint["url"]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._open_session().get(
                    url + path,
                    params=query,
                    headers={"Authorization": f"Bearer {token}"},
                    ssl=_pin(endpoint["fingerprint"]),
                    allow_redirects=False,
                )
        except aiohttp.ServerFingerprintMismatch as error:
            raise UnavailableError(
                f"what answers at {url} is not the daemon of host {name}: it shows another"
                " certificate than the Host's status names"
            ) from error
        except aiohttp.ClientError as error:
            raise UnavailableError(
                f"cannot reach the daemon of host {name} at {url}: {error}"
            ) from error
        except TimeoutError as error:
            raise UnavailableError(
                f"the daemon of host {name} at {url} did not answer in time"
            ) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # long streams must not keep others waiting
                    keepalive_timeout=_IDLE_SECONDS,
                    socket_factory=within_a_minute,
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
                ),
                headers={"User-Agent": "weir-api"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


@functools.lru_cache(maxsize=4096)
def _pin(fingerprint: str) -> aiohttp.Fingerprint:
    """Return one object for one certificate: connections are pooled by it."""
    return aiohttp.Fingerprint(bytes.fromhex(fingerprint.removeprefix("sha256:")))


async def _refusal(host: str, response: aiohttp.ClientResponse) -> DaemonRefusedError:
    """Return what a daemon's refusal says."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            body = json.loads(await _read(response, _REFUSAL_LIMIT))
        return DaemonRefusedError(host, str(body["reason"]), str(body["message"]), response.status)
    except (ValueError, KeyError, TypeError, TimeoutError, aiohttp.ClientError):
        return DaemonRefusedError(
            host, "UnknownAnswer", f"status {response.status} without words", response.status
        )


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the whole body; raises ValueError if it is longer."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise ValueError(f"more than {limit} bytes")
    return bytes(body)
