"""Made-up objects get the same verdict from the models and from the API server.

Objects are drawn from the CRDs' own schemas: mostly good values, here and there one that is wrong
by type, bound, pattern or rule. Nobody says beforehand which are right; the two must agree, and a
refusal by the API server names a field that the model refuses too.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from support.api_client import Client
from weir_crds.host import Host
from weir_crds.schema import Model
from weir_crds.task import Task

Schema = dict[str, Any]

YAML = Path(__file__).parents[2] / "crds" / "yaml"
WORDS = ("a", "n1", "A", "a.b-c", "Ready", "0f-1", "-", "a-", "-a", "a_b", "a b", "a=b", "é", "")
ODD = ("a\x00b", "a\n", "\u2028", "x" * 63, "x" * 64, "x" * 253, "x" * 254, "x" * 5000)
PLACES = ("/", "/a/b", "a/b", "https://h:8443", "sha256:" + "0f" * 32)
TIMES = ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123456Z", "2026-11-22T12:00:00+02:00")
NO_TIMES = ("yesterday", "2026-11-22", "2026-11-22T10:00:00", "2026-13-22T10:00:00Z")
STRINGS = [*WORDS, *ODD, *PLACES, *TIMES, *NO_TIMES]
QUANTITIES = [0, 1, 4, "1", "500m", "1.5", "8Gi", "1e3", "2E-1", "1n", "-0", "999P"]
NEGATIVE = (-1, "-1", "-1m")
HUGE = ("1E", "1Ei", 10**18, 2**63, 2**64)
MALFORMED = ("", "+1", "1.", ".5", "four", "1 Gi")
NO_QUANTITIES = [*NEGATIVE, *HUGE, *MALFORMED]
ANYTHING = [None, True, 0, 1, -1, 1.0, 0.5, 2**31, 2**63, "1", "true", "", [], {}, [None], {"a": 1}]
GOOD_SPEC: dict[type[Model], dict[str, Any]] = {Task: {"image": "x"}, Host: {}}
IN_A_HUNDRED = 4
"""How many of the values are drawn without asking for a good one."""


def schema_of(plural: str, part: str) -> Schema:
    definition = yaml.safe_load((YAML / f"weir.dev_{plural}.yaml").read_text())
    root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: Schema = root["properties"][part]
    return found


@st.composite
def values(draw: st.DrawFn, schema: Schema) -> Any:
    """Draw a value for a schema."""
    wrong = draw(st.integers(0, 99)) < IN_A_HUNDRED
    if wrong and draw(st.booleans()):
        return draw(st.sampled_from(ANYTHING))
    if "x-kubernetes-int-or-string" in schema:
        return draw(st.sampled_from(NO_QUANTITIES if wrong else QUANTITIES))
    if "enum" in schema:
        return draw(st.sampled_from([*schema["enum"], "Nope"] if wrong else schema["enum"]))
    match schema["type"]:
        case "boolean":
            return draw(st.booleans())
        case "integer":
            return draw(integers(schema, wrong))
        case "string":
            return draw(strings(schema, wrong))
        case "array":
            high = 3 if wrong else min(3, schema["maxItems"])
            items = values(schema["items"])
            drawn = st.lists(items, min_size=schema.get("minItems", 0) * (not wrong), max_size=high)
            return draw(drawn.filter(lambda found: not _differs_by_type_alone(found)))
        case _:
            return draw(objects(schema, wrong))


def _differs_by_type_alone(items: list[Any]) -> bool:
    """Tell whether 0.0 stands beside 0: in a set, they are two to the API server, and one to us."""
    floats = [item for item in items if isinstance(item, float)]
    return any(item in [one for one in items if isinstance(one, int)] for item in floats)


def integers(schema: Schema, wrong: bool) -> st.SearchStrategy[Any]:
    low, high = schema["minimum"], schema["maximum"]
    if wrong:
        return st.sampled_from([low - 1, high + 1, float(low), low + 0.5])
    return st.sampled_from([low, low + 1, high]) | st.integers(low, min(high, low + 8))


def strings(schema: Schema, wrong: bool) -> st.SearchStrategy[str]:
    pool = STRINGS
    if not wrong:
        pattern = re.compile(schema.get("pattern", "").replace("$", r"\Z"))
        pool = [
            text
            for text in STRINGS
            if schema.get("minLength", 0) <= len(text) <= schema["maxLength"]
            and pattern.match(text)
        ]
    return st.sampled_from(pool)


@st.composite
def objects(draw: st.DrawFn, schema: Schema, wrong: bool) -> dict[str, Any]:
    if "additionalProperties" in schema:
        items = values(schema["additionalProperties"])
        return draw(st.dictionaries(st.sampled_from(["gpu", "zone", ""]), items, max_size=2))
    required = schema.get("required", [])
    names = draw(st.sets(st.sampled_from(sorted(schema["properties"])), max_size=6))
    if not wrong:
        names |= set(required)
    obj = {name: draw(values(schema["properties"][name])) for name in sorted(names)}
    if wrong and draw(st.booleans()):
        obj["nope"] = 1
    return obj


def refused_fields(model: type[Model], obj: dict[str, Any]) -> set[str] | None:
    """Return which fields of spec or status the model refuses; None: it takes the object."""
    try:
        model.model_validate(obj, extra="forbid")
    except ValidationError as exc:
        paths = [[str(part) for part in error["loc"]] for error in exc.errors()]
        return {path[1] if len(path) > 1 else path[0] for path in paths}
    return None


def agree(model: type[Model], part: str, value: Any, verdict: str | None) -> None:
    fields = refused_fields(model, {"spec": GOOD_SPEC[model]} | {part: value})
    event("refused" if verdict else "accepted")
    assert (fields is None) == (verdict is None), f"model refuses {fields}, server: {verdict}"
    if fields is not None and verdict is not None:
        assert any(field in verdict for field in fields), f"{fields} are not named in: {verdict}"


BOUNDED = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@BOUNDED
@given(spec=values(schema_of("tasks", "spec")))
def test_specs_of_tasks(spec: Any, admin: Client, privileged_namespace: str) -> None:
    metadata = {"name": "made-up", "namespace": privileged_namespace}
    obj = {"apiVersion": "weir.dev/v1alpha1", "kind": "Task", "metadata": metadata, "spec": spec}
    agree(Task, "spec", spec, admin.create(obj, dry_run=True))


@BOUNDED
@given(spec=values(schema_of("hosts", "spec")))
def test_specs_of_hosts(spec: Any, admin: Client) -> None:
    metadata = {"name": "made-up"}
    obj = {"apiVersion": "weir.dev/v1alpha1", "kind": "Host", "metadata": metadata, "spec": spec}
    verdict = admin.create(obj, dry_run=True)
    agree(Host, "spec", spec, verdict)


@pytest.fixture(scope="module")
def fresh_task(admin: Client, privileged_namespace: str) -> dict[str, Any]:
    obj = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "fresh", "namespace": privileged_namespace},
        "spec": {"image": "x"},
    }
    assert admin.create(obj) is None
    return admin.get(obj)


@BOUNDED
@given(status=values(schema_of("tasks", "status")))
def test_statuses_of_tasks(status: Any, admin: Client, fresh_task: dict[str, Any]) -> None:
    obj = {**fresh_task, "status": status}
    agree(Task, "status", status, admin.replace(obj, "status", dry_run=True))


@pytest.fixture(scope="module")
def fresh_host(admin: Client) -> Iterator[dict[str, Any]]:
    obj = {"apiVersion": "weir.dev/v1alpha1", "kind": "Host", "metadata": {"name": "fresh"}}
    assert admin.create(obj) is None
    yield admin.get(obj)
    assert admin.delete(obj) is None


@BOUNDED
@given(status=values(schema_of("hosts", "status")))
def test_statuses_of_hosts(status: Any, admin: Client, fresh_host: dict[str, Any]) -> None:
    obj = {**fresh_host, "status": status}
    agree(Host, "status", status, admin.replace(obj, "status", dry_run=True))
