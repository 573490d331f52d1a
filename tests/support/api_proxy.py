"""An HTTP proxy before the API server that can give answers of its own.

It listens in plain HTTP on loopback and passes the caller's token on.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

Answer = web.StreamResponse | None
Rule = Callable[[web.Request], Awaitable[Answer]]
_HOP = {"host", "connection", "transfer-encoding", "content-length"}


class ApiProxy:
    """Forwards requests to ``server``, unless a rule answers them."""

    def __init__(self, server: str, ca: Path) -> None:
        self._server = server
        self._ssl = ssl.create_default_context(cafile=str(ca))
        self._runner: web.AppRunner | None = None
        self._upstream: aiohttp.ClientSession | None = None
        self._rules: list[Rule] = []
        self.url = ""
        self.requests: list[tuple[str, str]] = []  # (method, path with query)

    async def __aenter__(self) -> Self:
        self._upstream = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=0), auto_decompress=False
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        assert self._upstream is not None
        await self._runner.cleanup()
        await self._upstream.close()

    def add_rule(self, rule: Rule) -> None:
        """Ask this rule first; None from it leaves the request to the next, and to the server."""
        self._rules.insert(0, rule)

    def clear_rules(self) -> None:
        """Only forward."""
        self._rules.clear()

    def fail(
        self,
        times: int,
        status: int,
        *,
        when: Callable[[web.Request], bool] = lambda _: True,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        """Answer the next ``times`` requests that ``when`` holds for with this status."""
        left = times

        async def rule(request: web.Request) -> Answer:
            nonlocal left
            if left <= 0 or not when(request):
                return None
            left -= 1
            return web.json_response(body or status_object(status), status=status, headers=headers)

        self.add_rule(rule)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        for rule in list(self._rules):
            answer = await rule(request)
            if answer is not None:
                return answer
        return await self.forward(request)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back as it comes."""
        assert self._upstream is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        data = await request.read() if request.can_read_body else None
        try:
            async with self._upstream.request(
                request.method,
                f"{self._server}{request.raw_path}",
                headers=headers,
                data=data,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as upstream:
                answer = web.StreamResponse(status=upstream.status)
                for key, value in upstream.headers.items():
                    if key.lower() not in _HOP:
                        answer.headers[key] = value
                await answer.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await answer.write(chunk)
                return answer
        except aiohttp.ClientError as exc:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from exc


def status_object(
    code: int, reason: str = "", message: str = "forged by the test"
) -> dict[str, Any]:
    """Return a Status as the API server answers with."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
