"""What stands around every request: ids, errors in words, the access log, metrics, limits."""

import asyncio
import logging
import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import REGISTRY

from support.aio import until
from support.facade import ClientOf, as_, authenticate
from weir_api.access.capabilities import Capability
from weir_api.errors import (
    STATUS,
    DisabledError,
    FacadeError,
    NowhereError,
    SlowDownError,
    StateConflictError,
    UnavailableError,
    status_of,
)
from weir_api.hostapi.access import HostAccess
from weir_api.hostapi.dialect import DetailDialect
from weir_api.web.app import make_app
from weir_api.web.endpoint import Answer, Call, Endpoint, Family, Json
from weir_api.web.validation import Limits
from weir_crds.errors import WeirError
from weir_kube.errors import (
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    InvalidObjectError,
    TooManyRequestsError,
)


def endpoint(handler: Any, path: str = "/it", **options: Any) -> Endpoint:
    given: dict[str, Any] = {
        "method": "GET",
        "capability": Capability.PUBLIC,
        "summary": "It.",
        "tag": "it",
        "answers": {200: Answer("Good.")},
    }
    return Endpoint(path=f"/api{path}", handler=handler, **{**given, **options})


async def fine(_: Call) -> dict[str, bool]:
    return {"ok": True}


def raising(error: BaseException) -> Any:
    async def handler(_: Call) -> web.StreamResponse:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (StateConflictError("it runs"), 409, {}),
        (SlowDownError("wait"), 429, {"Retry-After": "1"}),
        (UnavailableError("away"), 503, {"Retry-After": "2"}),
        (DisabledError("off"), 503, {"Retry-After": None}),
        (ConflictError("changed"), 409, {}),
        (InvalidObjectError("no such shape"), 422, {}),
        (NowhereError("too big"), 503, {"Retry-After": None}),
    ],
)
async def test_errors_are_told_by_status_and_words(
    client_of: ClientOf, error: WeirError, status: int, headers: dict[str, str | None]
) -> None:
    client = await client_of([endpoint(raising(error))])

    async with client.get("/api/it") as answer:
        assert answer.status == status
        assert await answer.json() == {"detail": str(error)}
        assert answer.content_type == "application/json"
        for name, value in headers.items():
            assert answer.headers.get(name) == value


@pytest.mark.parametrize(
    ("error", "words", "wait"),
    [
        (ApiUnavailableError("GET https://10.0.0.1:6443 away"), "cannot be reached", "2"),
        (ApiUnavailableError("https://10.0.0.1", retry_after_seconds=6.2), "be reached", "7"),
        (TooManyRequestsError("https://10.0.0.1:6443"), "busy", "1"),
        (ForbiddenError('User "system:serviceaccount:x:weir-api" cannot'), "does not let", "2"),
    ],
)
async def test_where_the_api_server_is_and_who_we_are_there_is_nobodys_to_know(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture, error: WeirError, words: str, wait: str
) -> None:
    caplog.set_level(logging.INFO)
    client = await client_of([endpoint(raising(error))])

    async with client.get("/api/it") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == wait
        told = (await answer.json())["detail"]
    assert words in told
    assert str(error) not in told
    assert str(error) in caplog.text  # who runs the facade has to know


def test_every_error_of_the_facade_has_a_row_and_a_reason_of_its_own() -> None:
    kinds = [kind for kind in FacadeError.__subclasses__() if kind.__module__ == "weir_api.errors"]

    assert kinds
    assert not [kind for kind in kinds if kind not in STATUS]
    assert len({kind.reason for kind in kinds}) == len(kinds)


def test_an_error_without_a_row_is_ours() -> None:
    assert status_of(WeirError()) == 500


async def test_an_unexpected_error_is_told_without_its_inside(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    client = await client_of([endpoint(raising(ValueError("the inside")))])

    async with client.get("/api/it", headers={"X-Request-ID": "mine-1"}) as answer:
        assert answer.status == 500
        assert "inside" not in await answer.text()
        assert list(await answer.json()) == ["detail"]
    failure = next(one for one in caplog.records if one.levelno == logging.ERROR)
    assert "id=mine-1" in failure.getMessage()
    assert failure.exc_info is not None


async def test_a_broken_connection_of_ours_is_not_the_clients(client_of: ClientOf) -> None:
    client = await client_of([endpoint(raising(ConnectionResetError("the daemon's")))])

    async with client.get("/api/it") as answer:
        assert answer.status == 500


async def test_a_client_that_leaves_is_no_failure(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    left = asyncio.Event()

    async def talks(call: Call) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(call.request)
        try:
            while True:
                await response.write(b"x" * 100_000)
                await asyncio.sleep(0)
        finally:
            left.set()

    client = await client_of([endpoint(talks, "/talks", streams=True)])
    async with client.get("/api/talks") as answer:
        await answer.content.read(10)

    await asyncio.wait_for(left.wait(), 60)
    route = {"family": "test", "method": "GET", "route": "/api/talks", "code": "499"}
    await until(lambda: REGISTRY.get_sample_value("weir_http_requests_total", route))
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_an_answer_that_has_begun_breaks_off(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(call: Call) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(call.request)
        await response.write(b"first")
        raise UnavailableError("the daemon went away")

    client = await client_of([endpoint(breaks, streams=True)])

    with pytest.raises(Exception, match=r"[Pp]ayload|[Cc]onnection|reset"):
        async with client.get("/api/it") as answer:
            await answer.read()
    assert "the daemon went away" in caplog.text


async def test_a_request_has_an_id_its_own_if_it_is_a_good_one(client_of: ClientOf) -> None:
    client = await client_of([endpoint(fine)])

    for given, kept in (("a.B-1_", True), ("x" * 65, False), ("a b", False), ("", False)):
        async with client.get("/api/it", headers={"X-Request-ID": given}) as answer:
            told = answer.headers["X-Request-ID"]
            assert (told == given) is kept
            assert kept or re.fullmatch("[0-9a-f]{16}", told)


async def test_the_access_log_names_no_secrets(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    client = await client_of([endpoint(fine, "/it/{name}")])
    caplog.set_level(logging.INFO)

    headers = {**as_("viewer"), "Authorization": "Bearer hidden", "Cookie": "a=hidden"}
    async with client.get("/api/it/hidden?token=hidden", headers=headers) as answer:
        assert answer.status == 200
    (written,) = await until(
        lambda: [one for one in caplog.records if one.name == "weir_api.access"]
    )
    line = written.getMessage()
    assert re.fullmatch(r"GET /api/it/\{name\} 200 \d+\.\dms user=viewer id=[0-9a-f]{16}", line), (
        line
    )
    assert "hidden" not in caplog.text


async def test_the_access_log_names_users_as_nobody_can_pose(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    client = await client_of([endpoint(fine)])
    caplog.set_level(logging.INFO)

    await client.get("/api/it", headers=as_("posing"))
    (written,) = await until(
        lambda: [one for one in caplog.records if one.name == "weir_api.access"]
    )
    assert f"user=u-{'0f' * 16} id=" in written.getMessage()


async def test_the_access_log_is_whole_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = make_app(
        Family("test", "Test", "1", (endpoint(fine),), HostAccess(authenticate), DetailDialect()),
        stale_seconds=lambda: 0.0,
        ready=lambda: True,
    )

    async with TestClient(TestServer(app)) as client:
        for _ in range(20):
            await client.get("/api/it")
            await client.get("/healthz")  # leaves no line

    lines = [one for one in caplog.records if one.name == "weir_api.access"]
    assert len(lines) == 20
    assert [one.created for one in lines] == sorted(one.created for one in lines)


async def test_metrics_go_by_route_template(client_of: ClientOf) -> None:
    client = await client_of([endpoint(fine, "/metered/{name}")])

    for name in ("a", "b"):
        async with client.get(f"/api/metered/{name}"):
            pass
    async with client.get("/no/such/path"), client.request("PROPFIND", "/api/metered/a"):
        pass

    def seen(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"family": "test", **labels})

    route = {"method": "GET", "route": "/api/metered/{name}"}
    assert seen("weir_http_requests_total", **route, code="200") == 2
    assert seen("weir_http_request_seconds_count", **route) == 2
    assert seen("weir_http_requests_total", method="GET", route="unknown", code="404")
    assert seen("weir_http_requests_total", method="other", route="unknown", code="405")
    assert seen("weir_http_requests_under_way") == 0


async def test_stale_caches_are_told_on_every_answer(client_of: ClientOf) -> None:
    seconds = [0.0]
    client = await client_of([endpoint(fine)], stale_seconds=lambda: seconds[0])

    for seconds[0], told in ((0.0, None), (0.4, None), (3.9, "3")):
        for path in ("/api/it", "/nowhere"):
            async with client.get(path) as answer:
                assert answer.headers.get("Weir-Stale-Seconds") == told


async def test_an_answer_that_takes_too_long_is_given_up(client_of: ClientOf) -> None:
    async def never(_: Call) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def own_timeout(_: Call) -> web.StreamResponse:
        raise TimeoutError

    hasty = await client_of([endpoint(never)], limits=Limits(request_seconds=0.05))
    client = await client_of([endpoint(own_timeout, "/own")])

    async with hasty.get("/api/it") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]
    async with client.get("/api/own") as answer:
        assert answer.status == 500


async def test_a_stream_may_take_longer(client_of: ClientOf) -> None:
    async def slow(call: Call) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(call.request)
        await asyncio.sleep(0.1)
        await response.write(b"late")
        return response

    client = await client_of([endpoint(slow, streams=True)], limits=Limits(request_seconds=0.05))

    async with client.get("/api/it") as answer:
        assert await answer.read() == b"late"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "weir"


async def test_a_body_that_does_not_come_is_not_waited_for(client_of: ClientOf) -> None:
    from weir_crds.task import TaskSpec

    client = await client_of(
        [endpoint(fine, method="POST", body=Json(TaskSpec))], limits=Limits(body_seconds=0.05)
    )
    url = client._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = "POST /api/it HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 10\r\n\r\n{{".encode())

    line = await asyncio.wait_for(reader.readline(), 60)

    assert line.split()[1] == b"408"
    writer.close()


async def test_unknown_paths_and_wrong_methods(client_of: ClientOf) -> None:
    client = await client_of([endpoint(fine), endpoint(fine, method="POST")])

    for path in ("/", "/api", "/api/none", "/it", "/api/it/more", "/api//it", "/%00"):
        async with client.get(path) as answer:
            assert answer.status == 404, path
            assert list(await answer.json()) == ["detail"]
    async with client.get("/") as answer:
        assert "/docs" in (await answer.json())["detail"]
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
        async with client.request(method, "/api/it") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET, POST"
            assert list(await answer.json()) == ["detail"]
    async with client.head("/api/it") as answer:
        assert answer.status == 405


async def test_a_literal_path_has_its_own_methods_only(client_of: ClientOf) -> None:
    client = await client_of(
        [endpoint(fine, "/them/{name}", method="DELETE"), endpoint(fine, "/them/mine")]
    )

    async with client.delete("/api/them/yours") as answer:
        assert answer.status == 200
    async with client.get("/api/them/mine") as answer:
        assert answer.status == 200
    for method in ("DELETE", "OPTIONS", "HEAD"):
        async with client.request(method, "/api/them/mine") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/it/", "/api/it"),
        ("/api/it//?a=%2F&b", "/api/it?a=%2F&b"),
        ("/api/of/a%20b/", "/api/of/a%20b"),
        ("/api/none/", None),
        ("//evil.example/", None),
        ("/", None),
    ],
)
async def test_slashes_at_the_end_are_sent_away(
    client_of: ClientOf, path: str, target: str | None
) -> None:
    client = await client_of([endpoint(fine), endpoint(fine, "/of/{name}")])
    url = client._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head = (await reader.read()).decode().split("\r\n\r\n")[0].split("\r\n")
    writer.close()

    assert head[0].split()[1] == ("404" if target is None else "307")
    assert (f"Location: {target}" in head) is (target is not None)


async def test_probes(client_of: ClientOf) -> None:
    said: bool | str = "caches are not filled"
    client = await client_of([], ready=lambda: said)

    async with client.get("/healthz") as answer:
        assert answer.status == 200
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (503, "caches are not filled\n")
    said = True
    async with client.get("/readyz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"BREW /api/it HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00",
        b"GET /api/it HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /api/it?" + b"a" * 90_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/\xff\xfe?\xff=\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/it HTTP/1.1\r\nHost: \xff\r\nA: \xff\r\nConnection: close\r\n\r\n",
        b"GET http://x/api/it HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/it HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\nConnection: close\r\n\r\n",
    ],
)
async def test_what_is_hardly_http_is_refused_without_noise(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    client = await client_of([endpoint(fine), endpoint(fine, "/of/{name}")])
    url = client._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(sent)

    line = await asyncio.wait_for(reader.readline(), 60)

    assert 200 <= int(line.split()[1]) < 500, line
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    writer.close()
