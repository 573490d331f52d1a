"""The OpenAPI 3.1 document of a family, made from its endpoints: what is declared is what is told.

https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Mapping
from typing import Any

from weir_api.access.authenticate import SESSION_COOKIE
from weir_api.access.capabilities import RULES, Capability
from weir_api.web.endpoint import JSON, Answer, Endpoint, Family
from weir_api.web.links import Links, operation_id
from weir_api.web.schemas import Schemas

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
_ERROR_SHAPES: Object = {
    "Error": {
        "type": "object",
        "description": "Why a request was not served, in words that may change.",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
        "examples": [{"detail": "there is no task 4611686018427387904"}],
    },
    "Fault": {
        "type": "object",
        "description": "One thing that is wrong with a request.",
        "properties": {
            "type": {"type": "string", "description": "What sort of fault."},
            "loc": {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "description": "Where: `path`, `query` or `body`, then names and indexes.",
            },
            "msg": {"type": "string", "description": "For people."},
            "input": {"description": "What stands there; null for objects and lists."},
            "ctx": {"type": "object", "description": "More about it, such as the bound."},
        },
        "required": ["type", "loc", "msg", "input"],
    },
    "Faults": {
        "type": "object",
        "description": "What is wrong with a request: each fault, or words about the whole.",
        "properties": {
            "detail": {
                "anyOf": [
                    {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}},
                    {"type": "string"},
                ]
            }
        },
        "required": ["detail"],
        "examples": [
            {
                "detail": [
                    {
                        "type": "greater_than_equal",
                        "loc": ["query", "limit"],
                        "msg": "Input should be greater than or equal to 0",
                        "input": "-1",
                        "ctx": {"ge": 0},
                    }
                ]
            }
        ],
    },
}


def document(family: Family) -> Object:
    """Return the document of a family."""
    schemas = Schemas(family.endpoints)
    links = Links(family.endpoints, schemas)
    paths: Object = {}
    tags: list[str] = []
    for endpoint in family.endpoints:
        operation = _operation(endpoint, schemas, links)
        paths.setdefault(family.prefix + endpoint.path, {})[endpoint.method.lower()] = operation
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
            "schemas": {**_ERROR_SHAPES, **schemas.components},
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, or the credential of a host.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION_COOKIE,
                    "description": "Set by a login.",
                },
            },
        },
    }


def who_may(capability: Capability) -> str:
    """Return in words who has a capability."""
    if capability is Capability.PUBLIC:
        return "Everyone."
    if capability is Capability.USE_ACCOUNT:
        return "Everyone who is logged in."
    if capability is Capability.REPORT_HOST:
        return "A host, for itself, by its credential; and admins."
    rule = RULES[capability]
    own = "; the role `user` for its own only" if rule.own_only else ""
    return f"The role `{rule.minimum}` and those above it{own}."


def error_meanings(endpoint: Endpoint) -> dict[int, str]:
    """Return the error statuses that an endpoint can answer with, and what they mean there."""
    told = endpoint.errors
    public = endpoint.capability is Capability.PUBLIC
    unsafe = endpoint.method != "GET"
    found = set(told)
    if not public and RULES[endpoint.capability].refuse_anonymous_with == 401:
        found.add(401)
    if unsafe or not public:
        found |= {403, 503}
    if endpoint.body is not None:
        found |= {408, 413}
    if endpoint.parameters or endpoint.query is not None or endpoint.body is not None:
        found.add(422)
    if endpoint.parameters:
        found.add(404)
    return {status: told.get(status, _ERRORS.get(status, "")) for status in sorted(found)}


def _operation(endpoint: Endpoint, schemas: Schemas, links: Links) -> Object:
    may = f"**Who may:** {who_may(endpoint.capability)}"
    alias = f"Another spelling of `{endpoint.alias_of}`." if endpoint.alias_of else ""
    operation: Object = {
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "description": "\n\n".join(filter(None, (endpoint.description, alias, may))),
        "tags": [endpoint.tag],
        "security": _security(endpoint.capability),
        "responses": {
            **{
                str(code): _answer(answer, schemas, links.of(endpoint, answer))
                for code, answer in endpoint.answers.items()
            },
            **{str(code): _error(code, text) for code, text in error_meanings(endpoint).items()},
        },
    }
    parameters = [*schemas.path_parameters(endpoint), *schemas.query_parameters(endpoint)]
    parameters += [_header(name, told) for name, told in endpoint.headers.items()]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content: Object = {"schema": schemas.body(endpoint)}
        if endpoint.body_example is not None:
            content["example"] = endpoint.body_example
        required = not schemas.is_optional(endpoint)
        operation["requestBody"] = {"required": required, "content": {JSON: content}}
    return operation


def _header(name: str, told: str | Mapping[str, Any]) -> Object:
    schema = {"type": "string", "description": told} if isinstance(told, str) else dict(told)
    description = schema.pop("description", "")
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _security(capability: Capability) -> list[Object]:
    if capability is Capability.PUBLIC:
        return []
    if capability is Capability.REPORT_HOST:
        return [{"bearer": []}]
    return [{"bearer": []}, {"cookie": []}]


def _answer(answer: Answer, schemas: Schemas, links: Object) -> Object:
    told: Object = {
        "description": answer.description,
        "headers": {
            "X-Request-ID": {"$ref": "#/components/headers/RequestId"},
            "Weir-Stale-Seconds": {"$ref": "#/components/headers/StaleSeconds"},
        },
    }
    if links:
        told["links"] = links
    media_type = answer.media_type
    if answer.model is not None:
        content: Object = {"schema": schemas.answer(answer)}
    elif media_type != JSON:
        content = {"schema": {"type": "string"}}
    else:
        return told
    if answer.example is not None:
        content["example"] = answer.example
    told["content"] = {media_type: content}
    return told


def _error(status: int, description: str) -> Object:
    headers: Object = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    shape = "Faults" if status == 422 else "Error"
    schema = {"$ref": f"#/components/schemas/{shape}"}
    return {"description": description, "headers": headers, "content": {JSON: {"schema": schema}}}
