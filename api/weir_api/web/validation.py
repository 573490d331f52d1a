"""What comes in: how much of it, how long it may take, and what is wrong with it."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from aiohttp import HttpVersion11, web
from pydantic import ValidationError

from weir_api.errors import (
    BodyTooLargeError,
    InvalidRequestError,
    SlowBodyError,
    UnavailableError,
)

Fault = dict[str, Any]
Place = tuple[str | int, ...]
# The way to a member of a value: the way to what holds it, and its name or index there.
_Trail: TypeAlias = "tuple[_Trail, str | int] | None"

# A body of a megabyte can hold half a million faults; nobody reads them, and telling them is work.
_MOST_FAULTS = 50
_LONGEST_INPUT = 200
_SECRET_WORDS = ("password", "secret", "token")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of each request, and of all bodies together."""

    body_bytes: int = 1024 * 1024
    """How large a JSON body may be; a stream has its own limit."""
    body_seconds: float = 10.0
    """How long a client may take to send a JSON body, or pause within a stream."""
    request_seconds: float = 30.0
    """How long an answer may take, unless its endpoint streams."""
    bodies_bytes: int = 64 * 1024 * 1024
    """How much the bodies of known callers may hold together, until they are answered."""
    strangers_bytes: int = 8 * 1024 * 1024
    """The same of callers that nobody knows."""
    peek_bytes: int = 128 * 1024
    """A body that is refused unread is looked at all the same if it is no larger: a connection's
    own buffer holds so much."""
    peek_seconds: float = 1.0


class Reading:
    """One body in memory: what it holds, and whether it can still give way."""

    __slots__ = ("bytes", "gave_way", "timeout")

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.bytes = 0
        self.gave_way = False
        self.timeout: asyncio.Timeout | None = None

    def give_way(self) -> None:
        """Stop waiting for the rest."""
        self.gave_way = True
        if self.timeout is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time())


class BodyBudget:
    """The bytes that bodies hold together. Beyond them the oldest that is not whole gives way.

    So who sends a body at once gets in, however many others only begin one.
    """

    def __init__(self, limit: int) -> None:
        """Allow ``limit`` bytes."""
        self._limit = limit
        self._held = 0
        self._unfinished: OrderedDict[int, Reading] = OrderedDict()

    @property
    def held(self) -> int:
        """How many bytes are held now."""
        return self._held

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Count a body until the block ends."""
        one = Reading()
        try:
            yield one
        finally:
            self._unfinished.pop(id(one), None)
            if not one.gave_way:
                self._held -= one.bytes

    def took(self, one: Reading, count: int) -> None:
        """Count further bytes of a body."""
        if one.gave_way:
            return
        self._unfinished.setdefault(id(one), one)
        one.bytes += count
        self._held += count
        while self._held > self._limit and self._unfinished:
            _, oldest = self._unfinished.popitem(last=False)
            self._held -= oldest.bytes
            oldest.give_way()

    def finished(self, one: Reading) -> None:
        """A body is whole: it stays until it is answered."""
        self._unfinished.pop(id(one), None)


class NoBody:
    """Stands for a body that is empty, or no JSON by its content type."""

    def __init__(self, message: str) -> None:
        """Remember why."""
        self.message = message


EMPTY: Final = NoBody("Field required")
NOT_JSON: Final = NoBody("The content type must be application/json")


def refuse_too_large(request: web.Request, limit: int) -> None:
    """Refuse a request that says itself that its body is too large, whoever would read it.

    Raises:
        BodyTooLargeError: it does.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise BodyTooLargeError(_too_large(limit))


async def not_yet(_request: web.Request) -> None:
    """Say nothing to a client that asks before it sends its body: it may be refused unread."""


async def _invite(request: web.Request) -> None:
    """Have a client send its body, if it has asked (RFC 9110 section 10.1.1)."""
    expects = request.headers.get("Expect", "").lower()
    if expects == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer proper has not begun


async def read_json(
    request: web.Request, limits: Limits, budget: BodyBudget, reading: Reading
) -> tuple[Any, bool]:
    """Return the parsed body, or a NoBody, and whether a string in it may hold a NUL.

    Raises:
        BodyTooLargeError: there is more than may be.
        SlowBodyError: it did not come in time.
        UnavailableError: all bodies together are too much, and this was the oldest.
        InvalidRequestError: it is no JSON.
    """
    if not request.body_exists:
        return EMPTY, False
    raw = await _read(request, limits.body_bytes, limits.body_seconds, budget, reading)
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


async def refuse_broken_json(request: web.Request, limits: Limits, budget: BodyBudget) -> None:
    """Refuse a small body that is no JSON, of a caller who is turned away anyway.

    Clients are told of broken JSON first. What is large or slow is not worth it.

    Raises:
        InvalidRequestError: it is no JSON.
    """
    length = request.content_length
    if length is None or length > limits.peek_bytes:
        return
    small = Limits(body_bytes=limits.peek_bytes, body_seconds=limits.peek_seconds)
    try:
        with budget.reading() as reading:
            await read_json(request, small, budget, reading)
    except (BodyTooLargeError, SlowBodyError, UnavailableError):
        return


async def _read(
    request: web.Request, most: int, seconds: float, budget: BodyBudget, reading: Reading
) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds) as reading.timeout:
            await _invite(request)
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > most:
                    raise BodyTooLargeError(_too_large(most))
                chunks.append(chunk)
                budget.took(reading, len(chunk))
    except TimeoutError:
        if reading.gave_way:
            raise UnavailableError("too many large requests at once; try again") from None
        raise SlowBodyError(f"the body did not come within {seconds:g} seconds") from None
    budget.finished(reading)
    return b"".join(chunks)


class BodyStream:
    """A body that is taken piece by piece, as it comes; nothing of it is kept here."""

    def __init__(self, request: web.Request, limit: int | None, pause_seconds: float) -> None:
        """Read a request's body; ``limit`` in bytes, None: as much as comes."""
        self._request = request
        self._content = request.content
        self._limit = limit
        self._pause_seconds = pause_seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Go through the pieces.

        Raises:
            BodyTooLargeError: there is more than may be.
            SlowBodyError: nothing came for too long.
        """
        size = 0
        await _invite(self._request)
        while chunk := await self._next():
            size += len(chunk)
            if self._limit is not None and size > self._limit:
                raise BodyTooLargeError(_too_large(self._limit))
            yield chunk

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._pause_seconds):
                return await self._content.readany()
        except TimeoutError:
            raise SlowBodyError(f"nothing came for {self._pause_seconds:g} seconds") from None


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )


def _too_large(limit: int) -> str:
    return f"the body may have {limit} bytes at most"


def fault(kind: str, place: Place, message: str, value: Any = None) -> Fault:
    """Return one fault.

    Args:
        kind: what sort of fault, as pydantic names them.
        place: where: ``path``, ``query`` or ``body`` first, then names and indexes.
        message: for people.
        value: what stands there.
    """
    return {"type": kind, "loc": list(place), "msg": message, "input": _shown(value, place)}


def faults_of(error: ValidationError, part: str, *names: str) -> list[Fault]:
    """Return what pydantic found in one part of a request.

    Args:
        error: its finding.
        part: ``path``, ``query`` or ``body``.
        names: what goes before pydantic's own place.
    """
    count = error.error_count()
    if count > _MOST_FAULTS:
        return [fault("too_many_faults", (part, *names), f"{count} faults; it cannot be meant so")]
    return [
        _with_context(
            fault(found["type"], (part, *names, *found["loc"]), found["msg"], found["input"]),
            found.get("ctx"),
        )
        for found in error.errors(include_url=False)
    ]


def nul_fault(value: Any, place: Place) -> Fault | None:
    """Return a string with a NUL in a JSON value, as a fault: nothing here can hold one.

    The work is in proportion to the value, however deep it is: anyone may send one.
    """
    left: list[tuple[Any, _Trail]] = [(value, None)]
    while left:  # a stack of our own: the value may be deep
        one, trail = left.pop()
        if isinstance(one, str):
            if "\0" in one:
                return _nul_fault((*place, *_names(trail)), one)
        elif isinstance(one, dict):
            for name, member in one.items():
                if "\0" in name:
                    return _nul_fault((*place, *_names(trail), name), name)
                left.append((member, (trail, name)))
        elif isinstance(one, list):
            left.extend((member, (trail, index)) for index, member in enumerate(one))
    return None


def _nul_fault(place: Place, text: str) -> Fault:
    return fault("string_nul", place, "Strings must not contain a NUL character", text)


def _names(trail: _Trail) -> Place:
    names: list[str | int] = []
    while trail is not None:
        trail, name = trail
        names.append(name)
    return tuple(reversed(names))


def _with_context(found: Fault, context: dict[str, Any] | None) -> Fault:
    if context:
        found["ctx"] = {
            name: value if isinstance(value, str | int | float | bool) else str(value)
            for name, value in context.items()
        }
    return found


def _shown(value: Any, place: Place) -> Any:
    """Return what of a value goes back: no secret, nothing big."""
    if not isinstance(value, str | int | float | bool):
        return None
    name = str(place[-1]) if place else ""
    if any(word in name for word in _SECRET_WORDS):
        return "***"
    return value[:_LONGEST_INPUT] if isinstance(value, str) else value
