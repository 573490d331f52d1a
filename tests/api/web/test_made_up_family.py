"""A family of another make, all its own: callers, words, port, an upload and a WebSocket.

It is served by ``web`` as it is: what a new API needs is a folder and a line in a list.
"""

import asyncio
import socket as stdlib_socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from hashlib import sha256
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import BaseModel

from support.aio import until
from support.serve import going_on
from weir_api.errors import (
    AccessDeniedError,
    UnauthenticatedError,
    UnavailableError,
    UnknownObjectError,
)
from weir_api.listeners import Listener, run_listeners
from weir_api.web import sockets
from weir_api.web.access import Needs
from weir_api.web.app import make_app
from weir_api.web.endpoint import (
    Answer,
    Call,
    Family,
    Json,
    Stream,
    endpoint,
    endpoints_of,
    socket,
    sockets_of,
)
from weir_api.web.server import HttpServer
from weir_api.web.sockets import Socket
from weir_api.web.validation import Limits
from weir_crds.errors import WeirError

MIB = 2**20


class May(Enum):
    LOOK = "look"
    KEEP = "keep"


async def nothing() -> None:
    """All is well."""


class Badges:
    """Callers wear a badge: a name, whose first letter is what they may."""

    anonymous = ""

    def __init__(self) -> None:
        badge = {"type": "apiKey", "in": "header", "name": "Badge"}
        self.security_schemes: dict[str, Any] = {"badge": badge}
        self.withdrawn: set[str] = set()
        self.trouble: Callable[[], Awaitable[None]] = nothing

    async def authenticate(self, request: web.Request) -> str:
        badge = request.headers.get("Badge", "")
        await self.trouble()
        return "" if badge in self.withdrawn else badge

    def is_public(self, capability: Enum) -> bool:
        return capability is May.LOOK

    def check(self, caller: str, capability: Enum) -> None:
        if capability is May.KEEP and not caller:
            raise UnauthenticatedError("show your badge")
        if capability is May.KEEP and not caller.startswith("k"):
            raise AccessDeniedError("keepers only")

    def needs(self, capability: Enum) -> Needs:
        if capability is May.LOOK:
            return Needs("Everyone.")
        return Needs("Keepers.", ({"badge": []},), frozenset({401, 403}))

    def peer_of(self, request: web.Request) -> str:
        return request.remote or "-"

    def name_of(self, caller: str) -> str:
        return caller or "-"


class Envelope:
    """``{"ok": true, "data": …}``, ``{"ok": false, "why": …}``."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {"Why": {"type": "object"}}

    def error_schema(self, status: int) -> dict[str, Any]:
        return {"$ref": "#/components/schemas/Why"}

    def answer_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": {"ok": {"const": True}, "data": schema}}

    def success(self, value: Any, status: int, headers: Mapping[str, str]) -> web.Response:
        return self._reply({"ok": True, "data": value}, status, headers)

    def error(self, error: WeirError, status: int, headers: Mapping[str, str]) -> web.Response:
        return self.plain(status, str(error), headers)

    def plain(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        return self._reply({"ok": False, "why": message}, status, headers)

    def handshake(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        return self._reply({"ok": False, "why": message}, status, headers)

    def _reply(self, value: Any, status: int, headers: Mapping[str, str]) -> web.Response:
        return web.Response(
            body=orjson.dumps(value),
            status=status,
            headers=headers,
            content_type="application/vnd.kept+json",
        )


class Thing(BaseModel):
    name: str


class Shelf:
    """Things are kept by name; each can be listened to."""

    def __init__(self) -> None:
        self.things: dict[str, str] = {}
        self.begun = self.ended = 0

    @endpoint(
        "PUT",
        "/kept/{name}",
        May.KEEP,
        "Keep",
        tag="Shelf",
        answers={201: Answer("Kept.", Thing)},
        body=Stream(limit=8 * MIB),
    )
    async def keep(self, call: Call) -> dict[str, Any]:
        digest = sha256()
        async for chunk in call.body:
            digest.update(chunk)
        self.things[call.path["name"]] = digest.hexdigest()
        return {"name": call.path["name"], "digest": digest.hexdigest()}

    @endpoint(
        "POST",
        "/renamed",
        May.KEEP,
        "Rename",
        tag="Shelf",
        answers={200: Answer("Renamed.", Thing)},
        body=Json(Thing),
    )
    async def rename(self, call: Call) -> dict[str, Any]:
        return {"name": call.body.name}

    async def _there(self, call: Call) -> None:
        if call.path["name"] not in self.things:
            raise UnknownObjectError("nothing is kept under that name")

    @socket("/listen/{name}", May.KEEP, "Listen", tag="Shelf", authorize=_there)
    async def listen(self, call: Call, socket: Socket) -> None:
        self.begun += 1
        try:
            await socket.send(self.things[call.path["name"]])
            async for message in socket:
                await socket.send(message)
        finally:
            self.ended += 1


class World:
    """The family on its port."""

    def __init__(self) -> None:
        self.access, self.shelf = Badges(), Shelf()
        self.stopping = asyncio.Event()
        self.server: HttpServer | None = None
        self.port = 0

    def build(self) -> HttpServer:
        family = Family(
            "kept",
            "Kept things",
            "1",
            endpoints_of(self.shelf),
            self.access,
            Envelope(),
            sockets=sockets_of(self.shelf),
        )
        app = make_app(
            family,
            stale_seconds=lambda: 0.0,
            ready=lambda: True,
            limits=Limits(body_bytes=1000),
            recheck_seconds=0.02,
        )
        self.server = HttpServer(app)
        return self.server


@asynccontextmanager
async def served(free_port: int) -> AsyncIterator[tuple[World, aiohttp.ClientSession]]:
    world = World()
    listeners = [Listener("kept", f"127.0.0.1:{free_port}", world.build)]
    url = f"http://127.0.0.1:{free_port}"
    async with (
        going_on(run_listeners(listeners, world.stopping, drain_seconds=5)),
        aiohttp.ClientSession(url, headers={"Badge": "keeper"}) as http,
    ):
        await until(lambda: world.server is not None)
        yield world, http


@pytest.fixture
async def world(unused_tcp_port: int) -> AsyncIterator[tuple[World, aiohttp.ClientSession]]:
    async with served(unused_tcp_port) as made:
        yield made


Made = tuple[World, aiohttp.ClientSession]


async def test_an_upload_is_not_capped_by_the_limit_of_json(world: Made) -> None:
    made, http = world
    data = b"x" * (5 * MIB)

    async with http.put("/kept/a", data=data) as answer:
        assert answer.status == 201
        assert answer.content_type == "application/vnd.kept+json"
        told = await answer.json(content_type=None)
        assert told == {
            "ok": True,
            "data": {"name": "a", "digest": sha256(data).hexdigest()},
        }
    async with http.post("/renamed", json={"name": "n" * 2000}) as answer:
        assert answer.status == 413
    async with http.put("/kept/b", data=b"x" * (9 * MIB)) as answer:
        assert answer.status == 413
        assert await answer.json(content_type=None) == {
            "ok": False,
            "why": f"the body may have {8 * MIB} bytes at most",
        }
    assert "b" not in made.shelf.things


@pytest.mark.parametrize(
    ("badge", "status", "why"),
    [("", 401, "show your badge"), ("guest", 403, "keepers only")],
)
async def test_refusals_are_in_the_words_of_its_own_access(
    world: Made, badge: str, status: int, why: str
) -> None:
    _, http = world

    for method, path, more in (
        ("PUT", "/kept/a", {"data": b"x"}),
        ("POST", "/renamed", {"json": {}}),
    ):
        async with http.request(method, path, headers={"Badge": badge}, **more) as answer:
            assert answer.status == status
            assert await answer.json(content_type=None) == {"ok": False, "why": why}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/listen/a", headers={"Badge": badge})
    assert refused.value.status == status


async def test_the_document_tells_its_own_access_and_envelope(world: Made) -> None:
    _, http = world

    async with http.get("/openapi.json") as answer:
        told = await answer.json()
    put = told["paths"]["/kept/{name}"]["put"]
    assert put["security"] == [{"badge": []}]
    assert "Keepers." in put["description"]
    assert put["requestBody"]["content"].keys() == {"application/octet-stream"}
    assert put["responses"]["201"]["content"]["application/json"]["schema"]["properties"]["ok"]
    assert told["components"]["securitySchemes"].keys() == {"badge"}
    assert {"Why", "Thing"} == told["components"]["schemas"].keys()


async def test_a_socket_talks_both_ways(world: Made) -> None:
    made, http = world
    made.shelf.things["a"] = "hello"

    async with http.ws_connect("/listen/a") as socket:
        assert await socket.receive_str() == "hello"
        await socket.send_str("text")
        assert await socket.receive_str() == "text"
        await socket.send_bytes(b"bytes")
        assert await socket.receive_bytes() == b"bytes"
    await until(lambda: made.shelf.ended == 1)


async def test_what_is_wrong_with_a_socket_is_told_in_the_handshake(world: Made) -> None:
    made, http = world
    made.shelf.things["a"] = "hello"

    for path, headers, status in (
        ("/listen/none", {}, 404),
        ("/nowhere", {}, 404),
        ("/listen/a", {"Origin": "https://evil.example"}, 403),
        ("/listen/a", {"Origin": "null"}, 403),
        ("/listen/a", {"Sec-Fetch-Site": "same-site"}, 403),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(path, headers=headers)
        assert refused.value.status == status, path
    async with http.get("/listen/a") as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
    assert made.shelf.ended == 0


async def test_an_open_socket_is_closed_when_its_caller_may_not_have_it_any_more(
    world: Made,
) -> None:
    made, http = world
    made.shelf.things["a"] = "hello"

    async with http.ws_connect("/listen/a") as socket:
        await socket.receive_str()
        made.access.withdrawn.add("keeper")
        message = await asyncio.wait_for(socket.receive(), 60)
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
        assert message.extra == "show your badge"
    await until(lambda: made.shelf.ended == 1)


async def test_an_open_socket_is_closed_when_its_object_is_gone(world: Made) -> None:
    made, http = world
    made.shelf.things["a"] = "hello"

    async with http.ws_connect("/listen/a") as socket:
        await socket.receive_str()
        del made.shelf.things["a"]
        message = await asyncio.wait_for(socket.receive(), 60)
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
    await until(lambda: made.shelf.ended == 1)


async def test_an_open_socket_is_closed_when_it_cannot_be_found_out_whether_it_may_stay(
    world: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "_CHECK_SECONDS", 0.2)
    made, http = world
    made.shelf.things["a"] = "hello"

    async def broken() -> None:
        raise KeyError("a defect of ours")

    async def away() -> None:
        raise UnavailableError("accounts cannot be read now")

    async def hangs() -> None:
        await asyncio.sleep(3600)

    for trouble, code, logged in (
        (broken, WSCloseCode.INTERNAL_ERROR, True),
        (away, WSCloseCode.TRY_AGAIN_LATER, False),
        (hangs, WSCloseCode.TRY_AGAIN_LATER, True),
    ):
        caplog.clear()
        made.access.trouble = nothing
        async with http.ws_connect("/listen/a") as socket:
            await socket.receive_str()
            made.access.trouble = trouble
            message = await asyncio.wait_for(socket.receive(), 60)
            assert (message.type, message.data) == (WSMsgType.CLOSE, code)
        found = [one for one in caplog.records if one.name == "weir_api.web.sockets"]
        assert bool(found) is logged
        assert "a defect of ours" not in str(message.extra)
    await until(lambda: made.shelf.begun == made.shelf.ended == 3)


async def test_a_socket_may_be_closed_twice(world: Made) -> None:
    made, http = world
    made.shelf.things["a"] = "hello"

    async with http.ws_connect("/listen/a") as socket:
        await socket.receive_str()
        made.access.withdrawn.add("keeper")
        made.stopping.set()
        message = await asyncio.wait_for(socket.receive(), 60)
        assert message.type is WSMsgType.CLOSE
    await until(lambda: made.shelf.ended == 1)


async def test_sockets_get_a_close_frame_when_the_server_ends(world: Made) -> None:
    made, http = world
    made.shelf.things["a"] = "hello"

    async with http.ws_connect("/listen/a") as socket:
        await socket.receive_str()
        made.stopping.set()
        message = await asyncio.wait_for(socket.receive(), 60)
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.GOING_AWAY)
    await until(lambda: made.shelf.ended == 1)


def _handshaken(port: int, path: str) -> stdlib_socket.socket:
    """Open a WebSocket whose client never reads a byte."""
    client = stdlib_socket.socket()
    client.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    head = (
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Badge: keeper",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
    )
    client.sendall("\r\n".join((*head, "", "")).encode())
    return client


@pytest.mark.parametrize("opcode", [0x9, 0x2])
async def test_a_flood_of_small_messages_leaves_turns_to_others(
    world: Made, unused_tcp_port: int, opcode: int
) -> None:
    made, _ = world
    made.shelf.things["a"] = "hello"
    frames = 20_000
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    with _handshaken(unused_tcp_port, "/listen/a") as client:
        await until(lambda: made.shelf.begun)
        # Kept from reading meanwhile, the server finds them all at once.
        client.setblocking(False)
        sent = client.send((bytes([0x80 | opcode, 0x80]) + bytes(4)) * frames)
        client.setblocking(True)
        beside = asyncio.create_task(other())
        answers = await asyncio.to_thread(_read, client, sent // 6 * 2)
        beside.cancel()

    assert answers >= sent // 6 * 2
    assert turns > sent // 6 / 100


def _read(client: stdlib_socket.socket, least: int) -> int:
    client.settimeout(60)
    count = 0
    while count < least:
        count += len(client.recv(65536))
    return count


async def test_a_socket_whose_client_never_reads_is_cut_off(
    world: Made, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what it did not take would stay in memory for as long as it likes."""
    monkeypatch.setattr(sockets, "_STALLED_SECONDS", 0.2)
    made, _ = world
    made.shelf.things["a"] = "x" * 20 * MIB

    with _handshaken(unused_tcp_port, "/listen/a"):
        await until(lambda: made.shelf.ended == 1)
        await until(lambda: made.server and not made.server.connections, "no connection")


async def test_a_client_that_never_reads_keeps_a_socket_no_longer_than_its_caller_may(
    world: Made, unused_tcp_port: int
) -> None:
    made, _ = world
    made.shelf.things["a"] = "x" * 20 * MIB

    with _handshaken(unused_tcp_port, "/listen/a"):
        await until(lambda: made.shelf.begun)
        made.access.withdrawn.add("keeper")
        await until(lambda: made.shelf.ended == 1)
        await until(lambda: made.server and not made.server.connections, "no connection")


async def test_a_client_that_never_reads_does_not_keep_the_server_from_its_end(
    unused_tcp_port: int,
) -> None:
    made = World()
    made.shelf.things["a"] = "x" * 20 * MIB
    listeners = [Listener("kept", f"127.0.0.1:{unused_tcp_port}", made.build)]
    ends = asyncio.create_task(run_listeners(listeners, made.stopping, drain_seconds=1))
    await until(lambda: made.server is not None)

    with _handshaken(unused_tcp_port, "/listen/a"):
        await until(lambda: made.shelf.begun)
        made.stopping.set()
        await asyncio.wait_for(ends, 60)
    assert made.shelf.ended == 1
