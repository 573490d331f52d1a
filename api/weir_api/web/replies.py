"""Answers, encoded fast."""

import json
from typing import Any

import orjson
from aiohttp import web


def encode(value: Any) -> bytes:
    """Return a value as JSON; what of a text is no Unicode, say of a header, becomes ``?``."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def json_reply(
    value: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Answer with a value as JSON."""
    return raw_json(encode(value), status, headers)


def raw_json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with what is JSON already."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
