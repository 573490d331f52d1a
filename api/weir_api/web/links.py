"""Links of the OpenAPI document: where a value of an answer goes next.

They follow from names: ``task_id`` of an answer is what ``{task_id}`` of a path takes, so is each
of its ``task_ids``; ``id`` of an answer below ``/tokens`` is what ``{token_id}`` takes.
"""

import re
from collections.abc import Iterable
from typing import Any

from weir_api.web.endpoint import Answer, Endpoint
from weir_api.web.schemas import Schemas

Object = dict[str, Any]


class Links:
    """Knows which endpoints take which values."""

    def __init__(self, endpoints: Iterable[Endpoint], schemas: Schemas) -> None:
        """Look at what they take."""
        self._takers = [
            (name, endpoint) for endpoint in endpoints for name in endpoint.parameters[:1]
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
            target = operation_id(taker)
            links[target] = {"operationId": target, "parameters": {name: value}}
        return links


def operation_id(endpoint: Endpoint) -> str:
    """Return an endpoint's name, which follows from its method and path."""
    return "_".join([endpoint.method.lower(), *re.findall(r"\w+", endpoint.path)])


def _is_below(path: str, parameter: str) -> bool:
    kind = parameter.removesuffix("_id")
    return kind != parameter and f"{kind}s" in path.split("/")
