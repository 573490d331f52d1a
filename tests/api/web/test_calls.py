"""What is checked before a handler is called, in which order, and how faults are told."""

from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from support.facade import ClientOf, as_
from weir_api.access.capabilities import Capability
from weir_api.web.endpoint import Answer, Call, Endpoint, Json
from weir_api.web.validation import Limits


class Thing(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    size: Annotated[int, Field(ge=0)] = 1
    tags: Annotated[list[str], Field(max_length=3)] = []
    more: dict[str, list[str]] = {}


class Paging(BaseModel):
    limit: Annotated[int, Field(ge=0, le=10_000)] = 100
    word: str | None = None


async def echo(call: Call) -> dict[str, Any]:
    parts = [one and one.model_dump() for one in (call.query, call.body)]
    return {"path": dict(call.path), "query": parts[0], "body": parts[1]}


def endpoint(path: str = "/things/{number}", **options: Any) -> Endpoint:
    given: dict[str, Any] = {
        "method": "POST",
        "handler": echo,
        "capability": Capability.SUBMIT,
        "summary": "Echo.",
        "tag": "things",
        "answers": {200: Answer("What came.")},
        "body": Json(Thing),
        "query": Paging,
        "params": {"number": int},
    }
    return Endpoint(path=f"/api{path}", **{**given, **options})


async def test_all_parts_come_converted(client_of: ClientOf) -> None:
    client = await client_of([endpoint()])

    async with client.post(
        "/api/things/7?limit=5&limit=6", json={"name": "a", "size": "2", "unknown": 1}
    ) as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "path": {"number": 7},
            "query": {"limit": 6, "word": None},
            "body": {"name": "a", "size": 2, "tags": [], "more": {}},
        }


@pytest.mark.parametrize(
    ("path", "body", "faults"),
    [
        ("7", {}, [("missing", ["body", "name"])]),
        ("7", {"name": "a", "size": 2.5}, [("int_from_float", ["body", "size"])]),
        ("7", {"name": "a", "size": -1}, [("greater_than_equal", ["body", "size"])]),
        ("7", {"name": "a", "tags": ["x"] * 9000}, [("too_long", ["body", "tags"])]),
        ("7", {"name": "a\0"}, [("string_nul", ["body", "name"])]),
        ("7", {"name": "a", "more": {"k": ["", "\0"]}}, [("string_nul", ["body", "more", "k", 1])]),
        ("7", {"name": "a", "\0": 1}, [("string_nul", ["body", "\0"])]),
        ("7", [], [("model_type", ["body"])]),
        ("7", "a", [("model_type", ["body"])]),
        ("x", {"name": "a"}, [("int_parsing", ["path", "number"])]),
        ("%00", {"name": "a"}, [("string_nul", ["path", "number"])]),
        ("7?limit=-1", {"name": "a"}, [("greater_than_equal", ["query", "limit"])]),
        ("7?limit=99999", {"name": "a"}, [("less_than_equal", ["query", "limit"])]),
        ("7?word=%00", {"name": "a"}, [("string_nul", ["query", "word"])]),
        (
            "x?limit=y",
            {"size": []},
            [
                ("int_parsing", ["path", "number"]),
                ("int_parsing", ["query", "limit"]),
                ("missing", ["body", "name"]),
                ("int_type", ["body", "size"]),
            ],
        ),
        (
            "7",
            {"name": "a", "more": {str(n): n for n in range(9999)}},
            [("too_many_faults", ["body"])],
        ),
    ],
)
async def test_faults_of_all_parts_are_told_at_once(
    client_of: ClientOf, path: str, body: Any, faults: list[tuple[str, list[Any]]]
) -> None:
    client = await client_of([endpoint()])

    async with client.post(f"/api/things/{path}", json=body) as answer:
        told = (await answer.json())["detail"]
        assert answer.status == 422
        assert [(one["type"], one["loc"]) for one in told] == faults
        assert all(one.keys() - {"ctx"} == {"type", "loc", "msg", "input"} for one in told)


async def test_backslash_u0000_as_plain_text_is_no_nul(client_of: ClientOf) -> None:
    client = await client_of([endpoint()])

    async with client.post("/api/things/7", json={"name": "\\u0000"}) as answer:
        assert (await answer.json())["body"]["name"] == "\\u0000"


@pytest.mark.parametrize(
    "raw",
    [b"{", b'{"name": "a\x00"}', b'{"name": "\\ud800"}', b'{"name": NaN}', b"\xff", b"[" * 100_000],
)
async def test_broken_json_is_refused_before_anyone_asks_who_calls(
    client_of: ClientOf, raw: bytes
) -> None:
    client = await client_of([endpoint()])

    for caller in ("anonymous", "user"):
        headers = {**as_(caller), "Content-Type": "application/json"}
        async with client.post("/api/things/x", data=raw, headers=headers) as answer:
            told = (await answer.json())["detail"]
            assert answer.status == 422
            assert [one["type"] for one in told] == ["json_invalid"]
            assert told[0]["loc"][0] == "body"


async def test_who_calls_is_asked_before_the_parts_are_looked_at(client_of: ClientOf) -> None:
    client = await client_of([endpoint()])

    for caller, status in (("anonymous", 401), ("viewer", 403), ("away", 503), ("user", 422)):
        async with client.post("/api/things/x", json={}, headers=as_(caller)) as answer:
            assert answer.status == status, caller
            challenge = answer.headers.get("WWW-Authenticate")
            assert challenge == ("Bearer" if status == 401 else None)
            assert ("Retry-After" in answer.headers) == (status == 503)


async def test_what_is_public_needs_no_accounts(client_of: ClientOf) -> None:
    client = await client_of([endpoint(capability=Capability.PUBLIC)])

    async with client.post("/api/things/1", json={"name": "a"}, headers=as_("away")) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
async def test_json_needs_its_content_type(client_of: ClientOf, content_type: str) -> None:
    client = await client_of([endpoint()])
    headers = {"Content-Type": content_type} if content_type else {}

    async with client.post("/api/things/7", data=b'{"name": "a"}', headers=headers) as answer:
        told = (await answer.json())["detail"]
        assert answer.status == 422
        assert (told[0]["type"], told[0]["loc"]) == ("missing", ["body"])


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/x+json"])
async def test_content_types_that_are_json(client_of: ClientOf, content_type: str) -> None:
    client = await client_of([endpoint()])

    async with client.post(
        "/api/things/7", data=b'{"name": "a"}', headers={"Content-Type": content_type}
    ) as answer:
        assert answer.status == 200


async def test_a_body_may_be_left_out_where_it_is_optional(client_of: ClientOf) -> None:
    client = await client_of([endpoint(body=Json(TypeAdapter(Thing | None)))])

    for body, told in ((b"", None), (b"null", None), (b'{"name": "a"}', "a")):
        headers = {"Content-Type": "application/json"}
        async with client.post("/api/things/7", data=body, headers=headers) as answer:
            assert answer.status == 200
            assert ((await answer.json())["body"] or {}).get("name") == told


async def test_too_large_bodies_are_refused_by_every_endpoint(client_of: ClientOf) -> None:
    reads, ignores = endpoint(), endpoint("/ignores", body=None, params={}, query=None)
    client = await client_of([reads, ignores], limits=Limits(body_bytes=1000))
    body = orjson.dumps({"name": "a" * 2_000_000})
    headers = {"Content-Type": "application/json"}

    async def pieces() -> Any:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    for path in ("/api/things/7", "/api/ignores"):
        async with client.post(path, data=body, headers=headers) as answer:
            assert answer.status == 413
            assert "1000 bytes" in (await answer.json())["detail"]
    async with client.post("/api/things/7", data=pieces(), headers=headers) as answer:
        assert answer.status == 413


async def test_a_packed_body_is_not_unpacked(client_of: ClientOf) -> None:
    client = await client_of([endpoint()])
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    async with client.post("/api/things/7", data=b'{"name": "a"}', headers=headers) as answer:
        assert answer.status == 200


async def test_secrets_and_big_things_are_not_sent_back(client_of: ClientOf) -> None:
    class Login(BaseModel):
        password: Annotated[str, Field(min_length=8)]
        note: Annotated[str, Field(max_length=5)]

    client = await client_of([endpoint("/login", body=Json(Login), params={}, query=None)])

    body = {"password": "hidden", "note": "n" * 100_000}
    async with client.post("/api/login", json=body) as answer:
        assert answer.status == 422
        text = await answer.text()
        assert "hidden" not in text
        assert len(text) < 1000
    async with client.post("/api/login", json={"password": "hidden"}) as answer:
        assert "hidden" not in await answer.text()


@pytest.mark.parametrize("digits", ["9" * 30, "-1", "0", "9" * 5000])
async def test_numbers_of_any_length_are_numbers(client_of: ClientOf, digits: str) -> None:
    told = Annotated[int, Field(description="Which one.")]
    client = await client_of(
        [
            endpoint("/n/{number}", method="GET", body=None, query=None),
            endpoint("/of/{number}", method="GET", body=None, query=None, params={"number": told}),
        ]
    )

    for path in ("n", "of"):
        async with client.get(f"/api/{path}/{digits}") as answer:
            assert answer.status == (404 if len(digits) > 20 else 200)


async def test_bounds_of_a_path_parameter_hold(client_of: ClientOf) -> None:
    small = Annotated[int, Field(le=5)]
    client = await client_of(
        [endpoint("/n/{number}", method="GET", body=None, query=None, params={"number": small})]
    )

    for digits, status in (("5", 200), ("6", 422)):
        async with client.get(f"/api/n/{digits}") as answer:
            assert answer.status == status
