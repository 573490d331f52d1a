"""What people see: columns, short names, explanations."""

import re

import pytest

from support.api_client import Client
from support.cluster import Cluster
from support.tasks import BUSYBOX, task

TIME = "2026-11-22T10:00:00Z"


def condition(type: str, status: str, reason: str) -> dict[str, str]:
    return {"type": type, "status": status, "reason": reason, "lastTransitionTime": TIME}


def rows(table: str) -> list[dict[str, str]]:
    """Read kubectl's table: cells stand below their headings."""
    heading, *lines = table.rstrip("\n").split("\n")
    columns = [(match[0].strip(), match.start()) for match in re.finditer(r"\S+\s*", heading)]
    ends = [start for _, start in columns[1:]] + [10**6]
    cells = [
        {name: line[start:end].strip() for (name, start), end in zip(columns, ends, strict=True)}
        for line in lines
    ]
    for row in cells:
        row.pop("AGE")
    return cells


def test_columns_of_tasks(cluster: Cluster, admin: Client, namespace: str) -> None:
    waiting = task("a-waits", namespace, resources={"cpu": "500m", "gpus": {"count": 2}})
    gpus = {"cpu": 4, "gpus": {"indices": [0, 3]}}
    running = task("b-runs", namespace, resources=gpus, placement={"hostName": "n1"})
    ended = task("c-ended", namespace)
    scheduled = condition("Scheduled", "True", "Bound")
    for obj, status in (
        (waiting, {
            "phase": "Queued",
            "conditions": [condition("Scheduled", "False", "InsufficientCapacity")],
        }),
        (running, {
            "phase": "Running", "nodeName": "n1", "runID": 1, "cpus": [2, 3, 4, 5],
            "conditions": [scheduled, condition("Started", "True", "ContainerStarted")],
        }),
        (ended, {
            "phase": "Failed", "nodeName": "n1", "runID": 2, "cpus": [0], "exitCode": 137,
            "finishedAt": TIME,
            "conditions": [
                scheduled,
                condition("Started", "True", "ContainerStarted"),
                condition("Succeeded", "False", "OOMKilled"),
            ],
        }),
    ):  # fmt: skip
        assert admin.create(obj) is None
        assert admin.patch(obj, {"status": status}, "status") is None
    names = ("NAME", "STATE", "HOST", "CPU", "GPU", "EXIT")
    narrow = [
        dict(zip(names, cells, strict=True))
        for cells in (
            ("a-waits", "Queued", "", "500m", "2", ""),
            ("b-runs", "Running", "n1", "4", "[0,3]", ""),
            ("c-ended", "Failed", "n1", "1", "", "137"),
        )
    ]
    wide = [
        {"REASON": "InsufficientCapacity", "CPUS": "", "IMAGE": BUSYBOX, "RUN": ""},
        {"REASON": "ContainerStarted", "CPUS": "[2,3,4,5]", "IMAGE": BUSYBOX, "RUN": "1"},
        {"REASON": "OOMKilled", "CPUS": "[0]", "IMAGE": BUSYBOX, "RUN": "2"},
    ]
    assert rows(cluster.kubectl("get", "wt", "-n", namespace)) == narrow
    both = [left | right for left, right in zip(narrow, wide, strict=True)]
    assert rows(cluster.kubectl("get", "wt", "-n", namespace, "-o", "wide")) == both


def test_columns_of_hosts(cluster: Cluster, admin: Client) -> None:
    obj = {"apiVersion": "weir.dev/v1alpha1", "kind": "Host", "metadata": {"name": "columns"}}
    status = {
        "capacity": {
            "cpus": 16,
            "memory": "64Gi",
            "gpus": [{"index": 0, "uuid": "GPU-0", "name": "NVIDIA-A100"}],
        },
        "allocated": {"cpus": 5, "tasks": 2},
        "engines": [
            {"name": "qemu", "ready": False},
            {"name": "docker", "version": "20.10.24", "ready": True},
        ],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.5"}],
        "info": {"kernel": "6.1.0", "daemonVersion": "0.1.0"},
        "conditions": [
            condition("DockerReady", "True", "EngineReady"),
            condition("Ready", "Unknown", "LeaseExpired"),
        ],
    }
    assert admin.create(obj) is None
    assert admin.patch(obj, {"status": status}, "status") is None
    narrow = {
        **{"NAME": "columns", "READY": "Unknown", "APPROVAL": "Pending", "CORDONED": "false"},
        **{"CPUS": "16", "USED": "5", "MEMORY": "64Gi", "GPU": "NVIDIA-A100", "TASKS": "2"},
    }
    wide = {
        **{"REASON": "LeaseExpired", "ENGINE": "docker", "ADDRESS": "10.0.0.5"},
        **{"KERNEL": "6.1.0", "VERSION": "0.1.0"},
    }
    assert rows(cluster.kubectl("get", "wh", "columns")) == [narrow]
    assert rows(cluster.kubectl("get", "wh", "columns", "-o", "wide")) == [narrow | wide]
    assert admin.delete(obj) is None


def test_the_category_names_all_our_kinds(cluster: Cluster, admin: Client, namespace: str) -> None:
    assert admin.create(task("a", namespace)) is None
    assert "task.weir.dev/a" in cluster.kubectl("get", "weir", "-n", namespace, "-o", "name")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("wt.spec.resources.cpu", "Write 500m, not 0.5"),
        ("wt.spec.mounts", "Needs the label weir.dev/allow-privileged=true"),
        ("wt.status.finishedAt", "the one and only end"),
        ("wh.spec.unschedulable", "cordoned"),
        ("wh.status.capacity.numa.distances", "10 is itself"),
    ],
)
def test_kubectl_explains_a_field(field: str, words: str, cluster: Cluster) -> None:
    assert words in " ".join(cluster.kubectl("explain", field).split())


def test_tasks_of_a_host_can_be_selected(cluster: Cluster, admin: Client, namespace: str) -> None:
    for name, host in (("a", "n1"), ("b", "n2"), ("c", None)):
        obj = task(name, namespace)
        assert admin.create(obj) is None
        if host:
            assert admin.patch(obj, {"status": {"nodeName": host, "runID": 1}}, "status") is None
    selected = cluster.kubectl(
        *("get", "wt", "-n", namespace, "--field-selector=status.nodeName=n1", "-o", "name")
    )
    assert selected.split() == ["task.weir.dev/a"]
