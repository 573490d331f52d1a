"""Write crds/yaml/*.yaml from the models in weir_crds; with --check, say whether they are current.

A model becomes a structural schema: everything inline, no keyword that the API server refuses.
Types, bounds, defaults and docstrings come from the fields; list types, quantities, immutability
and CEL rules from the markers in ``weir_crds.schema``.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import yaml
from pydantic.fields import FieldInfo

from weir_crds import times
from weir_crds.kinds import GROUP, VERSION
from weir_crds.meta import ObjectMeta
from weir_crds.quantities import MAX_LENGTH, PATTERN
from weir_crds.resources import RESOURCES
from weir_crds.schema import (
    Immutable,
    ListAtomic,
    ListMap,
    ListSet,
    Model,
    QuantityRange,
    Resource,
    Rule,
    TimeFormat,
    field_name,
    gathered,
    markers,
    strip,
)

OUTPUT = Path(__file__).resolve().parent.parent / "crds" / "yaml"
HEADER = "# Generated from crds/weir_crds by hack/generate_crds.py: make generate.\n"

RULES = "x-kubernetes-validations"
USUAL_QUANTITY = "^[1-9][0-9]{0,8}(m|[KMG]i)?$"

EXACT = 2**53 - 1
"""The API server keeps an integer's limits as floats: 2^63 - 1 becomes a negative maximum."""

Schema = dict[str, Any]


def custom_resource_definition(resource: Resource) -> Schema:
    """Return the CustomResourceDefinition of a resource."""
    kind = resource.kind
    version: Schema = {
        "name": kind.version,
        "served": True,
        "storage": True,
        **({"subresources": {"status": {}}} if "status" in resource.model.model_fields else {}),
        "additionalPrinterColumns": [
            {
                "name": column.name,
                "type": column.type,
                "jsonPath": column.json_path,
                "description": column.description,
                **({"priority": 1} if column.wide else {}),
            }
            for column in resource.columns
        ],
    }
    if resource.selectable_fields:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable_fields]
    version["schema"] = {"openAPIV3Schema": root_schema(resource)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "plural": kind.plural,
                "singular": resource.singular,
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "shortNames": list(resource.short_names),
                "categories": ["weir"],
            },
            "versions": [version],
        },
    }


def root_schema(resource: Resource) -> Schema:
    """Return the schema of a whole object. Only the spec has defaults: no status is made up."""
    model = resource.model
    schema = model_schema(model, defaults=True)
    fields = schema["properties"]
    if "status" in fields:
        fields["status"] = {
            **type_schema(model.model_fields["status"].annotation, [], defaults=False),
            "description": one_line(model.model_fields["status"].description),
        }
        gather(fields["status"], into=fields["status"], path="")
    if resource.is_status_write:
        gather(fields["spec"], into=schema, path=".spec", unless=resource.is_status_write)
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"{model.__name__}."},
        **{name: fields[name] for name in ("metadata", "spec", "status") if name in fields},
    }
    return schema


def model_schema(model: type[Model], *, defaults: bool) -> Schema:
    """Return the schema of an object: its fields, its rules, and those that its fields imply."""
    properties: Schema = {}
    required: list[str] = []
    rules: list[Rule] = []
    for attribute, info in model.model_fields.items():
        name = field_name(attribute)
        if info.annotation is ObjectMeta:
            properties[name] = {"type": "object"}  # the API server knows the rest, and insists
            continue
        field = type_schema(info.annotation, info.metadata, defaults=defaults)
        field = {"description": one_line(info.description), **field}
        if info.is_required():
            required.append(name)
        elif defaults and (default := default_of(info)) is not None:
            field["default"] = default
        properties[name] = field
        for marker in markers(info):
            if isinstance(marker, Immutable):
                present = name in required or "default" in field
                rules.append(marker.to_rule(name, always_present=present))
    schema: Schema = {"type": "object", "description": one_line(model.__doc__)}
    if required:
        schema["required"] = required
    schema["properties"] = properties
    rules += model.rules
    if rules:
        schema[RULES] = [rule_schema(rule) for rule in rules]
    return schema


def gather(schema: Schema, *, into: Schema, path: str, unless: str | None = None) -> None:
    """Make one rule of an object's transition rules; see ``weir_crds.schema.gathered``."""
    rules = schema.pop(RULES, [])
    transitions = [Rule(r["rule"], r["message"], r["fieldPath"]) for r in rules if is_transition(r)]
    kept = [r for r in rules if not is_transition(r)]
    if kept:
        schema[RULES] = kept
    if transitions:
        whole = rule_schema(gathered(transitions, path, unless=unless))
        into[RULES] = [*into.get(RULES, []), whole]


def is_transition(rule: Schema) -> bool:
    """Tell whether a rule compares with what was there."""
    return "oldSelf" in rule["rule"]


def default_of(info: FieldInfo) -> Any:
    """Return the default that the API server fills in, or None if it leaves the field absent."""
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Model):
        return {}  # the defaults of its fields follow
    return None if value in ([], {}) else value


def type_schema(annotation: Any, metadata: list[Any], *, defaults: bool) -> Schema:
    """Return the schema of a value."""
    annotation, found = strip(annotation)
    metadata = [*metadata, *found]
    for marker in metadata:
        if isinstance(marker, QuantityRange):
            return quantity_schema(marker)
        if isinstance(marker, TimeFormat):
            return {"type": "string", "maxLength": 40, "pattern": times.PATTERN}
    if get_origin(annotation) is Literal:
        return {"type": "string", "enum": list(get_args(annotation))}
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        schema = {"type": "array", **bounds(metadata, "Items"), **list_type(metadata)}
        if rules := [rule_schema(marker) for marker in metadata if isinstance(marker, Rule)]:
            schema[RULES] = rules
        return {**schema, "items": type_schema(item, [], defaults=defaults)}
    if get_origin(annotation) is dict:
        value = type_schema(get_args(annotation)[1], [], defaults=defaults)
        limits = bounds(metadata, "Properties")
        return {"type": "object", **limits, "additionalProperties": value}
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is int:
        limits = bounds(metadata, "imum")
        if not -EXACT <= limits["minimum"] <= limits["maximum"] <= EXACT:
            raise TypeError(f"a limit that is not exact as a float: {limits}")
        wide = limits["maximum"] >= 2**31 or limits["minimum"] < -(2**31)
        return {"type": "integer", "format": "int64" if wide else "int32", **limits}
    if annotation is str:
        return {"type": "string", **bounds(metadata, "Length")}
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return model_schema(annotation, defaults=defaults)
    raise TypeError(f"no schema for {annotation!r}")


def bounds(metadata: list[Any], noun: str) -> Schema:
    """Return the limits of a value; every value of ours must have an upper one."""
    limits: Schema = {}
    for marker in metadata:
        match marker:
            case annotated_types.MinLen(low) | annotated_types.Ge(low):
                limits[f"min{noun}"] = low
            case annotated_types.MaxLen(high) | annotated_types.Le(high):
                limits[f"max{noun}"] = high
        if pattern := getattr(marker, "pattern", None):
            limits["pattern"] = pattern
    if f"max{noun}" not in limits:
        raise TypeError(f"a value without a max{noun}: {metadata!r}")
    return limits


def list_type(metadata: list[Any]) -> Schema:
    """Return the merge type of a list; every list of ours must say it."""
    for marker in metadata:
        match marker:
            case ListMap(key):
                return {
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": [field_name(key)],
                }
            case ListSet():
                return {"x-kubernetes-list-type": "set"}
            case ListAtomic():
                return {"x-kubernetes-list-type": "atomic"}
    raise TypeError(f"a list without a merge type: {metadata!r}")


def quantity_schema(marker: QuantityRange) -> Schema:
    """Return the schema of a quantity. The rule says more to people than a pattern would."""
    value = "quantity(string(self))"
    comparison, words = (">", "be more than 0") if marker.positive else (">=", "not be negative")
    well_formed = f"string(self).matches('{PATTERN}')"
    in_range = f"{value}.compareTo(quantity('0')) {comparison} 0"
    small = f"{value}.compareTo(quantity('1E')) < 0"
    return {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": MAX_LENGTH,
        RULES: [
            {
                # Most are as the first pattern has them, and cost no more than a look at it.
                "rule": f"string(self).matches('{USUAL_QUANTITY}')"
                f" || ({well_formed} && {in_range} && {small})",
                "message": "must be a quantity, such as 4, 500m, 8Gi",
                "messageExpression": (
                    f"!{well_formed} ? 'must be a quantity, such as 4, 500m, 8Gi'"
                    f" : {in_range} ? 'must be below 1E' : 'must {words}'"
                ),
            }
        ],
    }


def rule_schema(rule: Rule) -> Schema:
    """Return a rule as the API server wants it."""
    schema: Schema = {"rule": rule.rule, "message": rule.message}
    if rule.message_expression:
        schema["messageExpression"] = rule.message_expression
    if rule.reason:
        schema["reason"] = rule.reason
    if rule.field_path:
        schema["fieldPath"] = rule.field_path
    return schema


def one_line(text: str | None) -> str:
    """Return a docstring as one paragraph.

    Raises:
        TypeError: there is none; ``kubectl explain`` shows it, so every field has one.
    """
    if not text:
        raise TypeError("a field or model without a docstring")
    return " ".join(text.split())


def render(resource: Resource) -> str:
    """Return the text of the file of a resource."""
    definition = custom_resource_definition(resource)
    return HEADER + yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 1: they differ from the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args(arguments)
    stale = []
    for resource in RESOURCES:
        path = OUTPUT / f"{GROUP}_{resource.kind.plural}.yaml"
        text = render(resource)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'stale, run make generate' if options.check else 'wrote'}: {path}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
