"""Output on its way to a client, whatever that does with it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.aio import until
from support.facade import ClientOf, as_
from support.hosts import made_host
from support.rest_index import World
from support.rest_tasks import id_of, made_task, running
from weir_api.access.capabilities import Capability
from weir_api.hostapi.tasks import output
from weir_api.hostapi.tasks.output import TaskOutput
from weir_api.web.endpoint import TEXT, Answer, Call, Endpoint, endpoints_of
from weir_kube.store import Object


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


class EndlessDaemons:
    """Their streams begin, and do not end."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.open = 0
        self.headers = headers or {}

    @asynccontextmanager
    async def stream(self, _host: Object, _path: str, _query: Mapping[str, str]) -> Any:
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    @property
    def content(self) -> "EndlessDaemons":
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)


async def test_who_holds_streams_open_leaves_others_theirs(client_of: ClientOf) -> None:
    world, daemons = World(), EndlessDaemons()
    world.put(made_host("n1"), made_host("n2"))
    world.put(made_task("t1", status=running("n1")), made_task("t2", status=running("n2")))
    client = await client_of(endpoints_of(TaskOutput(world.index, world.hosts, daemons)))
    path, elsewhere = (f"/api/tasks/{id_of(name)}/stdout" for name in ("t1", "t2"))

    async with asyncio.timeout(60), AsyncExitStack() as held:
        for _ in range(16):
            answer = await held.enter_async_context(client.get(path, headers=as_("operator")))
            assert answer.status == 200
        async with client.get(path, headers=as_("operator")) as refused:
            assert refused.status == 429
            assert "host n1" in (await refused.json())["detail"]
            assert refused.headers["Retry-After"] == "1"
        for url, caller in ((path, "admin"), (elsewhere, "operator")):
            answer = await held.enter_async_context(client.get(url, headers=as_(caller)))
            assert answer.status == 200
        held.pop_all()  # their client just leaves
        await client.close()
        await until(lambda: not daemons.open, "the streams are given up")


class BriefDaemons(EndlessDaemons):
    """Their streams are short."""

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield b"some\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [("this", b"some\n"), ("old", b""), (None, b"some\n")],
    ids=["of this Task", "of one of the same name that was deleted", "an older daemon"],
)
async def test_output_of_another_task_of_the_same_name_is_not_shown(
    client_of: ClientOf, said: str | None, expected: bytes
) -> None:
    world, task = World(), made_task("t1", status=running("n1"))
    world.put(made_host("n1"), task)
    uid = task["metadata"]["uid"] if said == "this" else said
    daemons = BriefDaemons({} if uid is None else {"Weir-UID": uid})
    client = await client_of(endpoints_of(TaskOutput(world.index, world.hosts, daemons)))
    async with client.get(f"/api/tasks/{id_of('t1')}/stdout", headers=as_("operator")) as answer:
        assert (answer.status, await answer.read()) == (200, expected)
