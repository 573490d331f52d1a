"""The client of the hosts' daemons: HTTPS, each known by the certificate that its Host names."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from weir_crds.daemon_endpoint import DaemonEndpoint, daemon_endpoint
from weir_kube.daemon_tokens import DaemonTokens
from weir_kube.errors import DaemonBrokeOffError, DaemonRefusedError, DaemonUnavailableError
from weir_kube.sockets import within_a_minute
from weir_kube.store import Object

_CONNECT_SECONDS = 5.0
# A daemon asks the API server about a new caller before it answers.
_ANSWER_SECONDS = 20.0
_IDLE_SECONDS = 60.0
SILENT_SECONDS = 30.0
"""Whole answers do not come in drips: a daemon that is silent for so long in one is stuck."""
# A page or two is usual. It is parsed on the event loop: a megabyte of empty lists would hold all
# others up, and take twenty times its size.
_JSON_LIMIT = 256 * 1024
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
    """Asks daemons, over connections that are kept open and shared by all who ask.

    Every method raises NotContactedError for a Host whose daemon is sent nothing, and ApiError
    where the API server gives no token for it.
    """

    def __init__(self, tokens: DaemonTokens, *, user_agent: str) -> None:
        """Connect to nobody yet."""
        self._tokens = tokens
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; streams under way break off."""
        await self._tokens.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(
        self,
        host: Object,
        path: str,
        query: Mapping[str, str],
        *,
        silent_seconds: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask a Host's daemon; the answer is 200, and its body is not read yet.

        The token is made for this Host alone, and goes only to who shows the certificate that the
        Host names.

        Args:
            host: the whole object.
            path: on the daemon's port.
            query: parameters.
            silent_seconds: for how long nothing may come while the body is read; None:
                ``SILENT_SECONDS``; 0: for ever, as when what a Task prints is followed.

        Raises:
            DaemonUnavailableError: it is not reached, or is not who it should be.
            DaemonBrokeOffError: it ended in the middle of the body.
            DaemonRefusedError: it answers, but not that.
        """
        endpoint = daemon_endpoint(host)
        silent = SILENT_SECONDS if silent_seconds is None else silent_seconds or None
        response = await self._ask(endpoint, path, query, silent)
        try:
            yield response
        except _BROKEN_OFF as error:
            raise DaemonBrokeOffError(
                f"host {endpoint.host} broke off in the middle of its answer"
            ) from error
        finally:
            # What was read to its end is back in the pool already; the rest is no use to others.
            response.close()

    async def get_json(
        self, host: Object, path: str, query: Mapping[str, str], seconds: float
    ) -> Any:
        """Ask a Host's daemon for one answer, which has to come in so many seconds.

        Raises:
            DaemonUnavailableError: it is not reached, is not who it should be, is too slow, or
                answers what is not JSON.
            DaemonRefusedError: it answers, but not that.
        """
        name = host["metadata"]["name"]
        try:
            async with asyncio.timeout(seconds), self.stream(host, path, query) as response:
                return json.loads(await _read(response, _JSON_LIMIT))
        except TimeoutError as error:
            raise DaemonUnavailableError(
                f"the daemon of host {name} did not answer within {seconds:g} s"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DaemonUnavailableError(
                f"the daemon of host {name} answered with what cannot be read: {error}"
            ) from error

    async def _ask(
        self, endpoint: DaemonEndpoint, path: str, query: Mapping[str, str], silent: float | None
    ) -> aiohttp.ClientResponse:
        audience = endpoint.audience
        token = await self._tokens.get(audience)
        response = await self._send(endpoint, path, query, token, silent)
        if response.status == 401 and self._tokens.forget(audience, token):
            # Void before its time, say by a restart of the API server with new keys: once more.
            response.close()
            fresh = await self._tokens.get(audience)
            response = await self._send(endpoint, path, query, fresh, silent)
        if response.status != 200:
            try:
                raise await _refusal(endpoint.host, response)
            finally:
                response.close()
        return response

    async def _send(
        self,
        endpoint: DaemonEndpoint,
        path: str,
        query: Mapping[str, str],
        token: str,
        silent: float | None,
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._open_session().get(
                    endpoint.url + path,
                    params=query,
                    headers={"Authorization": f"Bearer {token}"},
                    ssl=_pin(endpoint.fingerprint),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=_CONNECT_SECONDS, sock_read=silent
                    ),
                )
        except aiohttp.ServerFingerprintMismatch as error:
            raise DaemonUnavailableError(
                f"what answers at {endpoint.url} is not the daemon of host {endpoint.host}: it"
                " shows another certificate than the Host's status names"
            ) from error
        except aiohttp.ClientError as error:
            raise DaemonUnavailableError(
                f"cannot reach the daemon of host {endpoint.host} at {endpoint.url}: {error}"
            ) from error
        except TimeoutError as error:
            raise DaemonUnavailableError(
                f"the daemon of host {endpoint.host} at {endpoint.url} did not answer in time"
            ) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # long streams must not keep others waiting
                    keepalive_timeout=_IDLE_SECONDS,
                    socket_factory=within_a_minute,
                ),
                headers={"User-Agent": self._user_agent},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


@functools.lru_cache(maxsize=4096)
def _pin(fingerprint: bytes) -> aiohttp.Fingerprint:
    """Return one object for one certificate: connections are pooled by it."""
    return aiohttp.Fingerprint(fingerprint)


async def _refusal(host: str, response: aiohttp.ClientResponse) -> DaemonRefusedError:
    """Return what a daemon's refusal says."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            body = json.loads(await _read(response, _REFUSAL_LIMIT))
        return DaemonRefusedError(host, str(body["reason"]), str(body["message"]), response.status)
    except (ValueError, RecursionError, KeyError, TypeError, TimeoutError, aiohttp.ClientError):
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
