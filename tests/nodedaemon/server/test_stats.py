import asyncio
import time

import pytest

from support.daemon_server import CONTAINER, UID, ScriptedRuns, World
from weir_nodedaemon.engines.port import EngineUnavailableError, InstanceUsage
from weir_nodedaemon.machine.temperatures import Temperatures
from weir_nodedaemon.server.routes.stats import HostNumbers, Stats

IDLE = HostNumbers(2, 0.0, (0.0, 0.0, 0.0), 2**30, 2**29)
WARM = HostNumbers(2, 0.0, (0.0, 0.0, 0.0), 2**30, 2**29, Temperatures(41.06, 50.0))


async def test_host_and_running_tasks_are_told(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
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
    stats = Stats(world.runs, world.tasks.list, sample=lambda: IDLE, clock=lambda: now[0])
    await asyncio.gather(*(stats.get() for _ in range(20)))
    assert world.runs.usage_calls == 1
    now[0] = 102.5
    await stats.get()
    assert world.runs.usage_calls == 2


async def test_an_engine_that_fails_leaves_the_numbers_out(world: World) -> None:
    class Failing(ScriptedRuns):
        async def usage(self, name: str) -> InstanceUsage | None:
            raise EngineUnavailableError("away")

    world.have_task()
    stats = await Stats(Failing(world.logs), world.tasks.list, sample=lambda: IDLE).get()
    assert stats["tasks"] == [{"namespace": "default", "name": "train", "uid": UID, "run": 1}]


async def test_gpus_are_told_as_they_are_known(world: World) -> None:
    gpus = [{"index": 0, "uuid": "GPU-a", "utilisationPercent": 50}]
    stats = Stats(world.runs, world.tasks.list, gpus=lambda: gpus, sample=lambda: IDLE)
    assert (await stats.get())["gpus"] == gpus
    async with world.get("/v1/stats") as response:
        assert (await response.json())["gpus"] == []


async def test_without_tasks_the_engine_is_not_asked(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    async with world.get("/v1/stats?tasks=false") as response:
        stats = await response.json()
    assert stats.keys() == {"host", "gpus"}
    assert world.runs.usage_calls == 0


async def test_the_machine_alone_answers_while_the_engine_hangs(world: World) -> None:
    class Hanging(ScriptedRuns):
        async def usage(self, name: str) -> InstanceUsage | None:
            await asyncio.Event().wait()
            raise AssertionError

    world.have_task()
    stats = Stats(Hanging(world.logs), world.tasks.list, sample=lambda: IDLE)
    whole = asyncio.create_task(stats.get())
    await asyncio.sleep(0)
    assert stats.of_machine() == {"host": IDLE.to_json(), "gpus": []}
    whole.cancel()


async def test_looks_at_the_machine_are_not_too_near_to_each_other(world: World) -> None:
    now, looks = [100.0], [0]

    def sample() -> HostNumbers:
        looks[0] += 1
        return IDLE

    stats = Stats(world.runs, list, sample=sample, clock=lambda: now[0])
    for _ in range(3):
        stats.of_machine()
        await stats.get()
    assert looks == [1]
    now[0] += 1
    stats.of_machine()
    assert looks == [2]


async def test_temperatures_are_told_where_there_are_any(world: World) -> None:
    stats = Stats(world.runs, list, sample=lambda: WARM)
    told = stats.of_machine()["host"]["temperature"]
    assert told == {"averageCelsius": 41.1, "highestCelsius": 50.0}
    assert "temperature" not in IDLE.to_json()


@pytest.mark.parametrize(
    "query", ["task=false", "tasks=no", "tasks=", "tasks=0&tasks=1", "tail=1", "tasks=0&x=1"]
)
async def test_a_query_that_cannot_be_is_refused(world: World, query: str) -> None:
    async with world.get(f"/v1/stats?{query}") as response:
        assert response.status == 400
        assert (await response.json())["reason"] == "InvalidParameter"
