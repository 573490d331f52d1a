"""The OpenAPI 3.1 document of a family, made from its endpoints: what is declared is what is told.

https://spec.openapis.org/oas/v3.1.1.html
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from weir_api.web.access import Access
from weir_api.web.dialect import Dialect
from weir_api.web.endpoint import JSON, Answer, Endpoint, Family, Json, Stream

Object = dict[str, Any]

_ERRORS: Mapping[int, str] = {
    400: "The request contradicts itself, or asks for what does not exist here.",
    401: "No valid credential.",
    403: "The caller may not do that.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It is not in a state in which that can be done.",
    413: "The body is too large.",
    422: "Path, query or body do not have the right shape.",
    429: "Too many tries; wait for as many seconds as `Retry-After` says.",
    503: "What is needed to answer cannot be reached now; `Retry-After` says when to try again.",
}
_HEADERS: Object = {
    "RequestId": {
        "description": "The request's own `X-Request-ID` if it has one, else one that was made up.",
        "schema": {"type": "string"},
    },
    "StaleSeconds": {
        "description": "There while the API server cannot be followed: what is told is so old.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RetryAfter": {
        "description": "Seconds after which another try makes sense.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Challenge": {"description": "`Bearer`.", "schema": {"const": "Bearer"}},
    "Allow": {"description": "The methods that there are.", "schema": {"type": "string"}},
}


def document(family: Family) -> Object:
    """Return the document of a family."""
    schemas = Schemas(family.endpoints)
    links = Links(family, schemas)
    paths: Object = {}
    tags: list[str] = []
    for endpoint in family.endpoints:
        operation = _operation(endpoint, family, schemas, links)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
        if endpoint.tag not in tags:
            tags.append(endpoint.tag)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": family.title,
            "version": family.version,
            "description": family.description,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": {**family.dialect.schemas, **schemas.components},
            "headers": _HEADERS,
            "securitySchemes": family.access.security_schemes,
        },
    }


def error_meanings(endpoint: Endpoint, access: Access) -> dict[int, str]:
    """Return the error statuses that an endpoint can answer with, and what they mean there."""
    errors = endpoint.errors
    found = set(errors) | access.needs(endpoint.capability).refusals
    if endpoint.method != "GET":
        found |= {403, 503}
    if endpoint.body is not None:
        found |= {408, 413}
    if endpoint.parameters or endpoint.query is not None or endpoint.body is not None:
        found.add(422)
    if endpoint.parameters:
        found.add(404)
    return {status: errors.get(status, _ERRORS.get(status, "")) for status in sorted(found)}


def _operation(endpoint: Endpoint, family: Family, schemas: "Schemas", links: "Links") -> Object:
    needs, dialect = family.access.needs(endpoint.capability), family.dialect
    errors = error_meanings(endpoint, family.access)
    may = f"**Who may:** {needs.who_may}"
    alias = f"Another spelling of `{endpoint.alias_of}`." if endpoint.alias_of else ""
    operation: Object = {
        "operationId": operation_id(endpoint, family),
        "summary": endpoint.summary,
        "description": "\n\n".join(filter(None, (endpoint.description, alias, may))),
        "tags": [endpoint.tag],
        "security": [dict(one) for one in needs.security],
        "responses": {
            **{
                str(code): _answer(answer, schemas, links.of(endpoint, answer), dialect)
                for code, answer in endpoint.answers.items()
            },
            **{str(code): _error(code, text, dialect) for code, text in errors.items()},
        },
    }
    parameters = [*schemas.path_parameters(endpoint), *schemas.query_parameters(endpoint)]
    parameters += [_header(name, meaning) for name, meaning in endpoint.headers.items()]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = _request_body(endpoint.body, schemas)
    return operation


def _header(name: str, meaning: str | Mapping[str, Any]) -> Object:
    schema = (
        {"type": "string", "description": meaning} if isinstance(meaning, str) else dict(meaning)
    )
    description = schema.pop("description", "")
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _request_body(body: Json | Stream, schemas: "Schemas") -> Object:
    if isinstance(body, Stream):
        return {"required": True, "content": {body.media_type: {"schema": {"type": "string"}}}}
    content: Object = {"schema": schemas.body(body)}
    if body.example is not None:
        content["example"] = body.example
    return {"required": not schemas.is_optional(body), "content": {JSON: content}}


def _answer(answer: Answer, schemas: "Schemas", links: Object, dialect: Dialect) -> Object:
    shown: Object = {
        "description": answer.description,
        "headers": {
            "X-Request-ID": {"$ref": "#/components/headers/RequestId"},
            "Weir-Stale-Seconds": {"$ref": "#/components/headers/StaleSeconds"},
        },
    }
    if links:
        shown["links"] = links
    media_type = answer.media_type
    if answer.model is not None:
        content: Object = {"schema": dialect.answer_schema(schemas.answer(answer))}
    elif media_type != JSON:
        content = {"schema": {"type": "string"}}
    else:
        return shown
    if answer.example is not None:
        content["example"] = answer.example
    shown["content"] = {media_type: content}
    return shown


def _error(status: int, description: str, dialect: Dialect) -> Object:
    headers: Object = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content = {JSON: {"schema": dialect.error_schema(status)}}
    return {"description": description, "headers": headers, "content": content}


_Mode = Literal["validation", "serialization"]
_Key = tuple[int, _Mode]
_REF = "#/components/schemas/{model}"


BOUND = 2**63
"""Whole numbers are smaller, whatever else holds for them."""


class _Generator(GenerateJsonSchema):
    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        made = super().int_schema(schema)
        if not made.keys() & {"minimum", "exclusiveMinimum"}:
            made["minimum"] = -BOUND
        if not made.keys() & {"maximum", "exclusiveMaximum"}:
            made["maximum"] = BOUND - 1
        return made


class Schemas:
    """The schemas of a family's types; ``components`` has the shapes that they refer to."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        """Make the schemas of all types of these endpoints."""
        self._adapters: dict[_Key, TypeAdapter[Any]] = {}
        self._kinds: list[Any] = []  # kept alive, so that no id is used twice
        queries: list[type[BaseModel]] = []
        for endpoint in endpoints:
            for kind in endpoint.params.values():
                self._note(kind, "validation")
            if endpoint.query is not None:
                queries.append(endpoint.query)
            if isinstance(endpoint.body, Json):
                self._note(endpoint.body.model, "validation")
            for answer in endpoint.answers.values():
                if answer.model is not None:
                    self._note(answer.model, "serialization")
        found, shared = TypeAdapter.json_schemas(
            [(key, key[1], adapter) for key, adapter in self._adapters.items()],
            ref_template=_REF,
            schema_generator=_Generator,
        )
        self._schemas: dict[Any, Object] = {key: schema for (key, _), schema in found.items()}
        components: Object = dict(shared.get("$defs", {}))
        self._queries: dict[type[BaseModel], Object] = {}
        for model in queries:
            schema = model.model_json_schema(ref_template=_REF, schema_generator=_Generator)
            components.update(schema.pop("$defs", {}))
            self._queries[model] = schema
        self.components: Object = dict(sorted(components.items()))

    def body(self, body: Json) -> Object:
        """Return the schema of a request's body."""
        return self._schemas[(id(body.model), "validation")]

    def is_optional(self, body: Json) -> bool:
        """Tell whether the body may be left out."""
        try:
            self._adapters[(id(body.model), "validation")].validate_python(None)
        except ValidationError:
            return False
        return True

    def fields(self, answer: Answer) -> frozenset[str]:
        """Return the names of the fields that an answer can have; none where it is no object."""
        left, names = [self.answer(answer)], set[str]()
        while left:
            schema = self._resolved(left.pop())
            names.update(schema.get("properties", ()))
            left += schema.get("anyOf", ())
        return frozenset(names)

    def answer(self, answer: Answer) -> Object:
        """Return the schema of an answer."""
        return self._schemas[(id(answer.model), "serialization")]

    def path_parameters(self, endpoint: Endpoint) -> list[Object]:
        """Return the path's parameters."""
        parameters = []
        for name in endpoint.parameters:
            schema: Object = {"type": "string"}
            if name in endpoint.params:
                schema = dict(self._schemas[(id(endpoint.params[name]), "validation")])
            parameter: Object = {"name": name, "in": "path", "required": True}
            description = schema.pop("description", None)
            if description:
                parameter["description"] = description
            parameters.append({**parameter, "schema": schema})
        return parameters

    def query_parameters(self, endpoint: Endpoint) -> list[Object]:
        """Return the query's parameters."""
        if endpoint.query is None:
            return []
        schema = self._queries[endpoint.query]
        required = schema.get("required", ())
        parameters = []
        for name, given in schema.get("properties", {}).items():
            shape = _without_null(given)
            parameter: Object = {"name": name, "in": "query", "required": name in required}
            description = shape.pop("description", None)
            if description:
                parameter["description"] = description
            parameters.append({**parameter, "schema": shape})
        return parameters

    def _resolved(self, schema: Object) -> Object:
        if "$ref" not in schema:
            return schema
        found: Object = self.components[schema["$ref"].rsplit("/", 1)[1]]
        return found

    def _note(self, kind: Any, mode: _Mode) -> None:
        key = (id(kind), mode)
        if key not in self._adapters:
            self._adapters[key] = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
            self._kinds.append(kind)


def _without_null(schema: Object) -> Object:
    """Return the schema of what can be written in a query: no null can."""
    kept = {key: value for key, value in schema.items() if key != "title"}
    if kept.get("default", "") is None:
        del kept["default"]
    branches = [one for one in kept.pop("anyOf", ()) if one != {"type": "null"}]
    if len(branches) == 1:
        return {**branches[0], **kept}
    return {**kept, "anyOf": branches} if branches else kept


class Links:
    """Where a value of an answer goes next, as its name says.

    ``task_id`` of an answer is what ``{task_id}`` of a path takes, so is each of its ``task_ids``;
    ``id`` of an answer below ``/tokens`` is what ``{token_id}`` takes.
    """

    def __init__(self, family: Family, schemas: Schemas) -> None:
        """Look at what they take."""
        self._family = family
        self._takers = [
            (name, endpoint) for endpoint in family.endpoints for name in endpoint.parameters[:1]
        ]
        self._schemas = schemas

    def of(self, endpoint: Endpoint, answer: Answer) -> Object:
        """Return the links of one of an endpoint's answers, by their names."""
        if answer.model is None:
            return {}
        fields = self._schemas.fields(answer)
        links: Object = {}
        for name, taker in self._takers:
            if name in fields:
                value = f"$response.body#/{name}"
            elif f"{name}s" in fields:
                value = f"$response.body#/{name}s/0"
            elif "id" in fields and _is_below(endpoint.path, name):
                value = "$response.body#/id"
            else:
                continue
            target = operation_id(taker, self._family)
            links[target] = {"operationId": target, "parameters": {name: value}}
        return links


def operation_id(endpoint: Endpoint, family: Family) -> str:
    """Return an endpoint's name, which follows from its method and path."""
    path = endpoint.path.removeprefix(family.base)
    return "_".join([endpoint.method.lower(), *re.findall(r"\w+", path)])


def _is_below(path: str, parameter: str) -> bool:
    kind = parameter.removesuffix("_id")
    return kind != parameter and f"{kind}s" in path.split("/")
