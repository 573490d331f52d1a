"""From a request to a Call: who calls, whether it may, and whether all parts are as they must be.

What can be worked out from the declaration alone is worked out once, when the application is made.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aiohttp import WSCloseCode, web
from pydantic import TypeAdapter, ValidationError

from weir_api.errors import FacadeError, InvalidRequestError, UnavailableError, UnknownObjectError
from weir_api.state import audit
from weir_api.web.access import Access
from weir_api.web.dialect import Dialect, Reply
from weir_api.web.endpoint import Call, Endpoint, Json, SocketEndpoint, Stream
from weir_api.web.origin import Origins
from weir_api.web.sockets import OpenSockets, Socket
from weir_api.web.validation import (
    BodyBudget,
    BodyStream,
    Fault,
    Limits,
    NoBody,
    fault,
    faults_of,
    nul_fault,
    read_json,
    refuse_broken_json,
    refuse_too_large,
)
from weir_crds.errors import WeirError

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)
"""The request's id: the client's own, if it is a good one, else one of ours."""

CALLER: web.RequestKey[Any] = web.RequestKey("caller", object)
"""Who sent the request, once that is known."""

# No id has more than 64 bits.
_BEYOND = 2**64
_TOO_LONG = "there is no {} with so many digits"
_NO_PATH: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Gate:
    """What all endpoints of a family have in common on the way in.

    Attributes:
        access: who calls, and what they may.
        dialect: how answers are worded.
        origins: which pages may call.
        limits: what one request may take.
        recheck_seconds: how often it is asked again whether an open socket may stay.
    """

    access: Access
    dialect: Dialect
    origins: Origins = field(default_factory=Origins)
    limits: Limits = field(default_factory=Limits)
    recheck_seconds: float = 30.0
    known: BodyBudget = field(init=False)
    strangers: BodyBudget = field(init=False)
    sockets: OpenSockets = field(default_factory=OpenSockets)

    def __post_init__(self) -> None:
        """Make the budgets."""
        object.__setattr__(self, "known", BodyBudget(self.limits.bodies_bytes))
        object.__setattr__(self, "strangers", BodyBudget(self.limits.strangers_bytes))


class _Declared(Protocol):
    """What endpoints and sockets have in common."""

    @property
    def capability(self) -> Any: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def query(self) -> Any: ...


def serve(endpoint: Endpoint, gate: Gate) -> WebHandler:
    """Return an endpoint as a handler that checks, in this order: where the request comes from,
    its size, who calls and what it may, the body, path and query and body together; then the
    endpoint's own handler.

    Broken JSON is told before a refusal of the caller, as far as it costs little to see.
    """
    caller_of = _caller_of(endpoint, gate)
    limits, dialect, handler = _limits_of(endpoint, gate), gate.dialect, endpoint.handler
    parts_of = _parts_reader(endpoint)
    body_of = _body_reader(endpoint.body) if isinstance(endpoint.body, Json) else None
    stream = endpoint.body if isinstance(endpoint.body, Stream) else None
    largest = limits.body_bytes if stream is None else stream.limit
    status = next(iter(endpoint.answers), 200)

    async def handle(request: web.Request) -> web.StreamResponse:
        gate.origins.check(request)
        if largest is not None:
            refuse_too_large(request, largest)
        if body_of is None:
            caller = await caller_of(request)
            path, query = parts_of(request)
            body = None
            if stream is not None:
                body = BodyStream(request, stream.limit, limits.body_seconds)
            return answer(await handler(Call(request, caller, path, query, body)))
        try:
            caller = await caller_of(request)
        except FacadeError:
            await refuse_broken_json(request, limits, gate.strangers)
            raise
        budget = gate.strangers if caller == gate.access.anonymous else gate.known
        with budget.reading() as reading:
            parsed, suspicious = await read_json(request, limits, budget, reading)
            faults: list[Fault] = []
            path, query = parts_of(request, faults)
            body = body_of(parsed, suspicious, faults)
            if faults:
                raise InvalidRequestError(faults)
            return answer(await handler(Call(request, caller, path, query, body)))

    def answer(value: Any) -> web.StreamResponse:
        if isinstance(value, web.StreamResponse):
            return value
        if isinstance(value, Reply):
            return dialect.success(value.value, value.status or status, value.headers)
        return dialect.success(value, status, _NO_PATH)

    streams = endpoint.streams or stream is not None
    return handle if streams else _within(limits.request_seconds, handle)


def _limits_of(endpoint: Endpoint, gate: Gate) -> Limits:
    limits, body = gate.limits, endpoint.body
    if not isinstance(body, Json) or body.limit is None:
        return limits
    return replace(limits, body_bytes=min(limits.body_bytes, body.limit))


def serve_socket(endpoint: SocketEndpoint, gate: Gate) -> WebHandler:
    """Return a WebSocket as a handler: all that refuses it does so in the handshake."""
    caller_of = _caller_of(endpoint, gate)
    parts_of = _parts_reader(endpoint)

    async def checked(request: web.Request) -> Call:
        gate.origins.check(request)
        caller = await caller_of(request)
        path, query = parts_of(request)
        call = Call(request, caller, path, query)
        if endpoint.authorize is not None:
            await endpoint.authorize(call)
        return call

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = Socket(endpoint.message_bytes)
        if not socket.response.can_prepare(request):
            return gate.dialect.plain(
                426, "this is a WebSocket", {"Upgrade": "websocket", "Connection": "Upgrade"}
            )
        call = await checked(request)
        await socket.open(request)
        gate.sockets.add(socket)
        try:
            async with socket.handled(lambda: checked(request), gate.recheck_seconds):
                await endpoint.handler(call, socket)
            await socket.close(WSCloseCode.OK, "")
        except ConnectionError:
            pass  # the client has left
        except WeirError as exc:
            await socket.close(WSCloseCode.INTERNAL_ERROR, str(exc))
        except Exception:
            await socket.close(WSCloseCode.INTERNAL_ERROR, "internal error")
            raise
        finally:
            gate.sockets.discard(socket)
        return socket.response

    return handle


def _caller_of(declared: _Declared, gate: Gate) -> Callable[[web.Request], Awaitable[Any]]:
    """Return what tells who calls, and refuses who may not."""
    access, capability = gate.access, declared.capability
    public = access.is_public(capability)

    async def caller_of(request: web.Request) -> Any:
        try:
            caller = await access.authenticate(request)
        except UnavailableError:
            if not public:
                raise
            caller = access.anonymous  # who calls does not matter
        request[CALLER] = caller
        audit.ACTOR.set(replace(audit.ACTOR.get(), caller=access.name_of(caller)))
        access.check(caller, capability)
        return caller

    return caller_of


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


def _parts_reader(declared: _Declared) -> Callable[..., tuple[Mapping[str, Any], Any]]:
    """Return what reads path and query; without a list to add faults to, it raises them."""
    path_of, query_of = _path_reader(declared), _query_reader(declared)

    def read(
        request: web.Request, into: list[Fault] | None = None
    ) -> tuple[Mapping[str, Any], Any]:
        faults: list[Fault] = [] if into is None else into
        path = path_of(request, faults) if path_of is not None else _NO_PATH
        query = query_of(request, faults) if query_of is not None else None
        if faults and into is None:
            raise InvalidRequestError(faults)
        return path, query

    return read


def _path_reader(
    endpoint: _Declared,
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
    schema = adapter.json_schema()
    is_number = schema.get("type") == "integer"
    is_any_number = is_number and schema.keys() <= {"type", "title", "description"}

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


def _query_reader(endpoint: _Declared) -> Callable[[web.Request, list[Fault]], Any] | None:
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


def _body_reader(wanted: Json) -> Callable[[Any, bool, list[Fault]], Any]:
    model = wanted.model
    adapter: TypeAdapter[Any] = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
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
