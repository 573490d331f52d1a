"""What an endpoint is: where it is, who may call it, what it takes and answers.

One declaration, which stands above its handler, serves the router, the check of what comes in, the
capability table's test and the OpenAPI document.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar

from aiohttp import web

from weir_api.web.access import Access
from weir_api.web.dialect import Dialect
from weir_api.web.sockets import Socket

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose caller is known and whose parts have been checked.

    Attributes:
        request: the request itself, for headers and streaming.
        identity: who calls, as the family's Access tells it.
        path: the path's parameters, converted.
        query: an instance of ``Endpoint.query``; None where there is none.
        body: what ``Json.model`` made of the body, or a BodyStream; None where there is none.
    """

    request: web.Request
    identity: Any
    path: Mapping[str, Any]
    query: Any = None
    body: Any = None


Handler = Callable[[Call], Awaitable[Any]]
"""Returns a value for the dialect to encode, a Reply, or a response that is sent already."""

SocketHandler = Callable[[Call, Socket], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON body: a pydantic model or a TypeAdapter of it, and an example for the document.

    ``limit`` in bytes, where it is less than that of all bodies: what strangers send is kept small,
    because it is kept while they wait.
    """

    model: Any
    example: Any = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that the handler takes piece by piece; ``limit`` in bytes, None: no limit."""

    limit: int | None = None
    media_type: str = BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which an endpoint answers.

    ``model`` is a pydantic model, or a type that a TypeAdapter takes (``list[TaskOut]``); None:
    text, or nothing.
    """

    description: str
    model: Any = None
    media_type: str = JSON
    example: Any = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path of a family.

    Attributes:
        method: GET, POST, PUT, PATCH or DELETE.
        path: from the root, with parameters in braces: ``/api/status/{task_id}``.
        handler: called when all is checked.
        capability: what the caller needs; a member of the enum that the family's Access knows.
        summary: one line for people.
        tag: the group that it is shown in.
        answers: by status, the good ones; what a handler returns has the first one. Errors that
            every endpoint can give (401, 403, 422, 503, as far as they apply) are added to the
            document by themselves.
        errors: further error statuses, each with what it means here.
        body: what is taken; None: nothing.
        query: pydantic model of the query parameters.
        params: pydantic type of each path parameter; ``str`` where a name is missing.
        headers: request headers that the handler reads, each with what it means, or with a JSON
            schema that says so; only for the document.
        description: more for people, in Markdown.
        streams: the answer may take long; no time limit for it as a whole.
        alias_of: path of the endpoint that this one is another spelling of.
    """

    method: str
    path: str
    handler: Handler
    capability: Enum
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    errors: Mapping[int, str] = field(default_factory=dict)
    body: Json | Stream | None = None
    query: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    description: str = ""
    streams: bool = False
    alias_of: str | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in their order."""
        return _parameters(self.path)


@dataclass(frozen=True, slots=True)
class SocketEndpoint:
    """A WebSocket on one path of a family.

    Attributes:
        path: from the root, with parameters in braces.
        handler: called with the open socket; when it returns, the socket is closed.
        capability: what the caller needs, at the beginning and for as long as it is open.
        summary: one line for people.
        tag: the group that it belongs to.
        query: pydantic model of the query parameters.
        params: pydantic type of each path parameter.
        authorize: what else must hold of the call, say that the object is the caller's; raises
            FacadeError. Asked before the socket is opened, and again while it is open.
        message_bytes: how large a message of the client may be.
    """

    path: str
    handler: SocketHandler
    capability: Enum
    summary: str
    tag: str
    query: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    authorize: Callable[..., Awaitable[None]] | None = None
    message_bytes: int = 1024 * 1024

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in their order."""
        return _parameters(self.path)


@dataclass(frozen=True, slots=True)
class Family:
    """One API: its endpoints, who may call them, and how it words its answers.

    ``base`` is the path that most endpoints are under; the document's operation ids go without.
    """

    name: str
    title: str
    version: str
    endpoints: tuple[Endpoint, ...]
    access: Access
    dialect: Dialect
    description: str = ""
    sockets: tuple[SocketEndpoint, ...] = ()
    base: str = ""


_DECLARED = "_weir_endpoints"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def endpoint(
    method: str, path: str, capability: Enum, summary: str, **more: Any
) -> Callable[[_Function], _Function]:
    """Declare the method below as an endpoint; ``more`` is as in ``Endpoint``.

    Two declarations above one method make it answer at both paths.
    """

    def declare(function: _Function) -> _Function:
        made = Endpoint(method, path, function, capability, summary, **more)
        setattr(function, _DECLARED, (made, *getattr(function, _DECLARED, ())))
        return function

    return declare


def socket(
    path: str, capability: Enum, summary: str, **more: Any
) -> Callable[[_Function], _Function]:
    """Declare the method below as a WebSocket; ``more`` is as in ``SocketEndpoint``."""

    def declare(function: _Function) -> _Function:
        made = SocketEndpoint(path, function, capability, summary, **more)
        setattr(function, _DECLARED, (made, *getattr(function, _DECLARED, ())))
        return function

    return declare


def endpoints_of(group: object) -> tuple[Endpoint, ...]:
    """Return what the methods of a group are declared as, from top to bottom."""
    return tuple(one for one in _declared(group) if isinstance(one, Endpoint))


def sockets_of(group: object) -> tuple[SocketEndpoint, ...]:
    """Return the WebSockets that the methods of a group are declared as."""
    return tuple(one for one in _declared(group) if isinstance(one, SocketEndpoint))


def _declared(group: object) -> list[Endpoint | SocketEndpoint]:
    return [
        _bound(one, group, name)
        for name, function in vars(type(group)).items()
        for one in getattr(function, _DECLARED, ())
    ]


def _bound(
    declared: Endpoint | SocketEndpoint, group: object, name: str
) -> Endpoint | SocketEndpoint:
    """Return a declaration with methods of an object in the place of the class's functions."""
    bound = replace(declared, handler=getattr(group, name))
    if isinstance(bound, SocketEndpoint) and bound.authorize is not None:
        return replace(bound, authorize=getattr(group, bound.authorize.__name__))
    return bound


def _parameters(path: str) -> tuple[str, ...]:
    return tuple(re.findall(r"{(\w+)}", path))
