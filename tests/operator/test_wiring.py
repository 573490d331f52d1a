"""The operator is made of what the list of kinds says."""

from typing import Any

from weir_crds.resources import RESOURCES, watched_by
from weir_crds.schema import Component
from weir_operator.settings import Settings
from weir_operator.wiring import WORKLOADS, Operator


class NoSource:
    def follow(self, kind: Any, **_: Any) -> Any:
        return kind


def test_it_watches_the_kinds_that_the_list_says() -> None:
    operator = Operator(None, Settings(), NoSource())  # type: ignore[arg-type]
    kinds = operator.controller.kinds
    assert {one.resource.kind for one in kinds} == set(watched_by(Component.OPERATOR))
    assert len(kinds) == len(watched_by(Component.OPERATOR))
    for one in kinds:
        assert (one.sweep is not None) == (one.resource.lifetime is not None)


def test_it_places_all_that_runs_on_hosts() -> None:
    placed = {one.resource.kind for one in WORKLOADS}
    assert placed == {one.kind for one in RESOURCES if one.is_workload}
    assert all(one.workload().kind == one.resource.kind for one in WORKLOADS)
