"""How one API family words its answers, good and bad: statuses are shared, bodies are not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from aiohttp import web

from weir_crds.errors import WeirError

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value that is JSON already."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returns that has more to say than a value.

    Attributes:
        value: what the dialect encodes.
        status: None: the first that the endpoint declares.
        headers: further ones.
    """

    value: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """The envelope of a family's answers."""

    @property
    def schemas(self) -> Object:
        """Shapes of errors for the OpenAPI document, by name."""
        ...

    def error_schema(self, status: int) -> Object:
        """Return the schema of the error with that status."""
        ...

    def answer_schema(self, schema: Object) -> Object:
        """Return the schema of a good answer, of that of its value."""
        ...

    def success(self, value: Any, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for what a handler returned."""
        ...

    def error(self, error: WeirError, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for one of our errors."""
        ...

    def plain(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for what has no exception of ours: 404, 405, 413, 500."""
        ...

    def handshake(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        """Return the answer to a WebSocket's handshake that is refused with that status."""
        ...


def encode(value: Any) -> bytes:
    """Return a value as JSON; what of a text is no Unicode, say of a header, becomes ``?``."""
    if isinstance(value, Encoded):
        return value.body
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def json_reply(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with a value as JSON."""
    return web.Response(
        body=encode(value), status=status, headers=headers, content_type="application/json"
    )
