"""Odd answers of an API server, and writes that are not to be sent any more."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from weir_crds.kinds import HOST
from weir_kube.access import Access, StaticCredentials
from weir_kube.api import Api
from weir_kube.errors import ApiUnavailableError, NotLeadingError, TooManyRequestsError
from weir_kube.lease import LeaseElector

Answer = Callable[[], web.Response]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[tuple[Api, list[str]]]:
    """Yield a client of a server that gives that answer, and the methods that it was asked by."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.method)
        return answer()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        address = f"http://{server.host}:{server.port}"
        async with Api(Access(address, StaticCredentials(None))) as api:
            yield api, asked


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("50", 50.0),
        ("86400", 60.0),
        ("inf", 60.0),
        ("1e400", 60.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 60.0),
        ("Thu, 01 Jan 2099 00:00:00 -0000", 60.0),
        ("nan", TooManyRequestsError.retry_after_seconds),
        ("soon", TooManyRequestsError.retry_after_seconds),
    ],
)
async def test_a_wait_that_the_server_asks_for_has_an_end(header: str, seconds: float) -> None:
    async with answering(lambda: web.Response(status=429, headers={"Retry-After": header})) as (
        api,
        _asked,
    ):
        with pytest.raises(TooManyRequestsError) as put_off:
            await api.patch(HOST, "n1", {}, deadline_seconds=0.5)
        assert put_off.value.retry_after_seconds == seconds


@pytest.mark.parametrize("body", ["null", "[]", '"ok"', "7"])
async def test_an_answer_that_is_no_object_is_no_answer(body: str) -> None:
    """A write that was answered so may have taken effect: nobody may take it for refused."""
    async with answering(lambda: web.Response(text=body)) as (api, _asked):
        with pytest.raises(ApiUnavailableError, match="no object"):
            await api.patch(HOST, "n1", {})


async def test_only_who_may_write_does() -> None:
    is_held = True
    async with answering(lambda: web.json_response({"metadata": {"resourceVersion": "1"}})) as (
        api,
        asked,
    ):
        leading = api.writing_while(lambda: is_held)
        await leading.patch(HOST, "n1", {})
        is_held = False
        await leading.get(HOST, "n1")
        asked.clear()
        with pytest.raises(NotLeadingError):
            await leading.patch(HOST, "n1", {})
        with pytest.raises(NotLeadingError):
            await leading.delete(HOST, "n1")
        with pytest.raises(NotLeadingError):
            await leading.create(HOST, {})
        assert asked == []
        await api.patch(HOST, "n1", {})  # the Lease itself is written so
        assert asked == ["PATCH"]


async def test_a_write_that_was_put_off_is_not_sent_by_who_has_ceased_to_lead() -> None:
    leads = iter([True, False])
    async with answering(lambda: web.Response(status=429, headers={"Retry-After": "0"})) as (
        api,
        asked,
    ):
        with pytest.raises(NotLeadingError):
            await api.writing_while(lambda: next(leads)).patch(HOST, "n1", {})
        assert asked == ["PATCH"]


async def test_a_leader_does_not_lead_after_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asleep, ``time.monotonic`` stands still, and a rival has the Lease meanwhile."""
    slept = 0.0
    clock_gettime = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: clock_gettime(clock) + slept)
    lease = {"metadata": {"resourceVersion": "1"}, "spec": {}}
    async with answering(lambda: web.json_response(lease)) as (api, asked):
        elector = LeaseElector(api, "ns", "leader", "one")
        await asyncio.wait_for(elector.acquire(), 60)
        leading = api.writing_while(lambda: elector.is_held)
        await leading.patch(HOST, "n1", {})
        asked.clear()
        slept = 3600.0
        with pytest.raises(NotLeadingError):
            await leading.patch(HOST, "n1", {})
        assert asked == []
