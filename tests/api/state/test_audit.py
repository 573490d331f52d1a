"""Who changed what: a line for each change, whoever had it made."""

import asyncio
import logging
from typing import Any

import pytest
from yarl import URL

from support.facade import ClientOf, as_
from support.fake_api import FakeApi
from weir_api.access.capabilities import Capability
from weir_api.state import audit
from weir_api.state.caches import Caches
from weir_api.state.writer import Action, Writer
from weir_api.web.endpoint import Answer, Call, Endpoint, SocketEndpoint
from weir_api.web.sockets import Socket
from weir_crds.kinds import ACCESSTOKEN, TASK, Kind
from weir_kube.errors import ConflictError
from weir_kube.events import Occurrence
from weir_kube.kinds import LEASE
from weir_kube.store import Object

BODY = {"metadata": {"name": "t"}, "spec": {"image": "secret-image", "desiredState": "Running"}}
KILL = Action("Kill", "KillRequested", "kill requested")


@pytest.fixture
def writer() -> Writer:
    api: Any = FakeApi()
    return Writer(api, Caches(api))


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "weir_api.audit"]


async def test_each_change_of_a_request_is_one_line(
    client_of: ClientOf, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def change(_: Call) -> dict[str, Any]:
        task = await writer.create(TASK, BODY, "weir")
        killed = await writer.patch(TASK, task, {"spec": {"desiredState": "Killed"}})
        with pytest.raises(ConflictError):
            await writer.patch(TASK, task, {"spec": {"approval": "Approved"}}, unchanged=True)
        await writer.delete(TASK, killed)
        return {}

    endpoint = Endpoint(
        "POST", "/api/it", change, Capability.READ_HOSTS, "It.", "it", {200: Answer("Done.")}
    )
    client = await client_of([endpoint])
    async with client.post("/api/it", headers=as_("posing") | {"X-Request-ID": "r1"}) as answer:
        assert answer.status == 200

    who = f"caller=u-{'0f' * 16} peer=127.0.0.1"
    assert lines(caplog) == [
        f"{who} verb=create object=Task/weir/t outcome=done fields=- id=r1",
        f"{who} verb=patch object=Task/weir/t outcome=done fields=spec.desiredState=Killed id=r1",
        f"{who} verb=patch object=Task/weir/t outcome=Conflict fields=spec.approval=Approved id=r1",
        f"{who} verb=delete object=Task/weir/t outcome=done fields=- id=r1",
    ]
    assert "secret-image" not in caplog.text


async def test_what_the_facade_does_by_itself_is_its_own(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    task = await writer.create(TASK, BODY, "weir")
    await writer.delete(TASK, task)

    assert [line.split()[0] for line in lines(caplog)] == ["caller=weir-api"] * 2


async def test_signs_of_life_are_nobodys_decision(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    lease = await writer.create(LEASE, {"metadata": {"name": "n1"}, "spec": {}}, "weir-system")
    await writer.patch(LEASE, lease, {"spec": {"renewTime": "now"}})
    token = await writer.create(ACCESSTOKEN, {"metadata": {"name": "a"}, "spec": {}})
    caplog.clear()
    await writer.patch_status(ACCESSTOKEN, token, {"lastUsedAt": "2026-11-22T10:00:00Z"})

    assert lines(caplog) == []


async def test_a_write_that_is_given_up_has_a_line_as_it_may_have_taken_effect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    api: Any = FakeApi()
    taken = asyncio.Event()

    async def create(*_: Any, **__: Any) -> Object:
        taken.set()
        await asyncio.Event().wait()
        raise AssertionError

    api.create = create
    writing = asyncio.create_task(Writer(api, Caches(api)).create(TASK, BODY, "weir"))
    await taken.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    assert [line.split()[2:5] for line in lines(caplog)] == [
        ["verb=create", "object=Task/weir/t", "outcome=Unknown"]
    ]


class Noticed:
    """Takes Events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []
        self.sources: list[str] = []

    def record(self, kind: Kind, obj: Object, occurrence: Occurrence, source: str = "") -> None:
        self.sources.append(source)
        name = f"{kind.kind}/{obj['metadata']['name']}"
        self.events.append((name, occurrence.action, occurrence.reason, occurrence.note))


async def test_what_somebody_does_to_an_object_is_an_event_of_it(client_of: ClientOf) -> None:
    api: Any = FakeApi()
    noticed: Any = Noticed()
    writer = Writer(api, Caches(api), noticed)

    async def change(_: Call) -> dict[str, Any]:
        task = await writer.create(TASK, BODY, "weir")
        killed = await writer.patch(TASK, task, {"spec": {"desiredState": "Killed"}}, action=KILL)
        with pytest.raises(ConflictError):
            await writer.patch(TASK, task, {"spec": {"approval": "A"}}, unchanged=True, action=KILL)
        reject = Action("Reject", "Rejected", "rejected", "too\nlarge")
        changed = await writer.update(TASK, killed, lambda _: {"spec": {"a": "1"}}, action=reject)
        await writer.delete(TASK, changed, action=Action("Delete", "Deleted", "deleted"))
        await writer.delete(TASK, changed, action=Action("Delete", "Deleted", "deleted"))  # is gone
        return {}

    endpoint = Endpoint(
        "POST", "/api/it", change, Capability.READ_HOSTS, "It.", "it", {200: Answer("Done.")}
    )
    client = await client_of([endpoint])
    async with client.post("/api/it", headers=as_("posing")) as answer:
        assert answer.status == 200

    who = f"by u-{'0f' * 16} from 127.0.0.1, over REST"
    assert noticed.events == [
        ("Task/t", "Kill", "KillRequested", f"kill requested {who}"),
        ("Task/t", "Reject", "Rejected", f"rejected {who}: too\nlarge"),
        ("Task/t", "Delete", "Deleted", f"deleted {who}"),
    ]
    assert noticed.sources == [f"u-{'0f' * 16}"] * 3  # takes turns with other callers


async def test_what_the_facade_does_by_itself_says_so() -> None:
    api: Any = FakeApi()
    noticed: Any = Noticed()
    writer = Writer(api, Caches(api), noticed)

    task = await writer.create(TASK, BODY, "weir")
    await writer.patch(TASK, task, {"spec": {"desiredState": "Killed"}}, action=KILL)

    assert noticed.events == [("Task/t", "Kill", "KillRequested", "kill requested by weir-api")]


async def test_who_calls_is_known_in_reads_and_in_sockets_too(client_of: ClientOf) -> None:
    seen: list[audit.Actor] = []

    async def read(_: Call) -> dict[str, Any]:
        seen.append(audit.ACTOR.get())
        return {}

    async def listen(_: Call, socket: Socket) -> None:
        seen.append(audit.ACTOR.get())
        await socket.send("heard")

    it = Endpoint(
        "GET", "/api/it", read, Capability.READ_HOSTS, "It.", "it", {200: Answer("Done.")}
    )
    heard = SocketEndpoint("/api/heard", listen, Capability.READ_HOSTS, "Heard.", "it")
    client = await client_of([it], sockets=[heard])
    headers = as_("viewer") | {"X-Request-ID": "r1"}
    async with client.get("/api/it", headers=headers) as answer:
        assert answer.status == 200
    async with client.ws_connect("/api/heard", headers=headers) as socket:
        assert await socket.receive_str() == "heard"

    assert seen == [audit.Actor("viewer", "127.0.0.1", "r1")] * 2


@pytest.mark.parametrize(
    ("headers", "status", "caller", "outcome"),
    [
        (as_("anonymous"), 401, "_anonymous", "Unauthorized"),
        (as_("viewer"), 403, "viewer", "Forbidden"),
        (as_("admin") | {"Origin": "https://evil.example"}, 403, "-", "Forbidden"),
    ],
)
async def test_who_is_turned_away_leaves_a_line(
    client_of: ClientOf,
    headers: dict[str, str],
    status: int,
    caller: str,
    outcome: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def kill(_: Call) -> dict[str, Any]:
        raise AssertionError("was let in")

    endpoint = Endpoint(
        "POST",
        "/api/kill/{name}",
        kill,
        Capability.CONTROL_TASK,
        "Kill",
        "it",
        {200: Answer("Done.")},
    )
    client = await client_of([endpoint])
    path = URL("/api/kill/a%0Ab?q=secret", encoded=True)
    async with client.post(path, headers=headers | {"X-Request-ID": "r1"}) as answer:
        assert answer.status == status

    assert lines(caplog) == [
        f"caller={caller} peer=127.0.0.1 verb=POST object=/api/kill/a%0Ab outcome={outcome}"
        " fields=- id=r1"
    ]


def test_so_many_refusals_of_one_peer_are_lines_and_the_rest_a_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    few = audit.RateLimitedLines(burst=3, per_second=1.0, clock=lambda: now)

    def refuse(peer: str, times: int) -> list[str]:
        caplog.clear()
        audit.ACTOR.set(audit.Actor("-", peer, "r"))
        for _ in range(times):
            few.note("GET", "/x", "Forbidden")
        return [line.split("fields=")[1].split()[0] for line in lines(caplog)]

    assert refuse("10.0.0.1", 10) == ["-"] * 3
    assert refuse("10.0.0.2", 1) == ["-"]  # one peer hides no other
    assert refuse("fd00::1", 3) + refuse("fd00::2", 3) == ["-"] * 3  # nor has many addresses
    now = 1.0
    assert refuse("10.0.0.1", 2) == ["unlisted:7"]
    now = 100.0
    assert refuse("10.0.0.1", 5) == ["unlisted:1", "-", "-"]


def test_peers_without_number_take_no_memory_without_bound() -> None:
    few = audit.RateLimitedLines(burst=3, per_second=1.0)
    for number in range(20_000):
        audit.ACTOR.set(audit.Actor("-", f"10.1.{number // 250}.{number % 250}", "r"))
        few.note("GET", "/x", "Forbidden")
    assert len(few) <= 4096
