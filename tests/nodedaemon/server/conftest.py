import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.daemon_server import World
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server import DaemonServer, load_or_create


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(LogStore(tmp_path / "logs", 10**6))
    world.tasks.replace([], "1")
    certificate = load_or_create(tmp_path, ["localhost", "127.0.0.1"])
    server = DaemonServer(
        world.api,
        world.hosts,
        world.tasks,
        world.engine,
        world.logs,
        host_name="n1",
        listen="127.0.0.1:0",
        certificate=certificate,
    )
    port = await server.start()
    trust = ssl.create_default_context(cafile=str(certificate.cert_path))
    try:
        world.url = f"https://localhost:{port}"
        async with aiohttp.ClientSession(
            world.url, connector=aiohttp.TCPConnector(ssl=trust)
        ) as world.session:
            yield world
    finally:
        await server.close()
