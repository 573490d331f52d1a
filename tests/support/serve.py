"""Applications of the facade on loopback, in this process, and what goes on beside them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractCookieJar

from weir_api.app import make_runner


@asynccontextmanager
async def served(
    app: web.Application, cookies: AbstractCookieJar | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve an application, and yield a client of it; without a jar it keeps no cookies."""
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        jar = cookies if cookies is not None else aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(url, cookie_jar=jar) as http:
            yield http
    finally:
        await runner.cleanup()


@asynccontextmanager
async def going_on(*works: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Have these go on meanwhile; they are cancelled at the end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
