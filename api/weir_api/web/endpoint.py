"""What an endpoint is: where it is, who may call it, what it takes and answers.

One declaration serves the router, the check of what comes in, the capability table's test and the
OpenAPI document.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from weir_api.access.capabilities import Capability
from weir_api.access.identity import Identity

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose caller is known and whose parts have been checked.

    Attributes:
        request: the request itself, for headers and streaming.
        identity: who calls.
        path: the path's parameters, converted.
        query: an instance of ``Endpoint.query``; None where there is none.
        body: what ``Endpoint.body`` made of the body; None where there is none.
    """

    request: web.Request
    identity: Identity
    path: Mapping[str, Any]
    query: Any = None
    body: Any = None


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


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
        path: below the family's prefix, with parameters in braces: ``/status/{task_id}``.
        handler: called when all is checked.
        capability: what the caller needs.
        summary: one line for people.
        tag: the group that it is shown in.
        answers: by status; the good ones. Errors that every endpoint can give (401, 403, 422,
            503, as far as they apply) are added to the document by themselves.
        errors: further error statuses, each with what it means here.
        body: pydantic model of the JSON body, or a TypeAdapter.
        body_example: shown in the document.
        query: pydantic model of the query parameters.
        params: pydantic type of each path parameter; ``str`` where a name is missing.
        headers: request headers that the handler reads, each with what it means, or with a JSON
            schema that says so; only told.
        description: more for people, in Markdown.
        streams: the answer may take long; no time limit for it as a whole.
        alias_of: path of the endpoint that this one is another spelling of.
    """

    method: str
    path: str
    handler: Handler
    capability: Capability
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    errors: Mapping[int, str] = field(default_factory=dict)
    body: type[BaseModel] | TypeAdapter[Any] | None = None
    body_example: Any = None
    query: type[BaseModel] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    description: str = ""
    streams: bool = False
    alias_of: str | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in their order."""
        return tuple(re.findall(r"{(\w+)}", self.path))


@dataclass(frozen=True, slots=True)
class Family:
    """The endpoints of one API, under one prefix, with one dialect."""

    name: str
    title: str
    version: str
    prefix: str
    endpoints: tuple[Endpoint, ...]
    description: str = ""
