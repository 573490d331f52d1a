"""Tasks are bound to hosts, on a real API server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from support.cluster import Cluster
from support.madeup import create_host, create_tasks, numa_capacity, tasks_in
from support.operator_process import OperatorProcess
from support.tasks import condition, task
from weir_crds.kinds import HOST
from weir_kube.api import Api


async def until(look: Callable[[], Awaitable[Any]], what: str, seconds: float = 8) -> Any:
    """Return the first true result of ``look``."""
    deadline = time.monotonic() + seconds
    while not (seen := await look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return seen


async def test_a_task_gets_a_host_and_cores(
    world: Cluster, operator: OperatorProcess, api: Api
) -> None:
    namespace = world.create_namespace()
    await create_host(api, "slice-1", numa_capacity(2, 4))
    await create_tasks(api, [task("one", namespace, resources={"cpu": 2, "memory": "1Gi"})])

    async def bound() -> dict[str, Any]:
        found = (await tasks_in(api, namespace))["one"]
        return found if found.get("status", {}).get("nodeName") else {}

    found = await until(bound, "bound")
    assert found["status"]["nodeName"] == "slice-1"
    assert found["status"]["cpus"] == [0, 1]
    assert found["status"]["runID"] == 1
    assert condition(found, "Scheduled")["message"] == "slice-1, cores 0-1 (NUMA 0)"
    assert "managedFields" in found["metadata"]
    assert set(found["metadata"]) & {"finalizers", "annotations"} == set()
    await api.delete(HOST, "slice-1")
