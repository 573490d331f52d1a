"""Answers, encoded fast."""

from typing import Any

import orjson
from aiohttp import web


def encode(value: Any) -> bytes:
    """Return a value as JSON."""
    return orjson.dumps(value)


def json_reply(
    value: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Answer with a value as JSON."""
    return raw_json(orjson.dumps(value), status, headers)


def raw_json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with what is JSON already."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
