"""Docker's HTTP API where its answers are not what they should be."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from weir_nodedaemon.engines.docker.client import DockerClient, json_lines
from weir_nodedaemon.engines.docker.engine import DockerEngine
from weir_nodedaemon.engines.port import EngineUnavailableError, InstanceState

Serve = Callable[[str], Awaitable[str]]
UID = "11111111-2222-3333-4444-555555555555"
OURS = f"weir-{UID}-1"


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serves one body for every look at containers; returns the address."""
    bodies = [""]

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/version":
            return web.json_response({"ApiVersion": "1.41", "Version": "20.10"})
        if request.path.endswith("/json") and "/containers/json" not in request.path:
            return web.json_response({"Id": "1", "Name": f"/{OURS}"})  # and nothing more
        return web.Response(text=bodies[0])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()

    async def set_body(body: str) -> str:
        bodies[0] = body
        return f"unix://{tmp_path}/docker.sock"

    yield set_body
    await runner.cleanup()


@pytest.mark.parametrize("body", ['[{"Id": "1", "Na', "<html>Bad gateway</html>"])
async def test_an_answer_that_cannot_be_read_is_none(serve: Serve, body: str) -> None:
    client = DockerClient(await serve(body), read_seconds=5, change_seconds=5)
    with pytest.raises(EngineUnavailableError):
        await client.get("/containers/json")
    await client.close()


async def test_a_container_that_is_shown_incompletely_hides_no_other(serve: Serve) -> None:
    labels = f'{{"weir.dev/host": "h", "weir.dev/uid": "{UID}"}}'
    body = f'[{{"Id": "1", "Names": ["/{OURS}"], "State": "running", "Labels": {labels}}}]'
    engine = DockerEngine("h", await serve(body))
    seen = await engine.observe()
    assert {name: one.state for name, one in seen.items()} == {OURS: InstanceState.UNKNOWN}
    await engine.close()


async def test_a_stream_that_ends_in_half_a_line_was_cut() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"a": 1}\n{"b'

    async with aclosing(json_lines(pieces())) as lines:
        assert await anext(lines) == {"a": 1}
        with pytest.raises(EngineUnavailableError):
            await anext(lines)
