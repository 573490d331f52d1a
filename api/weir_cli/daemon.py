"""Talks to a host's daemon, whose certificate is pinned by what its Host says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from weir_cli.errors import CommandError, DaemonError
from weir_kube.api import Object
from weir_kube.sockets import within_a_minute

_CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_stream(
    host: Object, path: str, query: Mapping[str, str], token: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask the daemon of a Host for a stream; the token goes only to the pinned certificate.

    Raises:
        DaemonError: it refused.
        CommandError: it is not reached, is not who it should be, or broke off.
    """
    name = host["metadata"]["name"]
    endpoint = (host.get("status") or {}).get("endpoint")
    if not endpoint:
        raise CommandError(f"host {name} has not told where its daemon is reached")
    url = endpoint["url"]
    pin = aiohttp.Fingerprint(bytes.fromhex(endpoint["fingerprint"].removeprefix("sha256:")))
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=pin, socket_factory=within_a_minute),
                timeout=timeout,
                auto_decompress=False,
            ) as session,
            session.get(
                url + path,
                params=query,
                headers={"Authorization": f"Bearer {token}", "User-Agent": "kubectl-weir"},
                allow_redirects=False,
            ) as response,
        ):
            if response.status != 200:
                raise await _refusal(name, response)
            yield response
    except aiohttp.ServerFingerprintMismatch as error:
        raise CommandError(
            f"what answers at {url} is not the daemon of host {name}: it shows another"
            " certificate than the Host's status names"
        ) from error
    except aiohttp.ClientConnectionError as error:
        raise CommandError(f"cannot reach the daemon of host {name} at {url}: {error}") from error
    except aiohttp.ClientPayloadError as error:
        raise CommandError(
            f"host {name} broke off: what was printed above is not all of it"
        ) from error


async def get_json(host: Object, path: str, token: str, seconds: float) -> Any:
    """Ask the daemon of a Host for one answer, which has to come in so many seconds.

    Raises:
        DaemonError: it refused.
        CommandError: it is not reached, is not who it should be, broke off, or took too long.
    """
    try:
        async with asyncio.timeout(seconds), open_stream(host, path, {}, token) as response:
            return await response.json()
    except TimeoutError as error:
        raise CommandError(
            f"the daemon of host {host['metadata']['name']} did not answer within {seconds:g} s"
        ) from error


async def _refusal(host: str, response: aiohttp.ClientResponse) -> DaemonError:
    try:
        body = await asyncio.wait_for(response.json(), _CONNECT_SECONDS)
        return DaemonError(host, str(body["reason"]), str(body["message"]))
    except (ValueError, KeyError, TypeError, TimeoutError, aiohttp.ClientError):
        return DaemonError(
            host, "UnknownAnswer", f"status {response.status} without an explanation"
        )
