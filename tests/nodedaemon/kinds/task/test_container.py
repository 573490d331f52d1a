"""What container a Task's run becomes."""

from typing import Any

from support.tasks import task
from weir_crds.task import TaskSpec
from weir_nodedaemon.engines.port import ContainerDefaults, ContainerSpec
from weir_nodedaemon.kinds.task.container import container_spec


def container(**spec: Any) -> ContainerSpec:
    """Return the container of a bound Task."""
    obj = task("t", "default", **spec)
    obj["metadata"]["uid"] = "u"
    obj["status"] = {"nodeName": "n1", "runID": 1, "cpus": []}
    return container_spec(
        obj,
        TaskSpec.model_validate(obj["spec"]),
        {},
        defaults=ContainerDefaults("n1", pids_limit=500),
        pool=(0, 1),
        memory_nodes=frozenset({0}),
    )


def test_its_processes_are_limited_by_the_host_unless_the_task_says_otherwise() -> None:
    assert container().pids_limit == 500
    assert container(resources={"cpu": 1, "pids": 20000}).pids_limit == 20000
    assert container(resources={"cpu": 1, "pids": 16}).pids_limit == 16


def test_what_it_may_write_is_asked_of_the_engine_and_noted_for_who_measures() -> None:
    limited = container(resources={"cpu": 1, "ephemeralStorage": "2Gi"})
    assert limited.layer_bytes == 2 * 2**30
    assert limited.labels["weir.dev/layer-limit"] == str(2 * 2**30)
    free = container()
    assert free.layer_bytes is None
    assert "weir.dev/layer-limit" not in free.labels


def test_without_a_word_of_the_administrator_no_container_is_without_a_limit() -> None:
    assert ContainerDefaults("n1").pids_limit == 4096
