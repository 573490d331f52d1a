"""Output on its way to a client, whatever that does with it."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from support.facade import ClientOf
from weir_api.access.capabilities import Capability
from weir_api.hostapi.tasks import output
from weir_api.web.endpoint import TEXT, Answer, Call, Endpoint


async def test_no_stream_goes_on_for_ever(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not whole is broken off, not ended: the client shall not take it for all."""
    monkeypatch.setattr(output, "_LONGEST_SECONDS", 0.2)

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    async def stream(call: Call) -> web.StreamResponse:
        return await output._send(call.request, b"first", drops())

    answers = {200: Answer("Drops.", str, TEXT)}
    endpoint = Endpoint(
        "GET", "/api/drops", stream, Capability.PUBLIC, "Drops", "Test", answers, streams=True
    )
    client = await client_of([endpoint])
    async with asyncio.timeout(60), client.get("/api/drops") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
