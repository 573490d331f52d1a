"""What a runner says is shown at once, whatever is written of it when."""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.aio import until
from support.fake_api import FakeApi
from support.replica import Replica, replica
from weir_api.access.service import AuthSettings
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.nodes.figures import NO_FIGURES, Figures
from weir_api.hostapi.nodes.health_history import HealthHistory
from weir_api.hostapi.nodes.node_rows import NodeRows
from weir_api.hostapi.nodes.routes import NodeRoutes
from weir_api.hostapi.runners.heartbeats import Heartbeat, Heartbeats
from weir_api.hostapi.runners.reports import RunnerReports
from weir_api.hostapi.runners.routes import RunnerRoutes
from weir_api.hostapi.tasks.view import TaskWorkload
from weir_api.hostapi.usernames import Usernames
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.kinds import HOST, TASK
from weir_crds.names import SYSTEM_NAMESPACE
from weir_kube.kinds import LEASE
from weir_kube.store import Key, Store

GPUS = [{"gpu_id": 0, "name": "A100", "memory_total_mib": 81920, "temperature": 40}]
OPEN = AuthSettings(enabled=False)


class Clock:
    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class NoDaemons:
    def figures(self, host: str) -> Figures:
        return NO_FIGURES


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def facade(api: FakeApi, clock: Clock) -> AsyncIterator[Replica]:
    def routes(caches: Caches, writer: Writer) -> list[Any]:
        index = WorkloadIndex(caches, KnownHosts(caches), Usernames(caches), [TaskWorkload()])
        heartbeats = Heartbeats(caches[LEASE])
        rows = NodeRows(caches[HOST], caches[LEASE], NoDaemons(), index, heartbeats)
        for kind in (HOST, LEASE, TASK):
            caches.listen(kind, rows.changed)
        reports = RunnerReports(caches, writer, index, heartbeats, now=clock)
        return [RunnerRoutes(reports), NodeRoutes(rows, HealthHistory(rows))]

    async with replica(api, OPEN, routes) as made:
        yield made


async def call(facade: Replica, method: str, path: str, body: Any, status: int = 200) -> Any:
    async with facade.http.request(method, f"/api{path}", json=body) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def register(facade: Replica, **more: Any) -> None:
    body = {"hostname": "r1", "url": "http://10.0.0.9:8001", "total_cores": 8} | more
    await call(facade, "POST", "/register", body)


async def beat(facade: Replica, **figures: Any) -> None:
    await call(facade, "PUT", "/heartbeat/r1", figures)


async def shown(facade: Replica) -> Any:
    async with facade.http.get("/api/nodes") as response:
        (node,) = await response.json()
        return node


async def test_the_first_heartbeat_after_the_registration_is_shown(
    facade: Replica, api: FakeApi, clock: Clock
) -> None:
    await register(facade)
    clock.pass_seconds(1)
    await beat(facade, cpu_percent=12.5, memory_used_bytes=7)
    node = await shown(facade)
    assert (node["cpu_percent"], node["memory_used_bytes"]) == (12.5, 7)
    assert node["last_heartbeat"] == "2026-11-22T12:00:01.000000+00:00"


async def test_each_heartbeat_moves_the_time_and_few_are_written(
    facade: Replica, api: FakeApi, clock: Clock
) -> None:
    await register(facade)
    before = len(api.writes)
    for number in range(1, 13):
        clock.pass_seconds(5)
        await beat(facade, cpu_percent=float(number))
        node = await shown(facade)
        assert node["cpu_percent"] == number
        assert node["last_heartbeat"] == clock.now.isoformat(timespec="microseconds")
    assert {kind for kind, *_ in api.writes[before:]} == {"Lease"}
    assert len(api.writes) - before == 6  # every ten seconds


@pytest.mark.parametrize("empty", [[], None])
async def test_an_empty_list_of_gpus_leaves_those_that_are_known(
    facade: Replica, clock: Clock, empty: list[Any] | None
) -> None:
    await register(facade, gpu_info=GPUS)
    for seconds in (1, 20):
        clock.pass_seconds(seconds)
        await beat(facade, gpu_info=empty, cpu_percent=1.0)
        assert (await shown(facade))["gpu_info"] == GPUS
    await register(facade, gpu_info=empty)
    assert (await shown(facade))["gpu_info"] == GPUS
    hotter = [{**GPUS[0], "temperature": 80}]
    await beat(facade, gpu_info=hotter)
    await beat(facade, gpu_info=empty)
    assert (await shown(facade))["gpu_info"] == hotter


async def test_what_is_not_told_any_more_is_not_shown_any_more(
    facade: Replica, clock: Clock
) -> None:
    await register(facade)
    await beat(facade, current_avg_temp=41.0, cpu_percent=50.0)
    clock.pass_seconds(1)
    await beat(facade)
    node = await shown(facade)
    assert (node["current_avg_temp"], node["cpu_percent"]) == (None, 0.0)


async def test_what_came_to_another_replica_is_known_from_the_lease(
    facade: Replica, api: FakeApi, clock: Clock
) -> None:
    await register(facade)
    await beat(facade, cpu_percent=1.0)
    lease = api.peek(LEASE, Key(SYSTEM_NAMESPACE, "r1"))
    assert lease is not None
    lease["spec"]["renewTime"] = "2026-11-22T12:00:07.000000Z"
    lease["metadata"]["annotations"] = {"weir.dev/runner-metrics": '{"cpu_percent": 99.0}'}
    api.put(LEASE, lease)
    await until(lambda: facade.caches[LEASE].list()[0]["spec"] == lease["spec"])
    assert (await shown(facade))["cpu_percent"] == 99.0
    assert (await shown(facade))["last_heartbeat"] == "2026-11-22T12:00:07.000000+00:00"
    clock.pass_seconds(8)
    await beat(facade, cpu_percent=3.0)
    assert (await shown(facade))["cpu_percent"] == 3.0


async def test_a_host_that_is_deleted_is_forgotten(facade: Replica, api: FakeApi) -> None:
    await register(facade, gpu_info=GPUS)
    await beat(facade, cpu_percent=1.0)
    api.remove(HOST, Key("", "r1"))
    api.remove(LEASE, Key(SYSTEM_NAMESPACE, "r1"))
    await until(lambda: not facade.caches[HOST].list() and not facade.caches[LEASE].list())
    await call(facade, "PUT", "/heartbeat/r1", {}, status=404)
    await register(facade)
    assert (await shown(facade))["gpu_info"] == []


def test_the_newest_counts_and_stays_the_same_object() -> None:
    leases = Store()
    heartbeats = Heartbeats(leases)
    assert heartbeats.of("r1") is None
    at = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    mine = Heartbeat(at, {"cpu_percent": 1})
    heartbeats.note("r1", mine)
    assert heartbeats.of("r1") is mine
    metadata = {"namespace": SYSTEM_NAMESPACE, "name": "r1", "uid": "u", "resourceVersion": "1"}
    leases.apply("ADDED", {"metadata": metadata, "spec": {"renewTime": "2026-11-22T11:59:59Z"}})
    assert heartbeats.of("r1") is mine
    newer = {"metadata": {**metadata, "resourceVersion": "2"}, "spec": {}}
    newer["spec"] = {"renewTime": "2026-11-22T12:00:01Z"}
    leases.apply("MODIFIED", newer)
    found = heartbeats.of("r1")
    assert found is not None
    assert found is not mine
    assert heartbeats.of("r1") is found
    for nonsense in ("soon", "", None):
        version = str(int(newer["metadata"]["resourceVersion"]) + 1)
        newer = {"metadata": {**metadata, "resourceVersion": version}, "spec": {}}
        newer["spec"] = {"renewTime": nonsense}
        leases.apply("MODIFIED", newer)
        assert heartbeats.of("r1") is mine
