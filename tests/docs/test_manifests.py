"""Objects and patches in the pages have no field that our kinds have not."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_OF_KUBERNETES = {"apiVersion", "kind", "metadata"}


def schemas() -> dict[str, Mapping[str, Any]]:
    """Return the schemas of our kinds, by all the names that kubectl takes for them."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in (ROOT / "crds" / "yaml").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        schema = spec["versions"][0]["schema"]["openAPIV3Schema"]
        names = spec["names"]
        for name in (names["kind"], names["plural"], names["singular"], *names["shortNames"]):
            found[name] = schema
    return found


def blocks(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and content of the objects that a page shows; parts of one are of a Task."""
    shown = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    typed = re.findall(r"<<'?EOF'?\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)
    for block in (*shown, *typed):
        for obj in yaml.safe_load_all(block.replace(r"\$", "$")):
            if isinstance(obj, dict) and ("kind" in obj or "spec" in obj):
                yield obj.get("kind", "Task"), obj


def patches(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and content of the merge patches that a page types."""
    for kind, patch in re.findall(r"kubectl patch (\w+) \S+ --type=merge -p '(.*?)'", text):
        yield kind, json.loads(patch)


def unknown_fields(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield what a schema does not have, and values that are none of those that it lists."""
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value}"
    if isinstance(value, list):
        for item in value:
            yield from unknown_fields(item, schema.get("items", {}), f"{path}[]")
    elif isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            if name in schema["properties"]:
                found = schema["properties"][name]
                yield from unknown_fields(inner, found, f"{path}.{name}")
            elif path or name not in _OF_KUBERNETES:
                yield f"{path}.{name}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_field_in_the_pages_is_one(path: Path) -> None:
    known, text = schemas(), path.read_text()
    for kind, obj in (*blocks(text), *patches(text)):
        if kind in known:
            assert not [*unknown_fields(obj, known[kind])], obj


def test_the_pages_show_some() -> None:
    text = "".join(path.read_text() for path in PAGES)
    assert len([*blocks(text)]) > 3
    assert len([*patches(text)]) > 5


def test_a_field_that_is_not_there_is_found() -> None:
    wrong = {"spec": {"image": "x", "resources": {"cpus": 1}, "desiredState": "Dead"}, "sepc": 1}
    assert [*unknown_fields(wrong, schemas()["wt"])] == [
        ".spec.resources.cpus",
        ".spec.desiredState: Dead",
        ".sepc",
    ]
