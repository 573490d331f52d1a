"""Every endpoint of the running facade is told with examples, and these are what they should be."""

import json
from typing import Any

import jsonschema_rs

from support.small_world import SmallWorld


def test_every_shape_has_an_example_that_fits(small_world: SmallWorld) -> None:
    document = json.loads(small_world.facade.request("GET", "/openapi.json").body)

    for path, methods in document["paths"].items():
        for method, told in methods.items():
            good = [one for status, one in told["responses"].items() if status.startswith("2")]
            assert good, (method, path)
            for part in (*good, told.get("requestBody", {})):
                content = part.get("content", {}).get("application/json")
                if content is None:
                    continue
                assert "example" in content, (method, path)
                faults = list(
                    _validator(document, content["schema"]).iter_errors(content["example"])
                )
                assert not faults, (method, path, faults)


def test_shapes_have_names_of_their_own(small_world: SmallWorld) -> None:
    """Two of one name would be told by the modules they are in, which is nobody's business."""
    document = json.loads(small_world.facade.request("GET", "/openapi.json").body)

    assert [name for name in document["components"]["schemas"] if "__" in name] == []
    assert [tag["name"] for tag in document["tags"]] == ["Accounts", "Nodes", "Runners", "Tasks"]


def _validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for({**schema, "components": document["components"]})
