"""Applications of the facade on loopback, in this process, and what goes on beside them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractCookieJar

from weir_api.listeners import Server, listen


@asynccontextmanager
async def served(
    server: Server, cookies: AbstractCookieJar | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Have a server serve, and yield a client of it; without a jar it keeps no cookies."""
    listening = listen("127.0.0.1", 0)
    await server.start(listening)
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        jar = cookies if cookies is not None else aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(url, cookie_jar=jar) as http:
            yield http
    finally:
        await server.close()


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
