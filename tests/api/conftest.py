"""Applications made of a few endpoints, served on loopback."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from support.facade import ClientOf, authenticate
from weir_api.app import make_app, make_runner
from weir_api.web.dialect import DetailDialect
from weir_api.web.endpoint import Endpoint, Family
from weir_api.web.limits import Limits


@pytest.fixture
async def client_of() -> AsyncIterator[ClientOf]:
    """Serves the endpoints that it is called with, and returns a client; see ``support.facade``."""
    async with AsyncExitStack() as stack:

        async def make(
            endpoints: Iterable[Endpoint],
            *,
            prefix: str = "/api",
            stale_seconds: Callable[[], float] = lambda: 0.0,
            ready: Callable[[], bool | str] = lambda: True,
            limits: Limits | None = None,
        ) -> aiohttp.ClientSession:
            app = make_app(
                Family("test", "Test", "1", prefix, tuple(endpoints)),
                dialect=DetailDialect(),
                authenticate=authenticate,
                stale_seconds=stale_seconds,
                ready=ready,
                limits=limits,
            )
            runner = make_runner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            return await stack.enter_async_context(
                aiohttp.ClientSession(url, cookie_jar=aiohttp.CookieJar(unsafe=True))
            )

        yield make
