"""An HTTP proxy that can fail in every way a server or a network can, and give answers of its own.

It is told what to do by rules; without any it only forwards. ``api_proxy`` and ``docker_proxy``
say before what it stands, ``faults`` what can go wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, NoReturn, Self

import aiohttp
import yarl
from aiohttp import web

Answer = web.StreamResponse | None
Rule = Callable[[web.Request], Awaitable[Answer]]
Pieces = AsyncIterator[bytes]
_HOP = {"host", "connection", "transfer-encoding", "content-length"}


class HttpProxy:
    """Forwards requests to ``server``, unless a rule answers them.

    Attributes:
        url: where it listens.
        requests: (method, path with query) of all that came.
        dropped: those that are never answered.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._runner: web.AppRunner | None = None
        self._upstream: aiohttp.ClientSession | None = None
        self._rules: list[Rule] = []
        self._under_way: dict[int, web.Request] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.dropped: list[web.Request] = []
        self.url = ""
        self.requests: list[tuple[str, str]] = []

    async def __aenter__(self) -> Self:
        self._upstream = aiohttp.ClientSession(connector=self._connector(), auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        self.url = await self._listen(self._runner)
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

    def _connector(self) -> aiohttp.BaseConnector:
        raise NotImplementedError

    async def _listen(self, runner: web.AppRunner) -> str:
        """Listen, and return the URL."""
        raise NotImplementedError

    # --- what a test tells it

    def add_rule(self, rule: Rule) -> None:
        """Ask this rule first; None from it leaves the request to the next, and to the server."""
        self._rules.insert(0, rule)

    def remove_rule(self, rule: Rule) -> None:
        """Ask this rule no more; doing it twice is no error."""
        if rule in self._rules:
            self._rules.remove(rule)

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

    def cut(self, when: Callable[[web.Request], bool] = lambda _: True) -> None:
        """End the connections of the requests under way, without a word; new ones are accepted."""
        for request in [one for one in self._under_way.values() if when(one)]:
            abort(request)

    def hold(self) -> None:
        """Answer nothing from now on: connections are accepted, and what flows stands still."""
        self._flowing.clear()

    def release(self) -> None:
        """Go on, with what was held, too."""
        self._flowing.set()

    # --- the way of a request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self._under_way[id(request)] = request
        try:
            await self._flowing.wait()
            for rule in list(self._rules):
                answer = await rule(request)
                if answer is not None:
                    return answer
            return await self.forward(request)
        finally:
            del self._under_way[id(request)]

    async def forward(
        self,
        request: web.Request,
        *,
        query: Mapping[str, str] | None = None,
        through: Callable[[Pieces], Pieces] | None = None,
    ) -> web.StreamResponse:
        """Pass a request on, and its answer back as it comes.

        Args:
            request: as it came.
            query: in place of its own.
            through: what becomes of the answer's body on its way.
        """
        try:
            async with self._sent(request, query) as upstream:
                answer = web.StreamResponse(status=upstream.status)
                for key, value in upstream.headers.items():
                    if key.lower() not in _HOP:
                        answer.headers[key] = value
                await answer.prepare(request)
                pieces = upstream.content.iter_any()
                async for piece in through(pieces) if through else pieces:
                    await self._flowing.wait()
                    await answer.write(piece)
                return answer
        except (aiohttp.ClientError, ConnectionError):
            hang_up(request)

    async def perform(self, request: web.Request) -> None:
        """Let the server do what is asked, whatever it answers, and whoever waits for that."""

        async def work() -> None:
            with suppress(aiohttp.ClientError, ConnectionError):
                async with self._sent(request) as upstream:
                    await upstream.read()

        await asyncio.shield(asyncio.ensure_future(work()))

    @asynccontextmanager
    async def _sent(
        self, request: web.Request, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._upstream is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        url = request.rel_url.with_query(query).raw_path_qs if query else request.raw_path
        async with self._upstream.request(
            request.method,
            yarl.URL(f"{self._server}{url}", encoded=True),
            headers=headers,
            data=await request.read() if request.body_exists else None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as upstream:
            yield upstream


def abort(request: web.Request) -> None:
    """End the connection of a request, as a crash of the server does."""
    if request.transport is not None:
        request.transport.abort()


def hang_up(request: web.Request) -> NoReturn:
    """End the connection of a request in place of an answer."""
    abort(request)
    raise asyncio.CancelledError


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
