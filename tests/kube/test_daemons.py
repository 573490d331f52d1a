"""What facade and plugin ask of a host's daemon, over real HTTPS."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.bare_daemon import bare_daemon
from support.daemon_server import AUDIENCE, CONTAINER, HOST, LOG, World
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.times import now_rfc3339
from weir_kube.daemon_tokens import DaemonTokens
from weir_kube.daemons import Daemons
from weir_kube.errors import (
    ApiUnavailableError,
    DaemonBrokeOffError,
    DaemonRefusedError,
    DaemonUnavailableError,
)
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server import DaemonServer, load_or_create


class Tokens:
    """Gives out these tokens in turn, the last one for ever."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked = 0
        self.audiences: list[str] = []
        self.seconds = 3600.0
        self.failure: Exception | None = None

    async def token_request(
        self,
        service_account: str,
        namespace: str,
        audiences: Sequence[str] = (),
        expiration_seconds: int = 3600,
    ) -> dict[str, Any]:
        assert (service_account, namespace) == ("weir-api", "weir-system")
        self.asked += 1
        self.audiences += audiences
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.seconds)
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        return {"token": token, "expirationTimestamp": now_rfc3339(expires)}


class Served:
    """A daemon's port and its Host."""

    def __init__(self, world: World, host: dict[str, Any], server: DaemonServer) -> None:
        self.world = world
        self.host = host
        self.server = server


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    world = World(LogStore(tmp_path / "logs", 10**6))
    world.tasks.replace([], "1")
    certificate = load_or_create(tmp_path, ["127.0.0.1"])
    server = world.server(certificate)
    url = f"https://127.0.0.1:{await server.start()}"
    endpoint = {"url": url, "fingerprint": certificate.fingerprint}
    host = {**HOST, "spec": {"approval": "Approved"}, "status": {"endpoint": endpoint}}
    yield Served(world, host, server)
    await server.close()


def client(tokens: Tokens) -> Daemons:
    return Daemons(DaemonTokens(tokens, "weir-api"), user_agent="test")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens("reader")


@pytest.fixture
async def daemons(tokens: Tokens) -> AsyncIterator[Daemons]:
    daemons = client(tokens)
    yield daemons
    await daemons.close()


async def have_output(world: World, data: bytes) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    await world.runs.print(CONTAINER, data)


async def read(daemons: Daemons, host: dict[str, Any], **query: str) -> bytes:
    async with daemons.stream(host, LOG, query) as response:
        return await response.read()


async def test_output_is_streamed_as_the_daemon_has_it(served: Served, daemons: Daemons) -> None:
    await have_output(served.world, b"one\n\xfftwo\n")
    assert await read(daemons, served.host) == b"one\n\xfftwo\n"
    assert await read(daemons, served.host, tail="1") == b"\xfftwo\n"


async def test_one_answer_is_taken_whole(served: Served, daemons: Daemons) -> None:
    stats = await daemons.get_json(served.host, "/v1/stats", {}, 60)
    assert stats["tasks"] == []


async def test_many_requests_share_one_token(
    served: Served, daemons: Daemons, tokens: Tokens
) -> None:
    await have_output(served.world, b"x")
    assert set(await asyncio.gather(*(read(daemons, served.host) for _ in range(20)))) == {b"x"}
    assert tokens.asked == 1
    assert tokens.audiences == [AUDIENCE]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"spec": {"approval": "Pending"}}, "not approved"),
        ({"spec": {"approval": "Rejected"}}, "not approved"),
        ({"spec": {}}, "not approved"),
        ({"spec": {"approval": "Approved", "external": True}}, "external"),
        ({"status": {}}, "has not told"),
    ],
)
async def test_a_host_that_is_not_approved_is_never_contacted(
    served: Served, daemons: Daemons, tokens: Tokens, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(NotContactedError, match=f"n1.*{why}"):
        await daemons.get_json({**served.host, **changes}, "/v1/stats", {}, 60)
    with pytest.raises(NotContactedError, match=f"n1.*{why}"):
        await read(daemons, {**served.host, **changes})
    assert (tokens.asked, served.world.api.token_reviews) == (0, 0)


async def test_each_host_has_a_token_of_its_own_and_those_of_hosts_gone_are_dropped(
    tokens: Tokens,
) -> None:
    now = [0.0]
    kept = DaemonTokens(tokens, "weir-api", clock=lambda: now[0])
    for audience in ("weir-daemon/a", "weir-daemon/b", "weir-daemon/a"):
        await kept.get(audience)
    assert tokens.audiences == ["weir-daemon/a", "weir-daemon/b"]
    now[0] += 3601
    await kept.get("weir-daemon/c")
    assert kept._tokens.keys() == {"weir-daemon/c"}
    await kept.close()


async def test_a_connection_is_used_again(daemons: Daemons, tmp_path: Path) -> None:
    async with bare_daemon(tmp_path, lambda request: web.json_response({})) as (host, requests):
        for _ in range(5):
            assert await daemons.get_json(host, "/v1/stats", {}, 60) == {}
    assert len({asked.peer for asked in requests}) == 1


async def test_a_stream_that_is_left_early_is_closed(served: Served, daemons: Daemons) -> None:
    await have_output(served.world, b"x")
    async with daemons.stream(served.host, LOG, {"follow": "1"}) as response:
        assert await response.content.readany() == b"x"
        assert served.world.runs.readers == 1
    for _ in range(500):
        if not served.world.runs.readers:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the daemon still reads for nobody")


async def test_a_refusal_carries_the_daemons_own_words(served: Served, daemons: Daemons) -> None:
    served.world.have_task(startedAt=None, conditions=[])
    with pytest.raises(DaemonRefusedError) as caught:
        await read(daemons, served.host)
    assert (caught.value.daemon_reason, caught.value.status) == ("NotStarted", 409)
    assert caught.value.host == "n1"
    assert "n1" in str(caught.value)


async def test_a_token_that_became_void_is_replaced(served: Served) -> None:
    tokens = Tokens("void", "reader")
    daemons = client(tokens)
    try:
        stats = await daemons.get_json(served.host, "/v1/stats", {}, 60)
    finally:
        await daemons.close()
    assert stats["tasks"] == []
    assert tokens.asked == 2


async def test_who_is_never_let_in_is_told_so(served: Served) -> None:
    tokens = Tokens("void")
    daemons = client(tokens)
    try:
        with pytest.raises(DaemonRefusedError) as caught:
            await daemons.get_json(served.host, "/v1/stats", {}, 60)
    finally:
        await daemons.close()
    assert caught.value.status == 401
    assert tokens.asked == 2


async def test_a_daemon_that_refuses_all_costs_a_token_a_minute(tmp_path: Path) -> None:
    tokens, clock = Tokens(*map(str, range(99))), [0.0]
    kept = DaemonTokens(tokens, "weir-api", clock=lambda: clock[0])
    daemons = Daemons(kept, user_agent="test")
    try:
        async with bare_daemon(tmp_path, lambda _: web.Response(status=401)) as (host, _):
            for asked in (2, 3):
                for _ in range(5):
                    with pytest.raises(DaemonRefusedError):
                        await daemons.get_json(host, "/v1/stats", {}, 60)
                assert tokens.asked == asked
                clock[0] += 61
    finally:
        await daemons.close()


async def test_a_token_near_its_end_is_renewed_and_used_while_it_holds(
    served: Served, daemons: Daemons, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(daemons._tokens, "_clock", lambda: now[0])

    async def ask() -> None:
        await daemons.get_json(served.host, "/v1/stats", {}, 60)

    await ask()
    now[0] += 3599 - 600
    await ask()
    assert tokens.asked == 1
    now[0] += 10
    tokens.failure = ApiUnavailableError("away")
    await ask()
    assert tokens.asked == 2
    now[0] += 600
    with pytest.raises(ApiUnavailableError, match="away"):
        await ask()
    tokens.failure = None
    await ask()
    assert tokens.asked == 4


async def test_the_token_never_goes_to_a_stranger(served: Served, daemons: Daemons) -> None:
    endpoint = served.host["status"]["endpoint"]
    wrong = {"url": endpoint["url"], "fingerprint": "sha256:" + 64 * "0"}
    with pytest.raises(DaemonUnavailableError, match="n1"):
        await read(daemons, {**served.host, "status": {"endpoint": wrong}})
    assert served.world.api.token_reviews == 0


async def test_a_host_whose_daemon_is_away_is_named(served: Served, daemons: Daemons) -> None:
    await served.server.close()
    with pytest.raises(DaemonUnavailableError, match="n1"):
        await read(daemons, served.host)


async def test_a_daemon_that_does_not_answer_in_time_is_given_up(
    daemons: Daemons, tmp_path: Path
) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with bare_daemon(tmp_path, never) as (host, _):
        with pytest.raises(DaemonUnavailableError, match=r"did not answer within 0\.1 s"):
            await daemons.get_json(host, "/v1/stats", {}, 0.1)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b""])
async def test_what_is_not_json_is_told_as_such(
    daemons: Daemons, tmp_path: Path, body: bytes
) -> None:
    async with bare_daemon(tmp_path, lambda _: web.Response(body=body)) as (host, _):
        with pytest.raises(DaemonUnavailableError, match="cannot be read"):
            await daemons.get_json(host, "/v1/stats", {}, 60)


async def test_an_answer_without_end_is_not_taken_into_memory(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_kube.daemons._JSON_LIMIT", 1000)
    async with bare_daemon(tmp_path, lambda _: web.Response(body=b" " * 2000)) as (host, _):
        with pytest.raises(DaemonUnavailableError, match="cannot be read"):
            await daemons.get_json(host, "/v1/stats", {}, 60)


async def test_a_redirect_is_not_followed(daemons: Daemons, tmp_path: Path) -> None:
    elsewhere = web.Response(status=302, headers={"Location": "https://127.0.0.1:1/"})
    async with bare_daemon(tmp_path, lambda _: elsewhere) as (host, requests):
        with pytest.raises(DaemonRefusedError, match="status 302 without words"):
            await daemons.get_json(host, "/v1/stats", {}, 60)
    assert len(requests) == 1


@pytest.mark.parametrize("status", [200, 403])
async def test_an_answer_that_is_nested_without_end_is_no_failure_of_ours(
    daemons: Daemons, tmp_path: Path, status: int
) -> None:
    deep = "[" * 50_000
    async with bare_daemon(tmp_path, lambda _: web.Response(text=deep, status=status)) as (host, _):
        with pytest.raises((DaemonUnavailableError, DaemonRefusedError)):
            await daemons.get_json(host, "/v1/stats", {}, 60)


@pytest.mark.parametrize("tail", ["/secrets", "/?x=", "?x=", "#", "/", "\\x", "@127.0.0.1:1"])
async def test_a_host_has_us_ask_nothing_but_a_daemon(
    daemons: Daemons, tmp_path: Path, tail: str
) -> None:
    async with bare_daemon(tmp_path, lambda _: web.Response(text="{}")) as (host, requests):
        host["status"]["endpoint"]["url"] += tail
        with pytest.raises(NotContactedError):
            await daemons.get_json(host, "/v1/stats", {}, 60)
    assert not requests


async def test_output_that_breaks_off_is_an_error(served: Served, daemons: Daemons) -> None:
    await have_output(served.world, b"x")

    async def follow() -> None:
        async with daemons.stream(served.host, LOG, {"follow": "1"}) as response:
            assert await response.content.readany() == b"x"
            await served.server.close()
            await response.read()

    with pytest.raises(DaemonBrokeOffError, match="broke off"):
        await follow()


async def test_a_daemon_that_falls_silent_in_the_middle_is_given_up(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_kube.daemons.SILENT_SECONDS", 2.0)

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.Event().wait()
        return response

    async with bare_daemon(tmp_path, half) as (host, _), asyncio.timeout(60):
        with pytest.raises(DaemonBrokeOffError, match="broke off"):
            await read(daemons, host)


async def test_a_slow_reader_is_not_taken_for_a_silent_daemon(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_kube.daemons.SILENT_SECONDS", 2.0)
    much = 4 * 1024 * 1024

    async with (
        bare_daemon(tmp_path, lambda _: web.Response(body=b"x" * much)) as (host, _),
        daemons.stream(host, LOG, {}) as response,
    ):
        size = len(await response.content.readany())
        await asyncio.sleep(2.5)  # longer than a daemon may be silent
        assert size + len(await response.content.read()) == much


async def test_our_own_clients_leaving_is_not_laid_at_the_daemons_door(
    served: Served, daemons: Daemons
) -> None:
    await have_output(served.world, b"x")
    with pytest.raises(aiohttp.ClientConnectionResetError):
        async with daemons.stream(served.host, LOG, {}):
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")


async def test_whole_output_of_a_run_that_ended(served: Served, daemons: Daemons) -> None:
    await have_output(served.world, b"x" * 100_000)
    await served.world.runs.end(CONTAINER)
    assert len(await read(daemons, served.host, follow="1")) == 100_000
