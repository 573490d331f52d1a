"""Reading a request's JSON: how much, how long, and what it is."""

import asyncio
from typing import Any, Final

import orjson
from aiohttp import web

from weir_api.errors import BodyTooLargeError, InvalidRequestError, SlowBodyError
from weir_api.web.faults import fault
from weir_api.web.limits import Limits


class NoBody:
    """Stands for a body that is empty, or no JSON by its content type."""

    def __init__(self, message: str) -> None:
        """Remember why."""
        self.message = message


EMPTY: Final = NoBody("Field required")
NOT_JSON: Final = NoBody("The content type must be application/json")


def refuse_too_large(request: web.Request, limits: Limits) -> None:
    """Refuse a request that says itself that its body is too large, whoever would read it.

    Raises:
        BodyTooLargeError: it does.
    """
    length = request.content_length
    if length is not None and length > limits.body_bytes:
        raise BodyTooLargeError(_too_large(limits))


async def read_json(request: web.Request, limits: Limits) -> tuple[Any, bool]:
    """Return the parsed body, or a NoBody, and whether a string in it may hold a NUL.

    Raises:
        BodyTooLargeError: there is more than may be.
        SlowBodyError: it did not come in time.
        InvalidRequestError: it is no JSON.
    """
    if not request.body_exists:
        return EMPTY, False
    try:
        async with asyncio.timeout(limits.body_seconds):
            raw = await request.read()
    except TimeoutError:
        raise SlowBodyError(
            f"the body did not come within {limits.body_seconds:g} seconds"
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLargeError(_too_large(limits)) from None
    if not raw:
        return EMPTY, False
    if not _is_json(request.content_type):
        return NOT_JSON, False
    try:
        # A NUL can only come as an escape: raw ones are no JSON.
        return orjson.loads(raw), b"\\u0000" in raw
    except orjson.JSONDecodeError as exc:
        broken = fault("json_invalid", ("body", exc.pos), "JSON decode error")
        raise InvalidRequestError([{**broken, "input": {}, "ctx": {"error": exc.msg}}]) from None


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )


def _too_large(limits: Limits) -> str:
    return f"the body may have {limits.body_bytes} bytes at most"
