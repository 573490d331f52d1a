"""Who is let in to the HTTPS port, and for how long."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from prometheus_client import REGISTRY

from support.aio import until, until_async
from support.daemon_server import CONTAINER, LOG, World
from weir_nodedaemon.server.admission import Admission, Limits
from weir_nodedaemon.server.errors import TooManyRequestsError

SOON = 60.0  # what is short here ends long before, on a busy machine, too


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Stranger:
    """A connection on which no token has been shown."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def is_cut(self) -> bool:
        """Wait until the daemon closes it."""
        async with asyncio.timeout(SOON):
            try:
                return await self._reader.read() == b""
            except ConnectionError:
                return True

    async def answer(self, path: str) -> bytes:
        """Return the first line of an answer."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(SOON):
            return await self._reader.readline()


@asynccontextmanager
async def stranger(world: World, address: str = "127.0.0.1") -> AsyncIterator[Stranger]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        int(world.url.rpartition(":")[2]),
        ssl=world.trust,
        local_addr=(address, 0),
    )
    try:
        yield Stranger(reader, writer)
    finally:
        writer.transport.abort()


def refused(cause: str) -> float:
    name = "weir_daemon_http_connections_refused_total"
    return REGISTRY.get_sample_value(name, {"cause": cause}) or 0.0


def own_limits(**changes: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("world", [Limits(**changes)], indirect=True)  # type: ignore[arg-type]


async def let_in(world: World, address: str = "127.0.0.1") -> bool:
    """Tell whether one more stranger gets an answer."""
    try:
        async with stranger(world, address) as one:
            return b"200" in await one.answer("/healthz")
    except ConnectionError:
        return False


@own_limits(header_seconds=0.3)
@pytest.mark.parametrize("sent", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_without_a_whole_header_is_cut(world: World, sent: bytes) -> None:
    before = refused("too_slow")
    async with stranger(world) as one:
        one.writer.write(sent)
        assert await one.is_cut()
    assert refused("too_slow") == before + 1


@own_limits(header_seconds=0.5)
async def test_a_header_that_comes_byte_by_byte_wins_no_time(world: World) -> None:
    async with stranger(world) as one:

        async def dribble() -> None:
            one.writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
            while True:
                one.writer.write(b"x")
                await asyncio.sleep(0.05)

        dribbling = asyncio.create_task(dribble())
        try:
            assert await one.is_cut()
        finally:
            dribbling.cancel()


@own_limits(header_seconds=0.3)
async def test_who_has_asked_without_a_token_is_cut_when_he_stays(world: World) -> None:
    async with stranger(world) as one:
        assert b"401" in await one.answer(LOG)
        async with asyncio.timeout(SOON):
            await one._reader.readuntil(b"}")
        assert await one.is_cut()


@own_limits(header_seconds=0.3, idle_seconds=3600.0)
async def test_who_has_a_valid_token_may_take_his_time(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    # On one connection, so that the second request shows what became of it after the first.
    connector = aiohttp.TCPConnector(ssl=world.trust, limit=1)
    headers = {"Authorization": "Bearer reader"}
    async with aiohttp.ClientSession(world.url, connector=connector, headers=headers) as session:
        async with session.get(LOG) as response:
            port = response.connection.transport.get_extra_info("sockname")  # type: ignore[union-attr]
            assert await response.read() == b""
        async with stranger(world) as one:
            assert await one.is_cut()
        async with session.get(LOG + "?follow=true") as response:
            assert response.connection.transport.get_extra_info("sockname") == port  # type: ignore[union-attr]
            async with stranger(world) as one:
                assert await one.is_cut()
            await world.runs.print(CONTAINER, b"still here\n")
            await world.runs.end(CONTAINER)
            assert await response.read() == b"still here\n"


@own_limits(strangers_per_peer=3)
async def test_strangers_of_one_address_keep_nobody_else_out(world: World) -> None:
    world.have_task()
    await world.runs.print(CONTAINER, b"some\n")
    async with world.get(LOG) as response:
        assert await response.read() == b"some\n"
    before = refused("too_many")
    async with stranger(world) as first, stranger(world), stranger(world):
        assert not await let_in(world)
        assert refused("too_many") == before + 1
        assert await let_in(world, "127.0.0.2")
        async with world.get(LOG) as response:  # on a connection with a valid token
            assert await response.read() == b"some\n"
        first.writer.transport.abort()
        async with asyncio.timeout(SOON):
            while True:
                if await let_in(world):
                    break
                await asyncio.sleep(0.02)


@asynccontextmanager
async def without_tls(world: World, sent: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Connect, and send what is no whole TLS handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    try:
        writer.write(sent)
        yield reader
    finally:
        writer.transport.abort()


_HALF_HELLO = b"\x16\x03\x01\x02\x00\x01"


@own_limits(strangers_per_peer=3, handshake_seconds=3600.0)
@pytest.mark.parametrize("sent", [b"", _HALF_HELLO])
async def test_a_tls_handshake_that_does_not_end_is_counted_too(world: World, sent: bytes) -> None:
    async with without_tls(world, sent), without_tls(world, sent), without_tls(world, sent):
        assert not await let_in(world)
        assert await let_in(world, "127.0.0.2")
    await until_async(lambda: let_in(world), "they are counted no more")


@own_limits(strangers_per_peer=1, handshake_seconds=0.3)
@pytest.mark.parametrize("sent", [b"", _HALF_HELLO, b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_tls_handshake_has_an_end(world: World, sent: bytes) -> None:
    async with without_tls(world, sent) as reader:
        async with asyncio.timeout(SOON):
            with suppress(ConnectionError):
                await reader.read()
        await until_async(lambda: let_in(world), "it is counted no more")


@own_limits(strangers=3, strangers_per_peer=2)
async def test_there_are_no_more_strangers_than_there_may_be(world: World) -> None:
    async with stranger(world), stranger(world), stranger(world, "127.0.0.2"):
        assert not await let_in(world, "127.0.0.3")


@own_limits(strangers_per_peer=2)
async def test_connections_with_a_valid_token_are_not_counted(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    async with asyncio.timeout(SOON):
        readers = [await world.get(LOG + "?follow=true") for _ in range(5)]
    assert [reader.status for reader in readers] == [200] * 5
    for reader in readers:
        reader.close()
    await until(lambda: world.runs.readers == 0)


@own_limits(reviews_per_peer=2, reviews_seconds=3600.0)
async def test_unknown_tokens_of_one_address_do_not_flood_the_api_server(world: World) -> None:
    world.have_task()
    await world.runs.print(CONTAINER, b"some\n")

    async def status(token: str) -> int:
        async with world.get(LOG, token) as response:
            if response.status == 429:
                assert int(response.headers["Retry-After"]) >= 1
                assert (await response.json())["reason"] == "TooManyRequests"
            return response.status

    assert await status("reader") == 200  # it was unknown, too
    assert await status("unknown-1") == 401
    for number in range(2, 20):
        assert await status(f"unknown-{number}") == 429
    assert world.api.token_reviews == 2
    assert await status("unknown-1") == 401  # known to be refused
    assert await status("reader") == 200
    assert world.api.token_reviews == 2


def test_reviews_are_counted_by_address_and_for_a_while() -> None:
    clock = Clock()
    admission = Admission(Limits(reviews_per_peer=2, reviews_seconds=10.0), clock=clock)

    def ask(peer: str) -> bool:
        try:
            admission.review(peer)
        except TooManyRequestsError:
            return False
        return True

    assert [ask("a") for _ in range(4)] == [True, True, False, False]
    assert ask("b")
    clock.now += 9.9
    assert not ask("a")
    clock.now += 0.1
    assert [ask("a") for _ in range(3)] == [True, True, False]
    for number in range(100):
        assert ask(f"peer-{number}")
    clock.now += 10.0
    assert ask("a")
    assert len(admission._reviews) == 1  # of addresses that have not come back nothing is kept


@own_limits(streams=2)
async def test_there_are_no_more_streams_than_there_may_be_whoever_reads(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    async with (
        world.get(LOG + "?follow=true", "reader"),
        world.get(LOG + "?follow=true", "other"),
        world.get(LOG, "other") as refused_one,
    ):
        assert refused_one.status == 429
        assert (await refused_one.json())["reason"] == "TooManyStreams"


@own_limits(session_seconds=0.5)
async def test_a_stream_whose_time_is_up_is_broken_off(world: World) -> None:
    world.have_task()
    await world.runs.print(CONTAINER, b"some\n")
    async with asyncio.timeout(SOON), world.get(LOG + "?follow=true") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    await until(lambda: world.runs.readers == 0)


async def test_nobody_writes_lines_of_his_own_into_the_audit_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weir_nodedaemon.audit")
    world.have_task()
    async with world.get(LOG + "?run=1%0Asession+path=x") as response:
        assert response.status == 400
    (line,) = [record.getMessage() for record in caplog.records if record.name.endswith("audit")]
    assert "\n" not in line
    assert "query=run=1%0Asession+path=x" in line
