"""What is read from a Task."""

from typing import Any

import pytest

from support.tasks import task
from weir_crds.demand import Holding, Request, holding_of, request_of

GIB = 2**30


@pytest.mark.parametrize(
    ("spec", "request_"),
    [
        ({}, Request(cpu_millis=1000)),
        ({"resources": {"cpu": "2"}}, Request(cpu_millis=2000)),
        ({"resources": {"cpu": "500m", "memory": "1Gi"}}, Request(500, GIB)),
        ({"resources": {"cpu": 0}}, Request(0)),
        ({"resources": {"gpus": {"count": 2}}}, Request(gpu_count=2)),
        (
            {"resources": {"gpus": {"indices": [1, 0]}}, "placement": {"hostName": "n1"}},
            Request(gpu_indices=(0, 1), host_name="n1"),
        ),
        (
            {"placement": {"hostSelector": {"b": "2", "a": "1"}, "numaNode": 0}},
            Request(host_selector=(("a", "1"), ("b", "2")), numa_node=0),
        ),
    ],
)
def test_request(spec: dict[str, Any], request_: Request) -> None:
    assert request_of(task("t", "default", **spec)) == request_


@pytest.mark.parametrize(("millis", "cores"), [(0, 0), (500, 0), (1000, 1), (1500, 0), (4000, 4)])
def test_whole_cores_are_exclusive(millis: int, cores: int) -> None:
    assert Request(cpu_millis=millis).cores == cores


def test_a_bound_task_holds_what_its_status_says() -> None:
    bound = task("t", "team", resources={"cpu": 2, "memory": "1Gi", "gpus": {"count": 1}})
    bound["status"] = {
        "nodeName": "n1",
        "cpus": [4, 5],
        "numaNode": 1,
        "gpus": [{"index": 3, "uuid": "GPU-3"}],
    }
    assert holding_of(bound) == Holding("n1", (4, 5), 1, None, GIB, (3,))


@pytest.mark.parametrize(("cpu", "millis"), [("500m", 500), (0, 0)])
def test_without_cores_of_its_own_a_bound_task_holds_a_share(cpu: Any, millis: int) -> None:
    bound = task("t", "team", resources={"cpu": cpu})
    bound["status"] = {"nodeName": "n1", "cpus": []}
    assert holding_of(bound) == Holding("n1", shared_millis=millis)
