"""Tasks are bound to hosts, on a real API server, whatever happens to it and to the operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from support.aio import until, until_async
from support.cluster import Cluster
from support.madeup import create_host, create_tasks, numa_capacity, tasks_in
from support.madeup_daemon import Daemons, Witness
from support.operator_process import OperatorProcess
from support.tasks import condition, task
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api
from weir_kube.store import Object


@asynccontextmanager
async def daemons(api: Api, namespace: str) -> AsyncIterator[tuple[Daemons, Witness]]:
    """Run made-up daemons, and a witness, until the block ends."""
    ended, witness = Daemons(api, namespace, run_seconds=0.1), Witness(api, namespace)
    tasks = [asyncio.create_task(ended.run()), asyncio.create_task(witness.run())]
    try:
        yield ended, witness
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def bound(api: Api, namespace: str, count: int) -> dict[str, Object]:
    """Wait until so many Tasks have hosts, and return all."""

    async def look() -> dict[str, Object]:
        found = await tasks_in(api, namespace)
        have = sum("nodeName" in one.get("status", {}) for one in found.values())
        return found if have >= count else {}

    return await until_async(look, f"{count} bound", timeout=60, every=0.2)


async def test_a_task_gets_a_host_and_cores(
    nursery: str, operator: OperatorProcess, api: Api
) -> None:
    await create_host(api, "n1", numa_capacity(2, 4))
    await create_tasks(api, [task("one", nursery, resources={"cpu": 2, "memory": "1Gi"})])
    found = (await bound(api, nursery, 1))["one"]
    assert found["status"]["nodeName"] == "n1"
    assert found["status"]["cpus"] == [0, 1]
    assert found["status"]["runID"] == 1
    assert condition(found, "Scheduled")["message"] == "n1, cores 0-1 (NUMA 0)"
    assert not found["metadata"].keys() & {"finalizers", "annotations"}
    host = await api.get(HOST, "n1")
    assert host["spec"]["approval"] == "Approved"
    assert condition(host, "Approved")["status"] == "True"


async def test_two_hundred_tasks_cost_one_write_each(
    world: Cluster, nursery: str, operator: OperatorProcess, api: Api
) -> None:
    for number in range(4):
        await create_host(api, f"n{number}", numa_capacity(2, 25, 512))
    before = world.requests()
    await create_tasks(api, [task(f"t{number}", nursery) for number in range(200)])
    found = await bound(api, nursery, 200)
    cores = [
        (one["status"]["nodeName"], core)
        for one in found.values()
        for core in one["status"]["cpus"]
    ]
    assert len(cores) == len(set(cores)) == 200
    assert operator.metric('weir_operator_binds_total{result="bound"}') == 200
    made = world.requests() - before
    assert {
        (resource, verb): count
        for (_, resource, verb), count in made.items()
        if resource.startswith("tasks") and verb in ("POST", "PUT", "PATCH")
    } == {("tasks", "POST"): 200, ("tasks/status", "PATCH"): 200}


@pytest.mark.parametrize("fault", ["operator killed", "API server killed"])
async def test_a_fault_in_the_middle_of_a_run(
    world: Cluster, nursery: str, operator: OperatorProcess, api: Api, fault: str
) -> None:
    """150 Tasks on 12 cores: each bound once, never two on a core, none left behind."""
    for number in range(3):
        await create_host(api, f"n{number}", numa_capacity(2, 2))
    async with daemons(api, nursery) as (ended, witness):
        await create_tasks(api, [task(f"t{number}", nursery) for number in range(150)])

        def reached(count: int) -> bool:
            operator.start()  # as a supervisor would: it ends when its Lease is lost
            return ended.finished() >= count

        for share in (30, 70):
            await until(partial(reached, share), "under way", timeout=60)
            if fault == "operator killed":
                operator.kill()
            else:
                world.restart_apiserver()
        await until(partial(reached, 150), "all ended", timeout=120, every=0.2)
        await until(lambda: len(witness.binds) == 150, "all seen")
    assert witness.doubled == []
    assert witness.most_at_once <= 12
    assert all(len(binds) == 1 for binds in witness.binds.values())


async def test_what_was_deleted_while_nobody_led_gives_its_cores_back(
    nursery: str, operator: OperatorProcess, api: Api
) -> None:
    await create_host(api, "n1", numa_capacity(1, 1))
    await create_tasks(api, [task("a", nursery)])
    await bound(api, nursery, 1)
    await create_tasks(api, [task("b", nursery)])
    operator.kill()
    await api.delete(TASK, "a", nursery)
    operator.start()
    assert (await bound(api, nursery, 1))["b"]["status"]["cpus"] == [0]
