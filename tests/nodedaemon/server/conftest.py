import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.daemon_server import LIMITS, World
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server import load_or_create


@pytest.fixture
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A daemon's port; a test's own limits are the fixture's parameter."""
    limits = getattr(request, "param", LIMITS)
    world = World(LogStore(tmp_path / "logs", 10**6), limits=limits)
    world.tasks.replace([], "1")
    certificate = load_or_create(tmp_path, ["localhost", "127.0.0.1"])
    server = world.server(certificate)
    port = await server.start()
    world.trust = ssl.create_default_context(cafile=str(certificate.cert_path))
    try:
        world.url = f"https://localhost:{port}"
        async with aiohttp.ClientSession(
            world.url, connector=aiohttp.TCPConnector(ssl=world.trust)
        ) as world.session:
            yield world
    finally:
        await server.close()
