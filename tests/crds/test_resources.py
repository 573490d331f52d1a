"""CRDs, roles, policies and watches agree with the one list of kinds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from weir_api.state.caches import Caches
from weir_crds.kinds import GROUP
from weir_crds.resources import RESOURCES, resource_of, watched_by
from weir_crds.schema import Component, Lifetime, Model, Resource, field_name, strip

ROOT = Path(__file__).parents[2]
READ = {"get", "list", "watch"}


def documents(*folders: str) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for path in sorted((ROOT / folder).glob("*.yaml")):
            yield from filter(None, yaml.safe_load_all(path.read_text()))


MANIFESTS = list(documents("manifests/base"))
CRDS = {crd["spec"]["names"]["kind"]: crd for crd in documents("crds/yaml")}


def verbs(role: str, resource: str) -> set[str]:
    """Return what a ClusterRole allows on one of our resources (``tasks``, ``tasks/status``)."""
    (found,) = (
        one for one in MANIFESTS if one["kind"] == "ClusterRole" and one["metadata"]["name"] == role
    )
    return {
        verb
        for rule in found["rules"]
        if GROUP in rule["apiGroups"] and resource in rule["resources"]
        for verb in rule["verbs"]
    }


def policies_on(prefix: str, operation: str, resource: str) -> list[str]:
    """Return the policies with names of that prefix that are asked about an operation."""
    return [
        one["metadata"]["name"]
        for one in MANIFESTS
        if one["kind"] == "ValidatingAdmissionPolicy" and one["metadata"]["name"].startswith(prefix)
        for rule in one["spec"]["matchConstraints"]["resourceRules"]
        if operation in rule["operations"] and resource in rule["resources"]
    ]


WORKLOADS = [one for one in RESOURCES if one.is_workload]
LIVED = [(one.model, one.lifetime) for one in RESOURCES if one.lifetime]


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.kind.kind)
def resource(request: pytest.FixtureRequest) -> Resource:
    found: Resource = request.param
    return found


def test_each_kind_is_there_once() -> None:
    assert len({one.kind for one in RESOURCES}) == len(RESOURCES)
    names = [name for one in RESOURCES for name in (one.singular, *one.short_names)]
    assert len(set(names)) == len(names)
    assert all(resource_of(one.kind) is one for one in RESOURCES)


def test_there_is_a_definition_of_each_kind_and_no_other() -> None:
    assert set(CRDS) == {one.kind.kind for one in RESOURCES}
    for one in RESOURCES:
        scope = CRDS[one.kind.kind]["spec"]["scope"]
        assert scope == ("Namespaced" if one.kind.namespaced else "Cluster")


def test_people_see_of_each_kind_what_it_is_and_how_old(resource: Resource) -> None:
    columns = {column.name: column for column in resource.columns}
    assert columns["Age"].type == "date"
    assert len(columns) == len(resource.columns)
    for column in resource.columns:
        assert column.json_path.startswith((".metadata.", ".spec.", ".status."))
        if not column.json_path.startswith(".metadata."):
            attribute_at(resource.model, column.json_path)


@pytest.mark.parametrize("resource", WORKLOADS, ids=lambda one: one.kind.kind)
def test_a_workload_is_found_by_its_host(resource: Resource) -> None:
    assert ".status.nodeName" in resource.selectable_fields
    paths = {column.json_path for column in resource.columns}
    assert {".status.phase", ".status.nodeName"} <= paths
    assert {Component.OPERATOR, Component.NODEDAEMON} <= resource.watched_by


@pytest.mark.parametrize(("model", "lifetime"), LIVED)
def test_what_a_lifetime_names_is_a_field(model: type[Model], lifetime: Lifetime) -> None:
    for path in (lifetime.ended_at, lifetime.ttl_seconds):
        attribute_at(model, "." + ".".join(path))


def attribute_at(model: type[Model], path: str) -> None:
    """Follow a path through the models as far as it names fields."""
    for part in path.strip(".").split("."):
        name = part.split("[")[0]
        fields = {field_name(attribute): info for attribute, info in model.model_fields.items()}
        assert name in fields, f"{path}: {model.__name__} has no field {name}"
        annotation = strip(fields[name].annotation)[0]
        if not (isinstance(annotation, type) and issubclass(annotation, Model)):
            return
        model = annotation


@pytest.mark.parametrize("component", Component)
def test_a_program_may_read_the_kinds_that_it_watches_and_no_other(component: Component) -> None:
    for one in RESOURCES:
        allowed = verbs(component, one.kind.plural)
        assert allowed & READ == (READ if component in one.watched_by else set()), one.kind.kind


def test_the_operator_decides_and_sweeps(resource: Resource) -> None:
    plural = resource.kind.plural
    is_watched = Component.OPERATOR in resource.watched_by
    assert ("patch" in verbs(Component.OPERATOR, f"{plural}/status")) == is_watched
    assert ("delete" in verbs(Component.OPERATOR, plural)) == (resource.lifetime is not None)
    assert "create" not in verbs(Component.OPERATOR, plural)
    if resource.is_workload:
        assert verbs(Component.OPERATOR, plural) <= READ | {"delete"}


def test_a_daemon_writes_the_status_of_what_runs_on_its_host_under_a_policy(
    resource: Resource,
) -> None:
    status = f"{resource.kind.plural}/status"
    is_watched = Component.NODEDAEMON in resource.watched_by
    assert ("patch" in verbs(Component.NODEDAEMON, status)) == is_watched
    assert bool(policies_on("weir-nodedaemon-", "UPDATE", status)) == is_watched


@pytest.mark.parametrize("resource", WORKLOADS, ids=lambda one: one.kind.kind)
def test_the_facade_writes_the_status_of_what_runs_on_external_hosts_under_a_policy(
    resource: Resource,
) -> None:
    assert policies_on("weir-api-", "UPDATE", f"{resource.kind.plural}/status")


def test_what_reaches_into_a_host_is_refused_of_each_workload(resource: Resource) -> None:
    is_checked = bool(policies_on("weir-privileged", "CREATE", resource.kind.plural))
    assert is_checked == resource.is_workload


def test_people_read_all_but_what_is_private_and_make_workloads(resource: Resource) -> None:
    plural = resource.kind.plural
    assert verbs("weir-view", plural) == (set() if resource.is_private else READ)
    assert ("create" in verbs("weir-edit", plural)) == resource.is_workload


def test_the_facade_watches_what_the_list_says() -> None:
    caches = Caches(api=None)  # type: ignore[arg-type]
    watched = {kind for kind in caches._reflectors if kind.group == GROUP}
    assert watched == set(watched_by(Component.API))
