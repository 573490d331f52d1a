"""Connections, whatever their clients do with them."""

import asyncio
import socket

import pytest
from aiohttp import web

import weir_api.listeners
from support.aio import until
from weir_api.listeners import listen
from weir_api.web.server import HttpServer


async def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each such connection would keep a whole answer in memory, for ever."""
    monkeypatch.setattr(weir_api.listeners, "_STALLED_SECONDS", 1.0)

    async def much(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 20_000_000)

    app = web.Application()
    app.router.add_get("/", much)
    server = HttpServer(app)
    listening = listen("127.0.0.1", 0)
    await server.start(listening)
    try:
        with socket.create_connection(listening.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: server.connections == 1)
            await until(lambda: not server.connections, timeout=60)
    finally:
        await server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
async def test_what_is_listened_on_is_an_address_or_a_name(host: str) -> None:
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        _, writer = await asyncio.open_connection("::1" if ":" in host else "127.0.0.1", port)
        writer.close()
