"""JSON schemas of all that endpoints take and answer, with shared shapes told once."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from weir_api.web.endpoint import Answer, Endpoint

Object = dict[str, Any]

_Mode = Literal["validation", "serialization"]
_Key = tuple[int, _Mode]
_REF = "#/components/schemas/{model}"


BOUND = 2**63
"""Whole numbers are smaller, whatever else holds for them."""


class _Generator(GenerateJsonSchema):
    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        told = super().int_schema(schema)
        if not told.keys() & {"minimum", "exclusiveMinimum"}:
            told["minimum"] = -BOUND
        if not told.keys() & {"maximum", "exclusiveMaximum"}:
            told["maximum"] = BOUND - 1
        return told


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
            if endpoint.body is not None:
                self._note(endpoint.body, "validation")
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

    def body(self, endpoint: Endpoint) -> Object:
        """Return the schema of a request's body."""
        return self._schemas[(id(endpoint.body), "validation")]

    def is_optional(self, endpoint: Endpoint) -> bool:
        """Tell whether the body may be left out."""
        try:
            self._adapters[(id(endpoint.body), "validation")].validate_python(None)
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
            told: Object = {"type": "string"}
            if name in endpoint.params:
                told = dict(self._schemas[(id(endpoint.params[name]), "validation")])
            parameter: Object = {"name": name, "in": "path", "required": True}
            description = told.pop("description", None)
            if description:
                parameter["description"] = description
            parameters.append({**parameter, "schema": told})
        return parameters

    def query_parameters(self, endpoint: Endpoint) -> list[Object]:
        """Return the query's parameters."""
        if endpoint.query is None:
            return []
        schema = self._queries[endpoint.query]
        required = schema.get("required", ())
        parameters = []
        for name, given in schema.get("properties", {}).items():
            told = _without_null(given)
            parameter: Object = {"name": name, "in": "query", "required": name in required}
            description = told.pop("description", None)
            if description:
                parameter["description"] = description
            parameters.append({**parameter, "schema": told})
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
    told = {key: value for key, value in schema.items() if key != "title"}
    if told.get("default", "") is None:
        del told["default"]
    branches = [one for one in told.pop("anyOf", ()) if one != {"type": "null"}]
    if len(branches) == 1:
        return {**branches[0], **told}
    return {**told, "anyOf": branches} if branches else told
