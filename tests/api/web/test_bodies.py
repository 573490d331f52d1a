"""Bodies of strangers, and many at once: nobody's memory is for whoever begins to send."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import StreamReader
from pydantic import BaseModel

from support.aio import until
from support.facade import ClientOf, as_
from weir_api.access.capabilities import Capability
from weir_api.web.endpoint import Answer, Call, Endpoint, Json, Stream
from weir_api.web.validation import BodyBudget, Limits


class Login(BaseModel):
    name: str


async def fine(call: Call) -> dict[str, Any]:
    return {"name": call.body.name}


def endpoint(path: str, capability: Capability, **more: Any) -> Endpoint:
    given: dict[str, Any] = {"body": Json(Login), **more}
    return Endpoint("POST", path, fine, capability, "It.", "it", {200: Answer("Done.")}, **given)


ENDPOINTS = (endpoint("/api/it", Capability.SUBMIT), endpoint("/api/open", Capability.PUBLIC))


class Connection:
    """A client that sends what it wants, when it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def begin(self, path: str, length: int | None, caller: str, part: bytes) -> None:
        """Send a request's head and a part of its body; without a length it comes in chunks."""
        told = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAs: {caller}\r\n"
            f"Content-Type: application/json\r\n{told}\r\n\r\n"
        )
        self.writer.write(head.encode() + part)

    async def status(self) -> int:
        line = await asyncio.wait_for(self.reader.readline(), 60)
        return int(line.split()[1])


@asynccontextmanager
async def connections(client: Any, count: int) -> AsyncIterator[list[Connection]]:
    url = client._base_url
    made = [Connection(*await asyncio.open_connection(url.host, url.port)) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.writer.close()


async def test_who_may_not_is_refused_before_the_body_is_there(client_of: ClientOf) -> None:
    client = await client_of(ENDPOINTS, limits=Limits(body_seconds=60))

    async with connections(client, 50) as made:
        for number, one in enumerate(made):
            caller = "anonymous" if number % 2 else "viewer"
            one.begin("/api/it", 1_000_000, caller, b'{"name": "' + b"x" * 100_000)
        statuses = [await one.status() for one in made]

    assert statuses == [403, 401] * 25


async def test_broken_json_is_told_first_as_long_as_it_is_small(client_of: ClientOf) -> None:
    patient = await client_of(ENDPOINTS, limits=Limits(peek_bytes=100, peek_seconds=60))
    hasty = await client_of(ENDPOINTS, limits=Limits(peek_bytes=100, peek_seconds=0.05))

    async with connections(patient, 2) as (small, large), connections(hasty, 1) as (slow,):
        small.begin("/api/it", 4, "anonymous", b'{"a"')
        large.begin("/api/it", 101, "anonymous", b"{" * 101)
        slow.begin("/api/it", 50, "anonymous", b"{")
        assert [await one.status() for one in (small, large, slow)] == [422, 401, 401]


async def test_who_sends_at_once_gets_in_however_many_only_begin(client_of: ClientOf) -> None:
    limits = Limits(body_seconds=60, strangers_bytes=20_000)
    client = await client_of(ENDPOINTS, limits=limits)

    async with connections(client, 30) as slow:
        for one in slow:
            one.begin("/api/open", 1_000_000, "anonymous", b'{"name": "' + b"x" * 1000)
            await one.writer.drain()
        # Room is for 19: the eleven that began first are told to come again.
        assert [await one.status() for one in slow[:11]] == [503] * 11
        for _ in range(5):
            async with client.post("/api/open", json={"name": "a"}, headers=as_("anonymous")) as ok:
                assert ok.status == 200
        # Those who are known have room of their own.
        body = {"name": "b" * 30_000}
        async with client.post("/api/it", json=body, headers=as_("user")) as ok:
            assert ok.status == 200


async def test_who_asks_before_sending_is_told_to_only_when_it_is_read(
    client_of: ClientOf,
) -> None:
    async def takes(call: Call) -> dict[str, Any]:
        return {"size": sum([len(chunk) async for chunk in call.body])}

    answers = {200: Answer("Done.")}
    stream = Endpoint(
        "POST", "/api/up", takes, Capability.SUBMIT, "Up.", "it", answers, body=Stream()
    )
    client = await client_of([*ENDPOINTS, stream])

    for path, caller, expect, lines in (
        ("/api/it", "user", "100-continue", [100, 200]),
        ("/api/up", "user", "100-Continue", [100, 200]),
        ("/api/it", "user", "pancakes", [200]),  # RFC 9110 section 10.1.1: may be ignored
        ("/api/up", "anonymous", "100-continue", [401]),
    ):
        body = b'{"name": "a"}'
        async with connections(client, 1) as (one,):
            one.begin(path, len(body), f"{caller}\r\nExpect: {expect}", b"")
            if lines[0] == 100:
                assert await one.status() == 100
                assert await one.reader.readline() == b"\r\n"
            one.writer.write(body)
            assert await one.status() == lines[-1], path


def buffered() -> int:
    """Return how many bytes of bodies the server holds, in its own lists and in its connections."""
    gc.collect()
    found = 0
    for one in gc.get_objects():
        if isinstance(one, StreamReader):
            found += getattr(one, "_size", 0)  # an empty one has none
        elif isinstance(one, BodyBudget):
            found += one.held
    return found


# What a connection itself may hold of a body: asyncio reads 256 KiB at once, and aiohttp stops
# reading beyond twice its limit of 64 KiB.
_OF_CONNECTION = 2**18 + 2 * 2**16


@pytest.mark.parametrize("path", ["/api/it", "/api/open", "/api/nowhere"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_half_bodies_of_strangers_hold_no_more_than_their_share(
    path: str, chunked: bool, client_of: ClientOf
) -> None:
    count, budget = 60, 2**20
    part = b'{"name": "' + b"x" * 900_000
    limits = Limits(body_seconds=60, strangers_bytes=budget)
    client = await client_of(ENDPOINTS, limits=limits)
    most = 0

    async with connections(client, count) as made:
        for one in made:
            if chunked:
                one.begin(path, None, "anonymous", b"%x\r\n" % len(part) + part)
            else:
                one.begin(path, 1_000_000, "anonymous", part)
        answers = [asyncio.create_task(one.status()) for one in made]

        # All but those that may still send: the budget has room for one, or two.
        def answered() -> bool:
            nonlocal most
            most = max(most, buffered())
            return sum(one.done() for one in answers) >= count - 2

        await until(answered, every=0.05)
        statuses = {one.result() for one in answers if one.done()}
        for one in answers:
            one.cancel()

    assert statuses <= {401, 404, 503}
    assert most <= budget + count * _OF_CONNECTION < count * len(part) / 2


async def test_what_a_client_leaves_behind_is_not_held(client_of: ClientOf) -> None:
    limits = Limits(body_seconds=60, strangers_bytes=10_000)
    client = await client_of(ENDPOINTS, limits=limits)

    for _ in range(5):
        async with connections(client, 9) as slow:
            for one in slow:
                one.begin("/api/open", 100_000, "anonymous", b"x" * 1000)
                await one.writer.drain()
    async with client.post("/api/open", json={"name": "c" * 5000}) as ok:
        assert ok.status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    async def takes(call: Call) -> dict[str, Any]:
        async for _ in call.body:
            begun.set()
        return {}

    begun = asyncio.Event()
    stream = Endpoint(
        "POST",
        "/api/up",
        takes,
        Capability.PUBLIC,
        "Up.",
        "it",
        {200: Answer("Done.")},
        body=Stream(),
    )
    client = await client_of([*ENDPOINTS, stream])
    for path in ("/api/open", "/api/up"):
        async with connections(client, 1) as (one,):
            one.begin(path, 1_000_000, "user", b'{"name": "' + b"x" * 100_000)
            await one.writer.drain()
            if path == "/api/up":
                await asyncio.wait_for(begun.wait(), 60)
    async with client.post("/api/open", json={"name": "c"}) as ok:
        assert ok.status == 200
    assert "Traceback" not in caplog.text
    assert not [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]


async def test_chunks_that_are_none_are_the_clients_fault(client_of: ClientOf) -> None:
    client = await client_of(ENDPOINTS)

    async with connections(client, 1) as (one,):
        one.writer.write(
            b"POST /api/open HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await one.writer.drain()
        one.writer.write(b"no length\r\n{}\r\n")
        assert await one.status() == 400


def test_a_whole_body_counts_until_it_is_answered() -> None:
    budget = BodyBudget(100)
    with budget.reading() as first:
        budget.took(first, 90)
        budget.finished(first)
        with budget.reading() as second:
            budget.took(second, 20)
            assert second.gave_way  # the first cannot any more
            assert budget.held == 90
    assert budget.held == 0
