"""What placing knows of a Host."""

from typing import Any

import pytest

from weir_crds.capacity import Gpu
from weir_crds.facts import facts_of

GIB = 2**30


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
    assert (facts.obstacles, facts.ready_engines) == ((), {"docker"})
    assert (facts.node_of(3), facts.node_of(0)) == (1, None)


@pytest.mark.parametrize(
    ("made", "obstacle"),
    [
        (host({"approval": "Pending"}), "not approved"),
        (host({"approval": "Rejected"}), "not approved"),
        (host(Ready="Unknown"), "not ready"),
        (host(Ready="False"), "not ready"),
        (host(DiskPressure="True"), "disk full"),
        (host(DiskPressure="False"), None),
        (host({"unschedulable": True}), "cordoned"),
        (host({"external": True}), "external"),
    ],
)
def test_obstacles(made: dict[str, Any], obstacle: str | None) -> None:
    assert facts_of(made).obstacles == ((obstacle,) if obstacle else ())


@pytest.mark.parametrize(
    ("conditions", "engines", "ready"),
    [
        ({}, [], {"docker"}),
        ({"DockerReady": "False"}, [], set()),
        ({"DockerReady": "False", "QemuReady": "True"}, [], {"qemu"}),
        ({"DockerReady": "Unknown"}, [{"name": "docker", "ready": True}], set()),
        (
            {},
            [{"name": "fake", "ready": True}, {"name": "qemu", "ready": False}],
            {"docker", "fake"},
        ),
    ],
)
def test_an_engine_is_ready_by_its_condition_or_else_as_it_is_listed(
    conditions: dict[str, str], engines: list[dict[str, Any]], ready: set[str]
) -> None:
    made = host(**conditions)
    made["status"]["engines"] = engines
    assert facts_of(made).ready_engines == ready


def test_a_host_that_has_told_nothing_yet() -> None:
    facts = facts_of({"metadata": {"name": "n1"}, "spec": {}})
    assert (facts.cores, facts.memory_bytes) == (0, 0)
    assert facts.obstacles == ("not approved", "not ready")


def test_a_host_without_numa_is_one_node() -> None:
    made = host()
    del made["status"]["capacity"]["numa"]
    assert facts_of(made).numa == {0: {0, 1, 2, 3}}
