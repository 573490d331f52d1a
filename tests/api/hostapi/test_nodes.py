"""What clients see of hosts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from support.facade import ClientOf, as_
from support.hosts import GIB, host, lease
from support.nodes import STATS, World
from weir_api.hostapi.nodes.convert import machine_of, node_of
from weir_api.hostapi.nodes.figures import (
    NO_FIGURES,
    figures_of_daemon,
    figures_of_runner,
)
from weir_api.hostapi.nodes.wire import HEALTH_EXAMPLE, NODE_EXAMPLE, HealthOut, NodeOut
from weir_api.web.endpoint import endpoints_of
from weir_crds.names import ANNOTATION_RUNNER_METRICS

NODE_KEYS = {
    "hostname": str, "url": str, "total_cores": int, "cores_in_use": int, "available_cores": int,
    "status": str, "last_heartbeat": str, "numa_topology": dict, "gpu_info": list,
    "cpu_percent": float, "memory_percent": float, "memory_used_bytes": int,
    "memory_total_bytes": int, "current_avg_temp": float, "current_max_temp": float,
    "vm_capable": bool, "vfio_gpus": list, "runner_version": str,
}  # fmt: skip
GPU_KEYS = {
    "gpu_id", "name", "driver_version", "pci_bus_id", "gpu_utilization", "graphics_clock_mhz",
    "mem_utilization", "mem_clock_mhz", "memory_total_mib", "memory_used_mib", "memory_free_mib",
    "temperature", "fan_speed", "power_usage_mw", "power_limit_mw",
}  # fmt: skip


@pytest.fixture
def world() -> World:
    return World()


def as_node(told: Mapping[str, Any], **more: Any) -> Any:
    arguments = {
        "heard_at": lease()["spec"]["renewTime"],
        "figures": NO_FIGURES,
        "cores_in_use": 0.0,
    } | more
    return node_of(machine_of(told), **arguments)


async def test_a_node_has_these_keys_and_types(world: World, client_of: ClientOf) -> None:
    world.have(host(), lease())
    world.seen["n1"] = figures_of_daemon(STATS)
    world.in_use["n1"] = 1.5
    client = await client_of(endpoints_of(world.routes))
    async with client.get("/api/nodes") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        nodes = await response.json()
    TypeAdapter(list[NodeOut]).validate_python(nodes, strict=True)
    assert {key: type(value) for key, value in nodes[0].items()} == NODE_KEYS
    assert nodes[0]["gpu_info"][0].keys() == GPU_KEYS
    assert nodes == [
        {
            "hostname": "n1",
            "url": "https://n1:8443",
            "total_cores": 4,
            "cores_in_use": 2,
            "available_cores": 2,
            "status": "online",
            "last_heartbeat": "2026-11-22T10:00:00.123456+00:00",
            "numa_topology": {
                "0": {"cores": [0, 1], "memory_bytes": 32 * GIB},
                "1": {"cores": [2, 3], "memory_bytes": 32 * GIB},
            },
            "gpu_info": [
                {
                    "gpu_id": 0,
                    "name": "A100",
                    "driver_version": "550",
                    "pci_bus_id": "0000:3b:00.0",
                    "gpu_utilization": 70,
                    "graphics_clock_mhz": 1410,
                    "mem_utilization": 30,
                    "mem_clock_mhz": 1593,
                    "memory_total_mib": 80 * 1024,
                    "memory_used_mib": 20 * 1024,
                    "memory_free_mib": 60 * 1024,
                    "temperature": 61,
                    "fan_speed": 33,
                    "power_usage_mw": 250_000,
                    "power_limit_mw": 400_000,
                }
            ],
            "cpu_percent": 12.5,
            "memory_percent": 25.0,
            "memory_used_bytes": 16 * GIB,
            "memory_total_bytes": 64 * GIB,
            "current_avg_temp": 41.5,
            "current_max_temp": 50.0,
            "vm_capable": False,
            "vfio_gpus": [],
            "runner_version": "0.1.0",
        }
    ]


async def test_a_host_of_which_nothing_is_known_has_numbers_all_the_same(
    world: World, client_of: ClientOf
) -> None:
    bare = host(ready="Unknown")
    bare["status"] = {}
    world.have(bare)
    client = await client_of(endpoints_of(world.routes))
    async with client.get("/api/nodes") as response:
        [node] = await response.json()
    NodeOut.model_validate(node, strict=True)
    assert node == {
        "hostname": "n1",
        "url": "",
        "total_cores": 0,
        "cores_in_use": "N/A",
        "available_cores": 0,
        "status": "offline",
        "last_heartbeat": "2026-11-22T09:00:00.000000+00:00",
        "numa_topology": {},
        "gpu_info": [],
        "cpu_percent": 0.0,
        "memory_percent": 0.0,
        "memory_used_bytes": 0,
        "memory_total_bytes": 0,
        "current_avg_temp": None,
        "current_max_temp": None,
        "vm_capable": False,
        "vfio_gpus": [],
        "runner_version": None,
    }


def test_a_gpu_that_tells_nothing_is_unknown_in_all() -> None:
    [gpu] = as_node(host())["gpu_info"]
    unknown = {key for key, value in gpu.items() if value == -1}
    told = {"gpu_id", "name", "driver_version", "pci_bus_id", "memory_total_mib"}
    assert unknown == GPU_KEYS - told


def test_reserved_cores_are_not_available() -> None:
    told = host()
    told["spec"]["reserved"] = {"cpus": [0]}
    node = as_node(told, cores_in_use=2.0)
    assert (node["total_cores"], node["cores_in_use"], node["available_cores"]) == (4, 2, 1)
    assert as_node(told, cores_in_use=9.0)["available_cores"] == 0


def test_a_host_that_can_run_machines() -> None:
    qemu = {"name": "qemu", "version": "9", "accel": "kvm", "ready": True}
    assert as_node(host(engines=[qemu]))["vm_capable"] is True
    assert as_node(host(engines=[qemu | {"ready": False}]))["vm_capable"] is False


def test_an_offline_host_tells_no_figures(world: World) -> None:
    world.have(host(ready="Unknown"), lease())
    world.seen["n1"] = figures_of_daemon(STATS)
    [row] = world.rows.rows()
    assert (row.node["cpu_percent"], row.node["memory_total_bytes"]) == (0.0, 64 * GIB)


def test_an_external_host_tells_what_its_runner_told(world: World) -> None:
    metrics = {
        "cpu_percent": 50,
        "memory_percent": 10.0,
        "memory_used_bytes": GIB,
        "memory_total_bytes": 10 * GIB,
        "current_avg_temp": None,
        "current_max_temp": 70,
        "gpu_info": [{"gpu_id": 3, "name": "X", "more": {"a": 1}}],
        "vm_capable": True,
        "vfio_gpus": [{"gpu_id": 1}],
        "runner_version": "0.2.0",
    }
    told = host(endpoint=None, runnerURL="http://10.0.0.9:8001", info={})
    told["spec"]["external"] = True
    world.have(told, lease(annotations={ANNOTATION_RUNNER_METRICS: json.dumps(metrics)}))
    [row] = world.rows.rows()
    node = row.node
    assert node["url"] == "http://10.0.0.9:8001"
    assert (node["cpu_percent"], node["memory_percent"]) == (50.0, 10.0)
    assert (node["memory_used_bytes"], node["memory_total_bytes"]) == (GIB, 10 * GIB)
    assert (node["current_avg_temp"], node["current_max_temp"]) == (None, 70.0)
    assert node["gpu_info"] == [{"gpu_id": 3, "name": "X", "more": {"a": 1}}]
    assert (node["vm_capable"], node["vfio_gpus"]) == (True, [{"gpu_id": 1}])
    assert node["runner_version"] == "0.2.0"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "x",
        {"host": 1, "gpus": 2},
        {"host": {"cpuPercent": "9", "memory": [], "temperature": 3}, "gpus": [1, {"index": "0"}]},
        {"host": {"cpuPercent": float("nan"), "memory": {"totalBytes": True}}, "gpus": [{}]},
        {"host": {"cpuPercent": float("inf"), "memory": {"totalBytes": -5}}},
        {"host": {"cpuPercent": 10**400}},
    ],
)
def test_nonsense_of_another_machine_is_nothing(answer: Any) -> None:
    assert figures_of_daemon(answer) == NO_FIGURES
    assert figures_of_runner(answer) == NO_FIGURES


def test_numbers_beyond_all_measure_do_not_break_the_sums(world: World) -> None:
    for name in ("a", "b", "c"):
        world.have(host(name))
        world.seen[name] = figures_of_daemon(
            {"host": {"memory": {"totalBytes": 2**62, "availableBytes": -(2**62)}}}
        )
    world.history.take()
    aggregate = json.loads(world.history.encoded())["aggregate"][0]
    assert aggregate["totalMemBytes"] == 3 * (2**53 - 1)


async def test_nodes_come_by_name_and_go_with_their_hosts(
    world: World, client_of: ClientOf
) -> None:
    world.have(host("b"), host("a"), lease("a"))
    client = await client_of(endpoints_of(world.routes))

    async def names() -> list[str]:
        async with client.get("/api/nodes") as response:
            return [node["hostname"] for node in await response.json()]

    assert await names() == ["a", "b"]
    world.hosts.apply("DELETED", host("a", version=2))
    world.rows.changed()
    assert await names() == ["b"]


def test_only_what_changed_is_made_anew(world: World) -> None:
    world.have(host("a"), host("b"), lease("a"), lease("b"))
    first = world.rows.rows()
    assert [now is then for now, then in zip(world.rows.rows(), first, strict=True)] == [True] * 2
    for change in (
        lambda: world.have(lease("a", version=2)),
        lambda: world.have(host("a", version=2)),
        lambda: world.seen.update(a=replace(NO_FIGURES, cpu_percent=1.0)),
        lambda: world.in_use.update(a=1.0),
    ):
        before = world.rows.rows()
        change()
        after = world.rows.rows()
        assert [now is then for now, then in zip(after, before, strict=True)] == [False, True]


def test_what_the_document_shows_is_what_clients_get() -> None:
    assert {key: type(value) for key, value in NODE_EXAMPLE.items()} == NODE_KEYS
    NodeOut.model_validate(NODE_EXAMPLE, strict=True)
    TypeAdapter(HealthOut).validate_python(HEALTH_EXAMPLE, strict=True)


async def test_who_may_see_hosts(world: World, client_of: ClientOf) -> None:
    client = await client_of(endpoints_of(world.routes))
    for path in ("/api/nodes", "/api/health"):
        for caller, status in (("anonymous", 401), ("newcomer", 403), ("viewer", 200)):
            async with client.get(path, headers=as_(caller)) as response:
                assert response.status == status, (path, caller)
