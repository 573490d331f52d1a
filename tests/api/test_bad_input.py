"""Whatever is sent to whichever endpoint: a documented answer, nothing made, no traceback."""

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from support.facade_process import Reply
from support.small_world import SmallWorld

JSON = {"Content-Type": "application/json"}
ODD = "\U0001f600é\u202e\ufeff\u0001'\"\\<script>%s{}\r\n\t"
BROKEN = (b"", b"{", b"nonsense", b'{"a": 1', b"\xff\xfe", b"[" * 5000, b'{"a": "\\ud800"}')
WRONG = (None, True, 0, -1, 2.5, 1e300, 2**63, "", "x", [], {}, [[]], {"a": 1}, [None] * 10_000)
NO_NUMBERS = ("abc", "1.5", "1e3", "0x10", "", " ", "é", "%00", "../x", "null", "{}", "\u0661")
NUMBERS = ("0", "-1", "9" * 19, "9" * 30, "9" * 5000)
TOO_BIG = json.dumps({"command": "x" * 2_000_000, "username": "x" * 2_000_000}).encode()
# What strangers may send is kept small.
STRANGERS = ("/api/auth/login", "/api/auth/register")
STRANGERS_BYTES = 16 * 1024


@dataclass(frozen=True)
class Operation:
    """One of the endpoints, as the document tells it."""

    method: str
    path: str
    told: dict[str, Any]

    @property
    def body(self) -> dict[str, Any] | None:
        """Return the body's schema."""
        body = self.told.get("requestBody")
        return body["content"]["application/json"]["schema"] if body else None

    def parameters(self, place: str) -> list[dict[str, Any]]:
        """Return the parameters in a path or a query."""
        return [one for one in self.told.get("parameters", ()) if one["in"] == place]

    def url(self, **values: str) -> str:
        """Return the path with values in the place of parameters, else with an id of nothing."""
        return re.sub(r"{(\w+)}", lambda name: values.get(name[1], "1"), self.path)


class Sender:
    """Sends, and holds every answer against the document."""

    def __init__(self, world: SmallWorld) -> None:
        self.world = world
        self.document = json.loads(world.facade.request("GET", "/openapi.json").body)
        self.operations = [
            Operation(method.upper(), path, told)
            for path, methods in self.document["paths"].items()
            for method, told in methods.items()
        ]
        self.statuses: set[int] = set()

    def send(self, operation: Operation, path: str, body: Any = None, headers: Any = None) -> Reply:
        """Send a request as an administrator; its answer must be a documented one."""
        reply = self.world.request(operation.method, path, body, headers)
        what = (operation.method, path[:100], str(body)[:100], reply.status, reply.body[:300])
        documented = set(operation.told["responses"])
        elsewhere = path.partition("?")[0].count("/") != operation.path.count("/")
        if not elsewhere and reply.status not in (307, 413):
            assert str(reply.status) in documented, what
        assert reply.status != 500, what
        assert b"Traceback" not in reply.body, what
        if reply.status >= 400:
            assert list(reply.json()) == ["detail"], what
        self.statuses.add(reply.status)
        return reply

    def refuse(self, operation: Operation, path: str, body: Any, status: int) -> None:
        """Send a request that must be refused with that status."""
        reply = self.send(operation, path, body, JSON)
        assert reply.status == status, (operation.method, path[:100], str(body)[:100], reply)

    def refuse_wrong(self, operation: Operation, value: Any) -> None:
        """Send a body that is JSON, but not what is wanted."""
        body = json.dumps(value).encode()
        too_large = operation.path in STRANGERS and len(body) > STRANGERS_BYTES
        self.refuse(operation, operation.url(), body, 413 if too_large else 422)


@pytest.fixture
def sender(small_world: SmallWorld) -> Iterator[Sender]:
    """Whatever a test sends: the process lives on, and its log tells of no failure of ours."""
    pid = small_world.facade.process.pid
    told = len(small_world.facade.log())
    yield Sender(small_world)
    assert small_world.facade.process.pid == pid
    assert small_world.facade.process.running()
    log = small_world.facade.log()[told:]
    assert "Traceback" not in log
    assert "ERROR" not in log


@pytest.fixture
def nothing_made(small_world: SmallWorld) -> Iterator[None]:
    """Nothing is made or deleted by the test."""
    before = small_world.objects()
    yield
    assert small_world.objects() == before


@pytest.mark.usefixtures("nothing_made")
def test_bodies_that_are_no_json(sender: Sender) -> None:
    for operation in sender.operations:
        if operation.body is None:
            continue
        for raw in BROKEN:
            sender.refuse(operation, operation.url(), raw, 422)
        for content_type in ("text/plain", "multipart/form-data; boundary=x", "é", ""):
            headers = {"Content-Type": content_type.encode().decode("latin-1")}
            reply = sender.send(operation, operation.url(), b"{}", headers)
            assert reply.status == 422


@pytest.mark.usefixtures("nothing_made")
def test_bodies_that_are_too_large(sender: Sender) -> None:
    for operation in sender.operations:
        if operation.method != "GET":
            assert sender.send(operation, operation.url(), TOO_BIG, JSON).status == 413


@pytest.mark.usefixtures("nothing_made")
def test_fields_of_a_wrong_type(sender: Sender) -> None:
    """Each value in the place of the whole body, then of each field of an example."""
    for operation in sender.operations:
        if operation.body is None:
            continue
        for value in WRONG:
            if not isinstance(value, dict):
                sender.refuse_wrong(operation, value)
        for name, schema in properties(sender.document, operation.body).items():
            for value in (*WRONG, ODD + "\0", [ODD, "\0"], {ODD: "\0"}, {"\0": ODD}):
                if fits(sender.document, schema, value):
                    continue
                sender.refuse_wrong(operation, {**example(operation), name: value})


@pytest.mark.usefixtures("nothing_made")
def test_nul_in_every_string(sender: Sender) -> None:
    for operation in sender.operations:
        for parameter in (*operation.parameters("path"), *operation.parameters("query")):
            name = parameter["name"]
            in_path = parameter["in"] == "path"
            url = operation.url(**{name: "a%00b"}) if in_path else f"{operation.url()}?{name}=%00"
            body = json.dumps(example(operation)).encode() if operation.body else None
            sender.refuse(operation, url, body, 422)
        if operation.body is None:
            continue
        for name in properties(sender.document, operation.body):
            for value in ("\0", ["\0"], {"\0": "x"}, {"x": "\0"}, [["\0"]]):
                body = json.dumps({**example(operation), name: value, "other": "fine"}).encode()
                sender.refuse(operation, operation.url(), body, 422)
        unknown = {**example(operation), "nobody": {"knows": ["\0"]}}
        sender.refuse(operation, operation.url(), json.dumps(unknown).encode(), 422)


@pytest.mark.usefixtures("nothing_made")
def test_ids_of_nothing_and_ids_that_are_no_numbers(sender: Sender) -> None:
    for operation in sender.operations:
        body = json.dumps(example(operation)).encode() if operation.body else None
        for parameter in operation.parameters("path"):
            if parameter["schema"].get("type") != "integer":
                continue
            name = parameter["name"]
            others = {"command": "pause"}
            for text in NO_NUMBERS:
                url = operation.url(**others, **{name: quote(text, safe="%")})
                reply = sender.send(operation, url, body, JSON if body else None)
                assert reply.status in (307, 404, 405, 422), (url, reply)
            for digits in NUMBERS:
                url = operation.url(**others, **{name: digits})
                reply = sender.send(operation, url, body, JSON if body else None)
                assert reply.status == 404, (url, reply)


@pytest.mark.usefixtures("nothing_made")
def test_queries_that_cannot_be(sender: Sender) -> None:
    for operation in sender.operations:
        if operation.method != "GET":
            continue
        for parameter in operation.parameters("query"):
            name, schema = parameter["name"], parameter["schema"]
            if schema.get("type") != "integer":
                for text in ("", quote(ODD), "x" * 5000, "%ff", "%ed%a0%80", "&", "=", "%"):
                    sender.send(operation, f"{operation.url()}?{name}={text}")
                continue
            for text in ("-1", "abc", "", "1.5", "NaN", "null", quote(ODD), "9" * 5000):
                sender.refuse(operation, f"{operation.url()}?{name}={text}", None, 422)
            for text in ("-1", "10001", "2147483648", "9" * 19, "9" * 30):
                reply = sender.send(operation, f"{operation.url()}?{name}={text}")
                assert reply.status in (200, 404, 422), (operation.path, name, text, reply)
            if name == "limit":
                sender.refuse(operation, f"{operation.url()}?limit=-1", None, 422)
                sender.refuse(operation, f"{operation.url()}?limit=10001", None, 422)


@pytest.mark.usefixtures("nothing_made")
def test_ten_thousand_targets(sender: Sender) -> None:
    (submit,) = [one for one in sender.operations if one.path == "/api/submit"]

    for targets in (["small"] * 10_000, ["small"] * 257, ["x" * 1000] * 900):
        sender.refuse(submit, submit.path, {"command": "true", "targets": targets}, 422)


def test_odd_characters_are_taken_or_refused(sender: Sender) -> None:
    for operation in sender.operations:
        if operation.body is None:
            continue
        for name in properties(sender.document, operation.body):
            for value in (ODD, "", " ", "x" * 3000, [ODD], [[ODD]], {ODD: ODD}, [""], {"": ""}):
                sender.send(operation, operation.url(), {**example(operation), name: value})


def test_headers_that_are_hardly_any(sender: Sender) -> None:
    """Bytes that are no UTF-8, empty ones, long ones; in those that somebody reads."""
    names = ("Authorization", "Cookie", "X-Admin-Token", "Idempotency-Key", "X-Request-ID")
    names = (*names, "Content-Length", "Host", "Sec-Fetch-Site", "Origin")
    values = (b"", b"\xff\xfe", b"Bearer", b"Bearer \xff", b"kohakuriver_session=\xff", b"x" * 9000)
    values = (*values, b"kohakuriver_session=" + b"0" * 64, b"Bearer " + b"0" * 64, b";=;,")
    address = urlsplit(sender.world.facade.url)
    for name in names:
        for value in values:
            for method, path, body in (
                ("GET", "/api/tasks", None),
                ("POST", "/api/submit", b'{"command": "true", "required_cores": 999}'),
                ("POST", "/api/auth/invitations", b"{}"),
                ("POST", "/api/auth/logout", None),
            ):
                connection = http.client.HTTPConnection(
                    address.hostname or "", address.port, timeout=60
                )
                connection.putrequest(method, path, skip_host=name == "Host")
                if name != "Authorization":
                    connection.putheader("Authorization", f"Bearer {sender.world.token}")
                if body is not None:
                    connection.putheader("Content-Type", "application/json")
                    if name != "Content-Length":
                        connection.putheader("Content-Length", str(len(body)))
                connection._buffer.append(name.encode() + b": " + value)  # type: ignore[attr-defined]
                connection.endheaders(body)
                answer = connection.getresponse()
                assert answer.status < 500 or answer.status == 503, (name, value, path)
                connection.close()


def example(operation: Operation) -> dict[str, Any]:
    """Return a body that an operation could take."""
    content = operation.told["requestBody"]["content"]["application/json"]
    found: dict[str, Any] = content.get("example", {})
    return found


def properties(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a body."""
    found: dict[str, Any] = resolved(document, schema).get("properties", {})
    return found


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference stands for."""
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return found
    return schema


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """Tell whether a value may be taken: it has the type, or is turned into it."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        return any(fits(document, one, value) for one in schema["anyOf"])
    match schema.get("type"):
        case None:
            return True
        case "null":
            return value is None
        case "string":
            if schema.get("format") == "date-time" and isinstance(value, int | float):
                return True  # seconds since the epoch
            return isinstance(value, str) and "\0" not in value
        case "integer" | "number" | "boolean":
            # Numbers may come as text and as truth values, and the other way round.
            return isinstance(value, bool | int | float)
        case "array":
            return value == [] or (isinstance(value, list) and value in ([[]],))
        case "object":
            return value in ({}, {"a": 1})
    return False
