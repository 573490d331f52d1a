"""What is read from the objects."""

from typing import Any

import pytest

from support.tasks import task
from weir_crds.capacity import Gpu
from weir_crds.demand import Request, request_of
from weir_operator.scheduling.allocation import Allocation, allocation_of, owner_of
from weir_operator.scheduling.facts import facts_of

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


def test_what_a_bound_task_holds() -> None:
    bound = task("t", "team", resources={"cpu": 2, "memory": "1Gi"})
    bound["status"] = {
        "nodeName": "n1",
        "cpus": [4, 5],
        "numaNode": 1,
        "gpus": [{"index": 3, "uuid": "GPU-3"}],
    }
    assert allocation_of(bound) == Allocation("n1", "namespace:team", (4, 5), 1, None, GIB, (3,))


def test_what_a_bound_task_on_the_shared_pool_holds() -> None:
    bound = task("t", "team", resources={"cpu": "500m"})
    bound["status"] = {"nodeName": "n1", "cpus": []}
    assert allocation_of(bound) == Allocation("n1", "namespace:team", shared_millis=500)


def test_an_owner_is_a_label_or_a_namespace() -> None:
    made = task("t", "team")
    assert owner_of(made) == "namespace:team"
    made["metadata"]["labels"] = {"weir.dev/owner": "7"}
    assert owner_of(made) == "owner:7"


def host(spec: dict[str, Any] | None = None, **conditions: str) -> dict[str, Any]:
    statuses = {"Ready": "True", "DockerReady": "True"} | conditions
    return {
        "metadata": {"name": "n1", "labels": {"gpu": "a100"}},
        "spec": {"approval": "Approved"} | (spec or {}),
        "status": {
            "capacity": {
                "cpus": 4,
                "memory": "8Gi",
                "numa": [{"id": 1, "cpus": [2, 3]}, {"id": 0, "cpus": [0, 1]}],
                "gpus": [{"index": 0, "uuid": "GPU-0", "numaNode": 1}],
            },
            "conditions": [{"type": kind, "status": value} for kind, value in statuses.items()],
        },
    }


def test_facts() -> None:
    facts = facts_of(host({"reserved": {"cpus": [0], "memory": "1Gi"}}))
    assert facts.numa == {0: {1}, 1: {2, 3}}
    assert facts.cores == 3
    assert facts.memory_bytes == 7 * GIB
    assert facts.gpus == (Gpu(0, "GPU-0", 1),)
    assert facts.labels == {"gpu": "a100"}
    assert facts.unavailable is None
    assert (facts.node_of(3), facts.node_of(0)) == (1, None)


@pytest.mark.parametrize(
    ("made", "unavailable"),
    [
        (host({"approval": "Pending"}), "not approved"),
        (host({"approval": "Rejected"}), "not approved"),
        (host(Ready="Unknown"), "not ready"),
        (host(Ready="False"), "not ready"),
        (host(DockerReady="False"), "Docker not ready"),
        (host(DiskPressure="True"), "disk full"),
        (host(DiskPressure="False"), None),
        (host({"unschedulable": True}), "cordoned"),
    ],
)
def test_unavailable(made: dict[str, Any], unavailable: str | None) -> None:
    assert facts_of(made).unavailable == unavailable


def test_a_host_that_has_told_nothing_yet() -> None:
    facts = facts_of({"metadata": {"name": "n1"}, "spec": {}})
    assert (facts.cores, facts.memory_bytes, facts.unavailable) == (0, 0, "not approved")


def test_a_host_without_numa_is_one_node() -> None:
    made = host()
    del made["status"]["capacity"]["numa"]
    assert facts_of(made).numa == {0: {0, 1, 2, 3}}
