import asyncio
import time

from support.daemon_server import CONTAINER, UID, ScriptedEngine, World
from weir_nodedaemon.engines.port import ContainerUsage, EngineUnavailableError
from weir_nodedaemon.server.stats import HostNumbers, Stats

IDLE = HostNumbers(2, 0.0, (0.0, 0.0, 0.0), 2**30, 2**29)


async def test_host_and_running_tasks_are_told(world: World) -> None:
    world.have_task()
    world.engine.add(CONTAINER)
    async with world.get("/v1/stats") as response:
        stats = await response.json()
    before = time.monotonic() - 60
    assert before < stats["tasks"][0].pop("sampledSeconds") <= time.monotonic()
    assert stats["tasks"] == [
        {
            "namespace": "default",
            "name": "train",
            "uid": UID,
            "run": 1,
            "cpuSeconds": 1.5,
            "memoryBytes": 4096,
            "pids": 2,
        }
    ]
    host = stats["host"]
    assert host["cpus"] >= 1
    assert 0 <= host["cpuPercent"] <= 100
    assert len(host["load"]) == 3
    assert 0 < host["memory"]["availableBytes"] < host["memory"]["totalBytes"]


async def test_a_task_that_has_ended_is_not_told(world: World) -> None:
    world.have_task(finishedAt="2026-11-22T10:00:00Z")
    async with world.get("/v1/stats") as response:
        assert (await response.json())["tasks"] == []


async def test_many_callers_cost_one_look_in_two_seconds(world: World) -> None:
    world.have_task()
    now = [100.0]
    stats = Stats(world.engine, world.tasks.list, sample=lambda: IDLE, clock=lambda: now[0])
    await asyncio.gather(*(stats.get() for _ in range(20)))
    assert world.engine.usage_calls == 1
    now[0] = 102.5
    await stats.get()
    assert world.engine.usage_calls == 2


async def test_an_engine_that_fails_leaves_the_numbers_out(world: World) -> None:
    class Failing(ScriptedEngine):
        async def usage(self, name: str) -> ContainerUsage | None:
            raise EngineUnavailableError("away")

    world.have_task()
    stats = await Stats(Failing(), world.tasks.list, sample=lambda: IDLE).get()
    assert stats["tasks"] == [{"namespace": "default", "name": "train", "uid": UID, "run": 1}]


async def test_gpus_are_told_as_they_are_known(world: World) -> None:
    gpus = [{"index": 0, "uuid": "GPU-a", "utilisationPercent": 50}]
    stats = Stats(world.engine, world.tasks.list, gpus=lambda: gpus, sample=lambda: IDLE)
    assert (await stats.get())["gpus"] == gpus
    async with world.get("/v1/stats") as response:
        assert (await response.json())["gpus"] == []
