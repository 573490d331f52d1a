"""From a request to a Call: who calls, whether it may, and whether all parts are as they must be.

What can be worked out from the declaration alone is worked out once, when the application is made.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from weir_api.access.capabilities import Capability, check
from weir_api.access.identity import ANONYMOUS, Identity
from weir_api.errors import InvalidRequestError, UnavailableError, UnknownObjectError
from weir_api.web.bodies import NoBody, read_json, refuse_too_large
from weir_api.web.endpoint import Call, Endpoint
from weir_api.web.faults import Fault, fault, faults_of, nul_fault
from weir_api.web.limits import Limits

Authenticate = Callable[[web.Request], Awaitable[Identity]]
"""Tells who sends a request; AccessDeniedError for one that must not be served at all."""

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CALLER = web.RequestKey("caller", Identity)
"""Who sent the request, once that is known."""

# No id has more than 64 bits.
_BEYOND = 2**64
_TOO_LONG = "there is no {} with so many digits"
_NO_PATH: Mapping[str, Any] = {}


def serve(endpoint: Endpoint, authenticate: Authenticate, limits: Limits) -> WebHandler:
    """Return an endpoint as a handler that checks, in this order: that the body can be parsed, who
    calls and what it may, path and query and body together; then the endpoint's own handler.
    """
    path_of = _path_reader(endpoint)
    query_of = _query_reader(endpoint)
    body_of = _body_reader(endpoint)
    capability, handler = endpoint.capability, endpoint.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        refuse_too_large(request, limits)
        parsed: Any = None
        suspicious = False
        if body_of is not None:
            parsed, suspicious = await read_json(request, limits)
        try:
            identity = await authenticate(request)
        except UnavailableError:
            if capability is not Capability.PUBLIC:
                raise
            identity = ANONYMOUS  # who calls does not matter
        request[CALLER] = identity
        check(identity, capability)
        faults: list[Fault] = []
        path = path_of(request, faults) if path_of is not None else _NO_PATH
        query = query_of(request, faults) if query_of is not None else None
        body = body_of(parsed, suspicious, faults) if body_of is not None else None
        if faults:
            raise InvalidRequestError(faults)
        return await handler(Call(request, identity, path, query, body))

    return handle if endpoint.streams else _within(limits.request_seconds, handle)


def _within(seconds: float, handle: WebHandler) -> WebHandler:
    async def timed(request: web.Request) -> web.StreamResponse:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await handle(request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise UnavailableError(f"not done within {seconds:g} seconds") from None

    return timed


def _path_reader(
    endpoint: Endpoint,
) -> Callable[[web.Request, list[Fault]], Mapping[str, Any]] | None:
    names = endpoint.parameters
    if not names:
        return None
    readers = {name: _text_reader(name, endpoint.params.get(name, str)) for name in names}

    def read(request: web.Request, faults: list[Fault]) -> Mapping[str, Any]:
        values = request.match_info
        return {name: of(values[name], faults) for name, of in readers.items()}

    return read


def _text_reader(name: str, kind: Any) -> Callable[[str, list[Fault]], Any]:
    adapter = TypeAdapter(kind)
    told = adapter.json_schema()
    is_number = told.get("type") == "integer"
    is_any_number = is_number and told.keys() <= {"type", "title", "description"}

    def read(text: str, faults: list[Fault]) -> Any:
        if is_any_number and len(text) < 19 and text.isascii() and text.isdigit():
            return int(text)
        if "\0" in text:
            faults.append(nul_fault(text, ("path", name)) or {})
            return None
        try:
            value = adapter.validate_python(text)
        except ValidationError as exc:
            if any(found["type"] == "int_parsing_size" for found in exc.errors()):
                raise UnknownObjectError(_TOO_LONG.format(name)) from None
            faults.extend(faults_of(exc, "path", name))
            return None
        if is_number and not -_BEYOND < value < _BEYOND:
            raise UnknownObjectError(_TOO_LONG.format(name))
        return value

    return read


def _query_reader(endpoint: Endpoint) -> Callable[[web.Request, list[Fault]], Any] | None:
    model = endpoint.query
    if model is None:
        return None
    try:
        absent = model.model_validate({})
    except ValidationError:
        absent = None

    def read(request: web.Request, faults: list[Fault]) -> Any:
        if absent is not None and not request.rel_url.raw_query_string:
            return absent
        values = dict(request.query.items())  # of a name that comes twice the last counts
        return _checked("query", values, model.model_validate, faults)

    return read


def _body_reader(endpoint: Endpoint) -> Callable[[Any, bool, list[Fault]], Any] | None:
    wanted = endpoint.body
    if wanted is None:
        return None
    adapter: TypeAdapter[Any] = wanted if isinstance(wanted, TypeAdapter) else TypeAdapter(wanted)
    optional = _takes_none(adapter)

    def read(parsed: Any, suspicious: bool, faults: list[Fault]) -> Any:
        if isinstance(parsed, NoBody):
            if not optional:
                faults.append(fault("missing", ("body",), parsed.message))
            return None
        return _checked("body", parsed, adapter.validate_python, faults, may_hold_nul=suspicious)

    return read


def _checked(
    part: str,
    value: Any,
    validate: Callable[[Any], Any],
    faults: list[Fault],
    *,
    may_hold_nul: bool = True,
) -> Any:
    """Return what ``validate`` makes of a part of a request; None: ``faults`` tell why not."""
    found = nul_fault(value, (part,)) if may_hold_nul else None
    if found is not None:
        faults.append(found)
        return None
    try:
        return validate(value)
    except ValidationError as exc:
        faults.extend(faults_of(exc, part))
        return None


def _takes_none(adapter: TypeAdapter[Any]) -> bool:
    try:
        adapter.validate_python(None)
    except ValidationError:
        return False
    return True
