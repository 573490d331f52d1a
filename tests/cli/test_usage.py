from typing import Any

import pytest

from support.madeup import numa_capacity
from weir_cli.usage import describe_lacks, usage_of_hosts
from weir_crds.demand import request_of

READY = [
    {"type": "Ready", "status": "True", "reason": "DaemonReady", "message": ""},
    {"type": "DockerReady", "status": "True", "reason": "EngineReady", "message": ""},
]


def host(name: str = "n1", **changes: Any) -> dict[str, Any]:
    """A host of 2 NUMA nodes, 4 cores each, 64Gi and 2 GPUs; core 0 and 4Gi are reserved."""
    spec = {"approval": "Approved", "reserved": {"cpus": [0], "memory": "4Gi"}}
    return {
        "metadata": {"name": name, "labels": changes.get("labels", {})},
        "spec": spec | changes.get("spec", {}),
        "status": {
            "capacity": changes.get("capacity", numa_capacity(2, 4, gpus=2)),
            "conditions": changes.get("conditions", READY),
        },
    }


def task(
    name: str,
    resources: dict[str, Any] | None = None,
    placement: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"resources": resources or {}, "placement": placement},
        "status": status,
    }


def on_n1(name: str, resources: dict[str, Any], **status: Any) -> dict[str, Any]:
    return task(name, resources, nodeName="n1", runID=1, **status)


BUSY = [
    on_n1("own", {"cpu": 4, "memory": "20Gi"}, cpus=[1, 2, 3, 4]),
    on_n1("shared", {"cpu": "1500m"}, cpus=[]),
    on_n1("tied", {"cpu": 0, "memory": "20Gi"}, cpus=[], numaNode=1),
    on_n1("gpu", {"cpu": 0}, cpus=[], gpus=[{"index": 1}]),
    on_n1("ended", {"cpu": 3, "memory": "20Gi"}, cpus=[5, 6, 7], finishedAt="2026-11-22T10:00:00Z"),
    task("elsewhere", {"cpu": 1}, nodeName="n2", cpus=[5]),
]


def test_use_is_what_bound_and_unfinished_tasks_hold() -> None:
    (usage,) = usage_of_hosts([host()], BUSY)
    assert (usage.exclusive, usage.free_cores, usage.shared_cores) == (4, 3, 2)
    assert (usage.shared_millis, usage.memory_held, usage.tasks) == (1500, 40 * 2**30, 4)
    assert [(node.free, len(node.held)) for node in usage.nodes] == [(0, 3), (3, 1)]
    assert {index: str(holder) for index, holder in usage.gpus.items() if holder} == {
        1: "default/gpu"
    }


@pytest.mark.parametrize(
    ("resources", "placement", "expected"),
    [
        ({"cpu": 1}, None, []),
        ({"cpu": 2}, None, ["1 of 7 cores free (2 more must stay shared), 2 needed"]),
        ({"cpu": 5}, {"numaNode": 1}, ["has 4 cores for work on NUMA node 1, 5 needed"]),
        ({"cpu": 8}, None, ["has 7 cores for work, 8 needed"]),
        ({"cpu": 1}, {"numaNode": 0}, ["0 of 3 cores free on NUMA node 0, 1 needed"]),
        ({"cpu": 1}, {"numaNode": 2}, ["has no NUMA node 2"]),
        ({"cpu": "1500m"}, None, []),
        ({"cpu": "1600m"}, None, ["1.5 of 3 shared cores left, 1.6 needed"]),
        ({"cpu": 0}, None, []),
        ({"memory": "20Gi"}, None, []),
        ({"memory": "21Gi"}, None, ["20Gi of 60Gi memory free, 21Gi needed"]),
        ({"memory": "61Gi"}, None, ["has 60Gi memory for work, 61Gi needed"]),
        (
            {"memory": "20Gi"},
            {"numaNode": 1},
            ["12Gi of 32Gi memory free on NUMA node 1, 20Gi needed"],
        ),
        (
            {"memory": "40Gi"},
            {"numaNode": 1},
            ["has 32Gi memory for work on NUMA node 1, 40Gi needed"],
        ),
        ({"gpus": {"count": 1}}, None, []),
        ({"gpus": {"count": 2}}, None, ["1 of 2 gpus free, 2 needed"]),
        ({"gpus": {"count": 3}}, None, ["has 2 gpus, 3 needed"]),
        ({"gpus": {"indices": [0, 1]}}, {"hostName": "n1"}, ["gpu 1 is in use"]),
        ({"gpus": {"indices": [7]}}, {"hostName": "n1"}, ["has no gpu 7"]),
        ({"cpu": 99}, {"hostName": "n2"}, ["the Task asks for host n2"]),
        ({}, {"hostSelector": {"gpu": "a100"}}, ["lacks the label gpu=a100"]),
        (
            {"cpu": 3, "memory": "30Gi"},
            None,
            [
                "1 of 7 cores free (2 more must stay shared), 3 needed",
                "20Gi of 60Gi memory free, 30Gi needed",
            ],
        ),
    ],
)
def test_all_that_a_busy_host_lacks_is_told(
    resources: dict[str, Any], placement: dict[str, Any] | None, expected: list[str]
) -> None:
    (usage,) = usage_of_hosts([host()], BUSY)
    assert describe_lacks(request_of(task("asking", resources, placement)), usage) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spec": {"unschedulable": True}}, ["is cordoned (spec.unschedulable)"]),
        (
            {"spec": {"external": True}},
            ["is external: a runner of another make, which is given no Tasks"],
        ),
        ({"spec": {"approval": "Pending"}}, ["is not approved yet"]),
        ({"spec": {"approval": "Rejected"}}, ["is rejected"]),
        ({"conditions": []}, ["is not ready"]),
        (
            {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "LeaseExpired"}]},
            ["is not ready (LeaseExpired)"],
        ),
        ({"conditions": READY[:1]}, ["has no working Docker"]),
        (
            {"conditions": [*READY, {"type": "DiskPressure", "status": "True"}]},
            ["has a full disk"],
        ),
        ({"capacity": {}}, ["has not told what it has"]),
        ({"capacity": {"cpus": 1}}, ["has no core for work, 1 needed"]),
        ({"capacity": {"cpus": 4, "memory": "8Gi"}}, []),
    ],
)
def test_what_keeps_everything_off_a_host(changes: dict[str, Any], expected: list[str]) -> None:
    (usage,) = usage_of_hosts([host(**changes)], [])
    assert describe_lacks(request_of(task("asking")), usage) == expected


def test_a_share_that_is_tied_to_a_numa_node_keeps_its_cores_there() -> None:
    """As the operator sees it: what is said to lack nothing is placed."""
    tied = task("tied", {"cpu": "1500m"}, {"numaNode": 1}, nodeName="n1", cpus=[], numaNode=1)
    (usage,) = usage_of_hosts([host()], [tied])
    asked = request_of(task("asking", {"cpu": 3}, {"numaNode": 1}))
    assert describe_lacks(asked, usage) == [
        "2 of 4 cores free on NUMA node 1 (2 more must stay shared), 3 needed"
    ]
