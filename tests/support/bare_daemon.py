"""What answers like a daemon and is none: it keeps what it is shown."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from support.daemon_server import HOST
from weir_nodedaemon.server import load_or_create


class Asked(NamedTuple):
    """One request."""

    peer: Any
    path: str
    authorization: str


@asynccontextmanager
async def bare_daemon(
    folder: Path, answer: Callable[[web.Request], Any]
) -> AsyncIterator[tuple[dict[str, Any], list[Asked]]]:
    """Serve one function over HTTPS; yields an approved Host, and what it was asked, growing."""
    certificate = load_or_create(folder, ["127.0.0.1"])
    requests: list[Asked] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        requests.append(Asked(peer, request.path, request.headers.get("Authorization", "")))
        answered = answer(request)
        response: web.StreamResponse
        response = await answered if asyncio.iscoroutine(answered) else answered
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate.cert_path, certificate.key_path)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    endpoint = {"url": url, "fingerprint": certificate.fingerprint}
    try:
        host = {**HOST, "spec": {"approval": "Approved"}, "status": {"endpoint": endpoint}}
        yield host, requests
    finally:
        await runner.cleanup()
