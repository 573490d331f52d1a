"""The generated CRDs: current, structural, bounded, and with words on every field."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field

import generate_crds
from weir_crds.resources import RESOURCES
from weir_crds.schema import Immutable, ListAtomic, Model, Resource

Schema = dict[str, Any]


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.kind.kind)
def root(request: pytest.FixtureRequest) -> Schema:
    resource: Resource = request.param
    return generate_crds.root_schema(resource)


def fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Walk all schemas below this one."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from fields(field, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from fields(schema[keyword], f"{path}[]")


def test_the_files_are_current() -> None:
    for resource in RESOURCES:
        path = generate_crds.OUTPUT / f"weir.dev_{resource.kind.plural}.yaml"
        assert path.read_text(encoding="utf-8") == generate_crds.render(resource), "make generate"


def test_every_field_says_what_it_is(root: Schema) -> None:
    for path, schema in fields(root):
        if path and not path.endswith("[]") and path != ".metadata":
            assert schema["description"].endswith("."), path


def test_every_value_is_bounded(root: Schema) -> None:
    limits = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}
    for path, schema in fields(root):
        if path in ("", ".apiVersion", ".kind", ".metadata") or "enum" in schema:
            continue
        limit = limits.get(schema.get("type", "string"))
        assert limit is None or limit in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


def test_every_list_has_a_merge_type(root: Schema) -> None:
    for path, schema in fields(root):
        if schema.get("type") == "array":
            assert schema["x-kubernetes-list-type"] in ("map", "set", "atomic"), path


def test_only_the_spec_has_defaults(root: Schema) -> None:
    assert any("default" in schema for _, schema in fields(root["properties"]["spec"]))
    status = root["properties"].get("status", {})  # a User has none
    assert not any("default" in schema for _, schema in fields(status))


def test_required_fields_have_no_default(root: Schema) -> None:
    for path, schema in fields(root):
        for name in schema.get("required", []):
            assert "default" not in schema["properties"][name], f"{path}.{name}"


def test_an_immutable_field_is_compared_by_presence_only_where_it_may_be_absent() -> None:
    class Sample(Model):
        """Sample."""

        always: Annotated[bool, Immutable()] = False
        """Always there."""
        sometimes: Annotated[bool, Immutable(unless="oldSelf.free")] | None = None
        """Sometimes there."""

    schema = generate_crds.model_schema(Sample, defaults=True)
    always, sometimes = (rule["rule"] for rule in schema["x-kubernetes-validations"])
    assert always == "self.always == oldSelf.always"
    assert sometimes == (
        "oldSelf.free || (has(self.sometimes) == has(oldSelf.sometimes)"
        " && (!has(self.sometimes) || self.sometimes == oldSelf.sometimes))"
    )


class NoWords(Model):
    """A model with a field that lacks a docstring."""

    field: bool = False


class NoBound(Model):
    """A model with a string of any length."""

    field: str = ""
    """Words."""


class NoMergeType(Model):
    """A model with a list that cannot be merged."""

    field: Annotated[list[bool], Field(max_length=1)]
    """Words."""


class NoBoundOnItems(Model):
    """A model with items of any length."""

    field: Annotated[list[str], ListAtomic(), Field(max_length=1)]
    """Words."""


class NotExact(Model):
    """A model with a limit that the API server cannot hold."""

    field: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Words."""


@pytest.mark.parametrize("model", [NoWords, NoBound, NoMergeType, NoBoundOnItems, NotExact])
def test_what_a_model_forgets_is_an_error(model: type[Model]) -> None:
    with pytest.raises(TypeError, match=r"without|not exact"):
        generate_crds.model_schema(model, defaults=True)


def test_check_writes_nothing_and_fails_on_a_difference(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_crds, "OUTPUT", tmp_path)
    assert generate_crds.main(["--check"]) == 1
    assert "make generate" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert generate_crds.main([]) == 0
    assert generate_crds.main(["--check"]) == 0
