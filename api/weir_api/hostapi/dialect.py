"""How the host API words its answers: values as they are, failures as ``{"detail": ...}``."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from weir_api.errors import InvalidRequestError
from weir_api.web.dialect import Object, json_reply
from weir_crds.errors import WeirError

_SHAPES: Object = {
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


class DetailDialect:
    """``{"detail": "text"}``; of a 422 ``{"detail": [{type, loc, msg, input, ctx}]}``."""

    @property
    def schemas(self) -> Object:
        """Shapes of errors."""
        return _SHAPES

    def error_schema(self, status: int) -> Object:
        """Return the schema of the error with that status."""
        return {"$ref": f"#/components/schemas/{'Faults' if status == 422 else 'Error'}"}

    def answer_schema(self, schema: Object) -> Object:
        """Return the schema as it is: there is no envelope."""
        return schema

    def success(self, value: Any, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for what a handler returned."""
        return json_reply(value, status, headers)

    def error(self, error: WeirError, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for one of our errors."""
        detail: Any = error.details if isinstance(error, InvalidRequestError) else str(error)
        return json_reply({"detail": detail}, status, headers)

    def plain(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for what has no exception of ours."""
        return json_reply({"detail": message}, status, headers)

    def handshake(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        """Refuse a WebSocket: clients know 403 alone, whatever is wrong."""
        return json_reply({"detail": message}, 503 if status == 503 else 403, headers)
