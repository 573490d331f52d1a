"""Connections of hostile clients: silent, slow, many, or no HTTP at all."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from support.aio import until
from weir_api.listeners import listen
from weir_api.web.connections import ConnectionLimits
from weir_api.web.server import HttpServer

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
MUCH = 16 * 2**20  # more than all buffers of the kernel
GET_MUCH = GET.replace(b"/", b"/much", 1)
SOON = ConnectionLimits(head_seconds=0.3)


class Served:
    """A server, and connections to it that speak for themselves."""

    def __init__(self, server: HttpServer, port: int) -> None:
        self.server, self.port = server, port
        self.open: list[socket.socket] = []

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self.port), 20, source_address=(source, 0))
        self.open.append(one)
        return one

    async def ask(self, one: socket.socket, data: bytes = GET) -> bytes:
        """Send something; return the beginning of the answer, empty when there is none."""

        def talk() -> bytes:
            try:
                one.sendall(data)
                return one.recv(4096)
            except ConnectionError:
                return b""

        return await asyncio.to_thread(talk)


@asynccontextmanager
async def served(limits: ConnectionLimits) -> AsyncIterator[Served]:
    async def much(_: web.Request) -> web.Response:
        return web.Response(body=bytes(MUCH))

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(text=f"{len(body)}")

    app = web.Application()
    app.router.add_route("*", "/", handle)
    app.router.add_get("/much", much)
    server = HttpServer(app, limits)
    listening = listen("127.0.0.1", 0)
    await server.start(listening)
    made = Served(server, listening.getsockname()[1])
    try:
        yield made
    finally:
        for one in made.open:
            one.close()
        await server.close()


def is_closed(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def test_who_connects_and_says_nothing_is_dropped() -> None:
    async with served(SOON) as made:
        silent = [made.connect() for _ in range(20)]
        half = made.connect()
        half.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        empty = made.connect()
        empty.sendall(b"\r\n\r\n")  # lines before a head, which are no head
        await until(lambda: all(is_closed(one) for one in [*silent, half, empty]))
        await until(lambda: not made.server.connections)


async def test_who_sends_a_head_drop_by_drop_is_dropped() -> None:
    async with served(SOON) as made:
        one = made.connect()
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")

        def drip() -> bool:
            try:
                one.send(b"X: y\r\n")
            except ConnectionError:
                return True
            return False

        await until(drip, every=0.05)


@pytest.mark.parametrize("parts", [[GET], [GET[:9], GET[9:-3], GET[-3:-1], GET[-1:]]])
async def test_once_a_head_is_whole_a_connection_may_take_its_time(parts: Iterable[bytes]) -> None:
    async with served(ConnectionLimits(head_seconds=1.0)) as made:
        slow, long = made.connect(), made.connect()
        long.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        for part in parts:
            slow.sendall(part)
            await asyncio.sleep(0)
        silent = made.connect()
        await until(lambda: is_closed(silent))  # so the time of the others is over, too
        silent.close()
        assert (await made.ask(slow)).startswith(b"HTTP/1.1 200")
        assert (await made.ask(long, b"cd")).endswith(b"\r\n\r\n4")


async def test_one_address_has_so_many_connections_and_others_get_in() -> None:
    async with served(ConnectionLimits(per_peer=3)) as made:
        first = [made.connect() for _ in range(3)]
        for one in first:
            assert (await made.ask(one)).startswith(b"HTTP/1.1 200")
        assert await made.ask(made.connect()) == b""
        assert (await made.ask(made.connect("127.0.0.2"))).startswith(b"HTTP/1.1 200")
        first[0].close()
        await until(lambda: made.server.connections == 3)
        assert (await made.ask(made.connect())).startswith(b"HTTP/1.1 200")


async def test_a_proxy_has_as_many_as_there_may_be_and_no_more() -> None:
    proxies = [ipaddress.ip_network("127.0.0.1/32")]
    async with served(ConnectionLimits(per_peer=1, most=4, proxies=proxies)) as made:
        for _ in range(4):
            assert (await made.ask(made.connect())).startswith(b"HTTP/1.1 200")
        assert await made.ask(made.connect()) == b""
        assert await made.ask(made.connect("127.0.0.2")) == b""


def whole(one: socket.socket) -> bool:
    """Read an answer; tell whether all of it came."""
    count = 0
    try:
        while count < MUCH:
            data = one.recv(2**20)
            if not data:
                return False
            count += len(data)
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (ConnectionLimits(unread_bytes_per_peer=1), 1),  # one may be as large as it is
        (
            ConnectionLimits(
                unread_bytes_per_peer=1, proxies=[ipaddress.ip_network("127.0.0.1/32")]
            ),
            6,
        ),
    ],
)
async def test_what_clients_do_not_read_is_not_all_kept(
    limits: ConnectionLimits, kept: int
) -> None:
    async with served(limits) as made:
        other = made.connect("127.0.0.2")
        other.sendall(GET_MUCH)
        flood = []
        for _ in range(6):
            flood.append(made.connect())
            flood[-1].sendall(GET_MUCH)
            assert await asyncio.to_thread(flood[-1].recv, 1)  # in this order
        is_other_kept = await asyncio.to_thread(whole, other)
        read = [await asyncio.to_thread(whole, one) for one in flood]
    assert is_other_kept
    assert read == [False] * (6 - kept) + [True] * kept


async def test_there_are_never_more_than_there_are_files_for() -> None:
    assert 64 <= ConnectionLimits().most <= 16_384


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : <script>\r\n\r\n",
        b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X-%d: y\r\n" % n for n in range(500))
        + b"\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_and_told_no_more(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what it sent, which may be anything, nor which versions we run on."""
    async with served(ConnectionLimits()) as made:
        answer = await made.ask(made.connect(), data)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == b"400"
        assert body == b"Invalid HTTP request received."
        assert b"\r\nServer: weir\r\n" in head + b"\r\n"
        assert b"text/plain" in head
        assert b"aiohttp" not in answer
        await until(lambda: not made.server.connections)
    assert not [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]


async def test_a_thousand_at_once_cost_nobody_else_their_turn() -> None:
    async with served(ConnectionLimits(per_peer=100)) as made:
        flood = [await asyncio.to_thread(made.connect, "127.0.0.3") for _ in range(1000)]
        assert (await made.ask(made.connect())).startswith(b"HTTP/1.1 200")
        assert made.server.connections <= 101
        await until(lambda: sum(map(is_closed, flood)) == 900)
