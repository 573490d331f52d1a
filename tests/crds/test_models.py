"""Models read what the API server holds."""

from typing import Any

import pytest
from pydantic import ValidationError

from weir_crds.host import Host
from weir_crds.task import Task
from weir_crds.workload import Resources


def task(**spec: Any) -> Task:
    return Task.model_validate({"spec": {"image": "x", **spec}})


def test_names_are_those_of_the_api() -> None:
    found = Task.model_validate(
        {
            "metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7"},
            "spec": {"image": "x", "stopGraceSeconds": 3, "ttlSecondsAfterFinished": 4},
            "status": {"runID": 2, "nodeName": "n1", "startedAt": "2026-11-22T12:00:00+02:00"},
        }
    )
    assert (found.metadata.name, found.metadata.resource_version) == ("a", "7")
    assert (found.spec.stop_grace_seconds, found.spec.ttl_seconds_after_finished) == (3, 4)
    assert (found.status.run_id, found.status.node_name) == (2, "n1")
    assert found.status.started_at is not None
    assert found.status.started_at.isoformat() == "2026-11-22T10:00:00+00:00"


def test_a_field_of_a_newer_version_is_no_reason_to_fail() -> None:
    assert Task.model_validate({"spec": {"image": "x", "later": 1}, "more": {}}).spec.image == "x"


def test_a_null_counts_as_absent() -> None:
    found = task(args=None, priority=None, placement={"hostSelector": {"a": None, "b": "c"}})
    assert (found.spec.args, found.spec.priority) == (None, 0)
    assert found.spec.placement is not None
    assert found.spec.placement.host_selector == {"b": "c"}


def test_an_object_without_status_has_an_empty_one() -> None:
    assert task().status.finished_at is None
    assert Host.model_validate({}).spec.approval == "Pending"


def test_nothing_is_converted_by_guessing() -> None:
    for spec in (
        {"priority": "1"},
        {"suspend": "true"},
        {"suspend": 1},
        {"resources": {"cpu": True}},
    ):
        with pytest.raises(ValidationError):
            task(**spec)


def test_a_model_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        task().spec.priority = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("cpu", "exclusive", "shared"),
    [(4, 4, 0), ("4", 4, 0), ("2000m", 2, 0), ("500m", 0, 500), ("1.5", 0, 1500), (0, 0, 0)],
)
def test_cores_are_whole_and_pinned_or_a_share(cpu: int | str, exclusive: int, shared: int) -> None:
    resources = Resources.model_validate({"cpu": cpu})
    assert (resources.exclusive_cores, resources.shared_millis) == (exclusive, shared)


def test_sizes_are_in_bytes() -> None:
    resources = Resources.model_validate({"memory": "8Gi", "shmSize": "1k"})
    assert (resources.memory_bytes, resources.shm_bytes) == (8 * 2**30, 1000)
    assert (Resources().memory_bytes, Resources().shm_bytes) == (None, None)


@pytest.mark.parametrize(
    ("gpus", "count"), [(None, 0), ({"count": 2}, 2), ({"count": 0}, 0), ({"indices": [0, 3]}, 2)]
)
def test_gpus_are_counted(gpus: dict[str, Any] | None, count: int) -> None:
    assert Resources.model_validate({"gpus": gpus}).gpu_count == count


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(ValidationError, match=r"gpus\.indices needs placement\.hostName"):
        task(resources={"gpus": {"indices": [0]}})
    with pytest.raises(ValidationError, match=r"spec\.env\n.*duplicate entry 'A'"):
        task(env=[{"name": "A"}, {"name": "A"}])
