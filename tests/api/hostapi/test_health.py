"""The last minute of all hosts, and where its figures come from."""

import asyncio
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter

from support.aio import until
from support.facade import ClientOf
from support.hosts import GIB, host, lease
from support.nodes import STATS, World
from weir_api.errors import UnavailableError
from weir_api.hostapi.nodes.figures import NO_FIGURES, figures_of_daemon
from weir_api.hostapi.nodes.health_history import HealthHistory
from weir_api.hostapi.nodes.sampler import Sampler, is_asked
from weir_api.hostapi.nodes.wire import HealthNodeOut, HealthOut
from weir_api.web.endpoint import endpoints_of

NODE_KEYS = {
    "hostname", "status", "last_heartbeat", "cpu_percent", "memory_percent", "memory_used_bytes",
    "memory_total_bytes", "total_cores", "numa_topology", "current_avg_temp", "current_max_temp",
    "gpu_info",
}  # fmt: skip
AGGREGATE_KEYS = {
    "totalNodes": int, "onlineNodes": int, "totalCores": int, "totalMemBytes": int,
    "usedMemBytes": int, "avgCpuPercent": float, "avgMemPercent": float, "maxAvgCpuTemp": float,
    "maxMaxCpuTemp": float, "lastUpdated": str,
}  # fmt: skip


@pytest.fixture
def world() -> World:
    return World()


async def get(client: Any, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_health_has_these_keys_and_types(world: World, client_of: ClientOf) -> None:
    world.have(host("a"), lease("a"), host("b", ready="Unknown"), lease("b"))
    world.seen["a"] = figures_of_daemon(STATS)
    world.history.take()
    client = await client_of(endpoints_of(world.routes))
    health = await get(client, "/api/health")
    assert health.keys() == {"nodes", "aggregate"}
    TypeAdapter(HealthOut).validate_python(health, strict=True)
    [[a, b]] = health["nodes"]
    assert (a.keys(), b.keys()) == (NODE_KEYS, NODE_KEYS)
    assert [a["hostname"], b["hostname"]] == ["a", "b"]
    [aggregate] = health["aggregate"]
    assert {key: type(value) for key, value in aggregate.items()} == AGGREGATE_KEYS


async def test_one_host_is_an_array_of_one(world: World, client_of: ClientOf) -> None:
    world.have(host("a"), lease("a"), host("b"), lease("b"))
    world.history.take()
    client = await client_of(endpoints_of(world.routes))
    [node] = await get(client, "/api/health?hostname=b")
    assert node["hostname"] == "b"
    TypeAdapter(list[HealthNodeOut]).validate_python([node], strict=True)


async def test_an_unknown_host_is_404(world: World, client_of: ClientOf) -> None:
    client = await client_of(endpoints_of(world.routes))
    for path in ("/api/health?hostname=a", "/api/health?hostname=b"):
        async with client.get(path) as response:
            assert response.status == 404
            assert (await response.json()).keys() == {"detail"}
        world.have(host("a"))
        world.history.take()
        if path.endswith("a"):
            assert await get(client, path)


async def test_before_the_first_sample_there_is_none(world: World, client_of: ClientOf) -> None:
    client = await client_of(endpoints_of(world.routes))
    assert await get(client, "/api/health") == {"nodes": [], "aggregate": []}
    assert await get(client, "/api/health?hostname=") == {"nodes": [], "aggregate": []}


async def test_the_history_rolls_over_sixty_samples(world: World, client_of: ClientOf) -> None:
    times = iter(
        dt.datetime(2026, 11, 22, tzinfo=dt.UTC) + dt.timedelta(seconds=i) for i in range(99)
    )
    world.have(host("a"), lease("a"))
    history = world.history = HealthHistory(world.rows, now=lambda: next(times))
    for second in range(75):
        world.in_use["a"] = float(second)
        world.seen["a"] = figures_of_daemon({"host": {"cpuPercent": float(second)}})
        history.take()
    health = json.loads(history.encoded())
    assert [sample[0]["cpu_percent"] for sample in health["nodes"]] == [*range(15, 75)]
    assert len(health["aggregate"]) == 60
    assert health["aggregate"][-1]["lastUpdated"] == "2026-11-22T00:01:14.000000+00:00"
    assert json.loads(history.latest("a") or b"")["cpu_percent"] == 74


def test_all_hosts_are_summed_up(world: World) -> None:
    busy = figures_of_daemon(STATS)
    small = host("b", capacity={"cpus": 1, "memory": "16Gi"})
    world.have(host("a"), small, host("c", ready="False"))
    world.seen |= {"a": busy, "b": NO_FIGURES, "c": busy}
    world.history.take()
    aggregate = json.loads(world.history.encoded())["aggregate"][0]
    del aggregate["lastUpdated"]
    assert aggregate == {
        "totalNodes": 3,
        "onlineNodes": 2,
        "totalCores": 9,
        "totalMemBytes": (64 + 16 + 64) * GIB,
        "usedMemBytes": 16 * GIB,
        "avgCpuPercent": round(12.5 * 4 / 9, 2),
        "avgMemPercent": round(100 * 16 / 144, 2),
        "maxAvgCpuTemp": 41.5,
        "maxMaxCpuTemp": 50.0,
    }


def test_no_hosts_sum_up_to_nothing(world: World) -> None:
    world.history.take()
    aggregate = json.loads(world.history.encoded())["aggregate"][0]
    assert set(aggregate.values()) - {aggregate["lastUpdated"]} == {0}


async def test_samples_are_taken_again_and_again(world: World) -> None:
    history = HealthHistory(world.rows, period_seconds=0.01)
    taking = asyncio.create_task(history.run())
    try:
        await until(lambda: len(json.loads(history.encoded())["nodes"]) == 60, "a full history")
    finally:
        taking.cancel()


class Daemons:
    """Answers for hosts as the test says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {}
        self.at_once = 0

    async def get_json(
        self, host: dict[str, Any], path: str, query: Mapping[str, str], seconds: float
    ) -> Any:
        assert (path, dict(query)) == ("/v1/stats", {"tasks": "false"})
        name = host["metadata"]["name"]
        self.asked.append(name)
        answer = self.answers.get(name, STATS)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            self.at_once += 1
            await answer.wait()
            answer = STATS
        return answer


async def test_every_ready_host_is_asked_again_and_again() -> None:
    daemons = Daemons()
    hosts = [host("a"), host("b"), host("c", ready="Unknown")]
    sampler = Sampler(daemons, lambda: hosts, period_seconds=0.01)
    assert sampler.figures("a") is NO_FIGURES
    asking = asyncio.create_task(sampler.run())
    try:
        await until(lambda: daemons.asked.count("b") >= 3, "b is asked")
        assert set(daemons.asked) == {"a", "b"}
        assert sampler.figures("a").cpu_percent == 12.5
        hosts.pop(0)
        await until(lambda: sampler.figures("a") is NO_FIGURES, "a is forgotten")
    finally:
        asking.cancel()


async def test_a_host_that_does_not_answer_holds_up_no_other() -> None:
    daemons = Daemons()
    daemons.answers["a"] = asyncio.Event()
    daemons.answers["b"] = UnavailableError("away")
    daemons.answers["c"] = RuntimeError("a fault of ours")
    hosts = [host(name) for name in "abcd"]
    sampler = Sampler(daemons, lambda: hosts, period_seconds=0.01)
    asking = asyncio.create_task(sampler.run())
    try:
        await until(lambda: daemons.asked.count("d") >= 20, "d is asked")
        assert daemons.at_once == 1
        assert 2 <= daemons.asked.count("b") < daemons.asked.count("d") / 2  # less and less
        assert daemons.asked.count("c") == 1
        daemons.answers["a"].set()
        await until(lambda: sampler.figures("a").cpu_percent == 12.5, "a tells")
        daemons.answers["b"] = STATS
        await until(lambda: sampler.figures("b").cpu_percent == 12.5, "b tells")
    finally:
        asking.cancel()


async def test_figures_that_are_old_count_for_nothing() -> None:
    now, daemons = [0.0], Daemons()
    sampler = Sampler(daemons, lambda: [host("a")], clock=lambda: now[0], period_seconds=1.0)
    asking = asyncio.create_task(sampler.run())
    try:
        await until(lambda: sampler.figures("a") is not NO_FIGURES, "a tells")
        now[0] = 9.0
        assert sampler.figures("a") is not NO_FIGURES
        now[0] = 11.0
        assert sampler.figures("a") is NO_FIGURES
    finally:
        asking.cancel()


def test_only_who_has_a_daemon_is_asked() -> None:
    external = host()
    external["spec"]["external"] = True
    assert is_asked(host())
    assert not is_asked(external)
    assert not is_asked(host(endpoint=None))
    assert not is_asked(host(ready="Unknown"))
    assert not is_asked(host(ready="False"))
