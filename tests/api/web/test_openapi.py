"""The OpenAPI document and its page, made from a few endpoints."""

import re
from typing import Annotated, Any

import jsonschema_rs
import pytest
from aiohttp import web
from pydantic import BaseModel, Field, TypeAdapter
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from support.facade import ClientOf, authenticate
from weir_api.access.capabilities import Capability
from weir_api.hostapi.access import HostAccess
from weir_api.hostapi.dialect import DetailDialect
from weir_api.web.docs_page import page
from weir_api.web.endpoint import TEXT, Answer, Call, Endpoint, Family, Json
from weir_api.web.openapi import document


class Size(BaseModel):
    """How big it is."""

    cores: Annotated[int, Field(ge=0, description="Of the host; 0 is `unlimited`.")] = 1


class Thing(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    size: Size | None = None


class Filter(BaseModel):
    status: str | None = Field(None, description="Only those with it.")
    limit: Annotated[int, Field(ge=0, le=10_000)] = 100


async def never(_: Call) -> web.StreamResponse:
    raise AssertionError


def endpoint(method: str, path: str, **options: Any) -> Endpoint:
    given: dict[str, Any] = {
        "handler": never,
        "capability": Capability.PUBLIC,
        "summary": f"{method} <it>.",
        "tag": "things",
        "answers": {200: Answer("Good.", Thing)},
    }
    return Endpoint(method=method, path=f"/api{path}", **{**given, **options})


ENDPOINTS = (
    endpoint("GET", "/things", answers={200: Answer("All.", list[Thing])}, query=Filter),
    endpoint(
        "POST",
        "/things",
        body=Json(Thing, example={"name": "it's"}),
        capability=Capability.SUBMIT,
        answers={202: Answer("Accepted.", Thing, example={"name": "a"})},
        errors={409: "The name is taken."},
        headers={
            "Idempotency-Key": {"type": "string", "minLength": 1, "description": "The same thing."},
            "X-Other": "Another header.",
        },
        description="One **new** thing.\n\n- a\n- b",
    ),
    endpoint(
        "GET",
        "/things/{number}/output",
        params={"number": Annotated[int, Field(description="Which one.")]},
        answers={200: Answer("What it said.", media_type=TEXT)},
        capability=Capability.READ_OUTPUT,
        tag="output",
        streams=True,
    ),
    endpoint(
        "PATCH", "/things/{name}", body=Json(TypeAdapter(Thing | None)), alias_of="/api/things"
    ),
    endpoint("DELETE", "/things/{name}", answers={204: Answer("Gone.")}),
)


def family(*endpoints: Endpoint) -> Family:
    return Family(
        "test",
        "Things & more",
        "1.2",
        endpoints,
        HostAccess(authenticate),
        DetailDialect(),
        "All about `things`.",
        base="/api",
    )


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return document(family(*ENDPOINTS))


def test_the_document_is_valid(told: dict[str, Any]) -> None:
    OPENAPI_31_VALIDATOR.validate(told)
    for schema in told["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_reference_leads_somewhere(told: dict[str, Any]) -> None:
    for reference in set(re.findall(r"'\$ref': '#/components/(\w+)/([^']+)'", str(told))):
        group, name = reference
        assert name in told["components"][group]


def test_parameters_are_told_with_their_bounds_and_without_null(told: dict[str, Any]) -> None:
    assert told["paths"]["/api/things"]["get"]["parameters"] == [
        {
            "name": "status",
            "in": "query",
            "required": False,
            "description": "Only those with it.",
            "schema": {"type": "string"},
        },
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "schema": {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 100},
        },
    ]
    number = told["paths"]["/api/things/{number}/output"]["get"]["parameters"][0]
    assert number == {
        "name": "number",
        "in": "path",
        "required": True,
        "description": "Which one.",
        "schema": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    }


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/api/things", "200 422"),
        ("post", "/api/things", "202 401 403 408 409 413 422 503"),
        ("get", "/api/things/{number}/output", "200 401 403 404 422 503"),
        ("patch", "/api/things/{name}", "200 403 404 408 413 422 503"),
        ("delete", "/api/things/{name}", "204 403 404 422 503"),
    ],
)
def test_errors_follow_from_what_an_endpoint_takes(
    told: dict[str, Any], method: str, path: str, statuses: str
) -> None:
    responses = told["paths"][path][method]["responses"]

    assert " ".join(responses) == statuses
    assert all(one["description"] for one in responses.values())
    for status in {"401", "503"} & responses.keys():
        assert {"WWW-Authenticate", "Retry-After"} & responses[status]["headers"].keys()


def test_credentials_are_asked_for_where_they_are_needed(told: dict[str, Any]) -> None:
    assert told["paths"]["/api/things"]["get"]["security"] == []
    assert told["paths"]["/api/things"]["post"]["security"] == [{"bearer": []}, {"cookie": []}]
    assert told["components"]["securitySchemes"]["cookie"]["name"] == "kohakuriver_session"


def test_a_body_is_told_with_its_example(told: dict[str, Any]) -> None:
    post = told["paths"]["/api/things"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert content["example"] == {"name": "it's"}
    assert post["requestBody"]["required"] is True
    assert told["paths"]["/api/things/{name}"]["patch"]["requestBody"]["required"] is False
    accepted = post["responses"]["202"]["content"]["application/json"]
    assert accepted["example"] == {"name": "a"}
    assert post["parameters"] == [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same thing.",
            "schema": {"type": "string", "minLength": 1},
        },
        {
            "name": "X-Other",
            "in": "header",
            "description": "Another header.",
            "schema": {"type": "string"},
        },
    ]


class Made(BaseModel):
    id: int


class Found(BaseModel):
    thing_id: str


class Several(BaseModel):
    thing_ids: list[str]


def test_answers_are_linked_to_what_takes_their_ids() -> None:
    taker = endpoint("GET", "/status/{thing_id}", answers={200: Answer("It.", Found)})
    made = {200: Answer("Made.", Made)}
    told = document(
        family(
            taker,
            endpoint("POST", "/things", answers=made),
            endpoint("POST", "/others", answers=made),
            endpoint("POST", "/many", answers={202: Answer("Made.", Several | Made)}),
        )
    )

    def links(method: str, path: str, status: str) -> Any:
        return told["paths"][path][method]["responses"][status].get("links")

    def to_status(value: str) -> Any:
        name = "get_status_thing_id"
        return {name: {"operationId": name, "parameters": {"thing_id": value}}}

    assert links("get", "/api/status/{thing_id}", "200") == to_status("$response.body#/thing_id")
    assert links("post", "/api/things", "200") == to_status("$response.body#/id")
    assert links("post", "/api/others", "200") is None
    assert links("post", "/api/many", "202") == to_status("$response.body#/thing_ids/0")


@pytest.mark.parametrize("capability", list(Capability))
def test_every_capability_is_told_in_words(capability: Capability) -> None:
    assert HostAccess(authenticate).needs(capability).who_may.endswith(".")


def test_the_page_shows_every_endpoint_and_shape(told: dict[str, Any]) -> None:
    shown = page(told)

    for one in ENDPOINTS:
        assert f'<span class="method">{one.method}</span> {one.path}</code>' in shown
    assert "GET &lt;it&gt;." in shown
    assert "Things &amp; more 1.2" in shown
    assert "<b>Who may:</b> The role <code>user</code> and those above it." in shown
    assert 'href="#shape-Size"' in shown
    assert '<section id="shape-Size">' in shown
    assert "default <code>1</code>, ≥ 0" in shown
    assert "curl -H &#x27;Authorization: Bearer &#x27;&quot;$TOKEN&quot;" in shown
    assert "&quot;$HOST/api/things/$NUMBER/output&quot;" in shown
    for anchor in re.findall(r'href="#([^"]+)"', shown):
        assert f'id="{anchor}"' in shown


async def test_both_are_served_to_everyone_and_the_page_needs_nothing_else(
    client_of: ClientOf,
) -> None:
    client = await client_of(ENDPOINTS)

    async with client.get("/openapi.json") as answer:
        assert (await answer.json())["openapi"] == "3.1.0"
    async with client.get("/docs") as answer:
        text = await answer.text()
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"<script|src=|url\(|@import|style=", text)
