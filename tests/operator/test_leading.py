"""One operator leads, the next one waits; what kopf's watch loses is found again."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devcluster.rest import MERGE_PATCH
from support.aio import until, until_async
from support.api_proxy import ApiProxy, status_object, when
from support.cluster import Cluster
from support.madeup import (
    create_host,
    create_tasks,
    numa_capacity,
    renew_lease,
    report,
    tasks_in,
)
from support.madeup_daemon import keep_alive
from support.operator_process import OperatorProcess
from support.polling import eventually
from support.tasks import condition, task
from weir_crds.kinds import HOST, TASK
from weir_crds.names import SYSTEM_NAMESPACE
from weir_crds.times import parse_time
from weir_kube.api import Api
from weir_kube.kinds import LEASE

LEADER = LEASE.path(SYSTEM_NAMESPACE, "weir-operator")


@pytest.fixture
def second(world: Cluster, operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """A second operator, which waits."""
    process = OperatorProcess(world, "--identity=second", name="weir-operator-second")
    process.start()
    yield process
    process.stop()


def held(world: Cluster) -> dict[str, Any]:
    """Return the spec of the Lease of who leads."""
    spec: dict[str, Any] = world.admin.json("GET", LEADER)["spec"]
    return spec


async def has_host(api: Api, namespace: str, name: str) -> bool:
    """Tell whether a Task is bound."""
    return "nodeName" in (await tasks_in(api, namespace))[name].get("status", {})


class TestTwo:
    async def test_the_second_waits_in_good_health(
        self, world: Cluster, operator: OperatorProcess, second: OperatorProcess
    ) -> None:
        await until(lambda: second.alive() and second.ready(), "healthy")
        before = held(world)["renewTime"]
        await until(lambda: held(world)["renewTime"] != before, "renewed")
        assert operator.leads()
        assert second.alive()
        assert second.ready()
        assert not second.leads()

    async def test_a_clean_stop_hands_over_without_waiting_the_lease_out(
        self, world: Cluster, operator: OperatorProcess, second: OperatorProcess
    ) -> None:
        await until(lambda: second.alive() and second.ready(), "healthy")
        before = held(world)
        os.kill(operator.pid, signal.SIGTERM)
        await until(second.leads, "taken over")
        taken = parse_time(held(world)["acquireTime"]) - parse_time(before["renewTime"])
        assert taken.total_seconds() < before["leaseDurationSeconds"]
        await until(lambda: not operator.running(), "ended")
        assert operator.stop() == 0

    async def test_a_kill_hands_over(
        self, nursery: str, operator: OperatorProcess, second: OperatorProcess, api: Api
    ) -> None:
        await create_host(api, "n1", numa_capacity(1, 1))
        await until(lambda: second.alive() and second.ready(), "healthy")
        operator.kill()
        await create_tasks(api, [task("a", nursery)])
        await until(second.leads, "taken over", every=0.1)
        await until_async(lambda: has_host(api, nursery, "a"), "bound")


def test_the_lease_lost_ends_the_process(
    world: Cluster, nursery: str, operator: OperatorProcess
) -> None:
    stolen = {"spec": {"holderIdentity": "somebody else"}}
    world.admin.request("PATCH", LEADER, stolen, content_type=MERGE_PATCH)
    eventually(lambda: not operator.running(), "it ends")
    assert operator.stop() == 1
    world.admin.request("DELETE", LEADER)


@pytest.fixture
async def proxy(world: Cluster) -> AsyncIterator[ApiProxy]:
    """Stands between the operator and the API server."""
    async with ApiProxy(world.server, world.plane.pki.ca) as started:
        yield started


@pytest.fixture
async def proxied(
    world: Cluster, nursery: str, proxy: ApiProxy, tmp_path: Path
) -> AsyncIterator[OperatorProcess]:
    """An operator that reaches the API server through the proxy; not started yet."""
    text = world.kubeconfig_for("weir-operator").read_text()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(text.replace(world.server, proxy.url))
    process = OperatorProcess(world, "--identity=proxied", kubeconfig=kubeconfig)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.stop)
        print(process.log_tail())  # noqa: T201


def watches_tasks(request: web.Request) -> bool:
    return request.path.endswith("/tasks") and request.query.get("watch") in {"1", "true"}


class Watches:
    """Keeps kopf's watches of Tasks on a short leash."""

    def __init__(self, proxy: ApiProxy) -> None:
        self._proxy = proxy
        self._answers: list[dict[str, object] | int | str] = []
        self._cut = asyncio.Event()
        self.opened = 0
        proxy.add_rule(self._rule)

    def answer_next(self, *answers: dict[str, object] | int | str) -> None:
        """Answer the next watches with a status, with one ERROR event, or with these lines."""
        self._answers += answers

    def cut(self) -> None:
        """Break the watch that is open."""
        self._cut.set()

    async def _rule(self, request: web.Request) -> web.StreamResponse | None:
        if not watches_tasks(request):
            return None
        self.opened += 1
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, int):
            return web.json_response(status_object(answer), status=answer)
        if isinstance(answer, str):
            return web.Response(text=answer)
        if answer is not None:
            return web.json_response({"type": "ERROR", "object": answer})
        forward = asyncio.create_task(self._proxy.forward(request))
        self._cut.clear()
        cut = asyncio.create_task(self._cut.wait())
        await asyncio.wait({forward, cut}, return_when=asyncio.FIRST_COMPLETED)
        cut.cancel()
        if not forward.done():
            forward.cancel()
            assert request.transport is not None
            request.transport.abort()
        return await forward


async def test_a_watch_that_is_refused_comes_back_and_knows_what_is_gone(
    nursery: str, proxy: ApiProxy, proxied: OperatorProcess, api: Api
) -> None:
    """After an expired watch kopf lists, and tells nothing of what was deleted meanwhile."""
    await create_host(api, "n1", numa_capacity(1, 1))
    watches = Watches(proxy)
    watches.answer_next(401, 403, 429, 500, 503)
    proxied.start()
    await until(lambda: watches.opened >= 6, "watched after five refusals")
    await create_tasks(api, [task("a", nursery)])
    await until_async(lambda: has_host(api, nursery, "a"), "a is bound")
    await create_tasks(api, [task("b", nursery)])

    watches.answer_next(503, status_object(500, "InternalError"), status_object(410, "Expired"))
    watches.cut()
    await api.delete(TASK, "a", nursery)
    await until_async(lambda: has_host(api, nursery, "b"), "b is bound")
    assert watches.opened >= 9
    assert proxied.running()


async def test_what_kopf_cannot_survive_ends_the_process_with_an_error(
    nursery: str, proxy: ApiProxy, proxied: OperatorProcess
) -> None:
    lists = itertools.count(1)
    lists_tasks = when("list", resource="tasks")

    async def rule(request: web.Request) -> web.Response | None:
        is_kopfs = lists_tasks(request) and next(lists) > 1  # the first is our own
        return web.Response(text="nonsense") if is_kopfs else None

    proxy.add_rule(rule)
    proxied.start()
    await until(lambda: not proxied.running(), "ended")
    assert proxied.stop() == 1


async def test_a_line_of_a_watch_that_is_no_event_has_it_begun_anew(
    nursery: str, proxy: ApiProxy, proxied: OperatorProcess, api: Api
) -> None:
    await create_host(api, "n1", numa_capacity(1, 1))
    watches = Watches(proxy)
    watches.answer_next("nonsense\n")
    proxied.start()
    await until(lambda: watches.opened >= 2, "watched anew")
    await create_tasks(api, [task("a", nursery)])
    await until_async(lambda: has_host(api, nursery, "a"), "a is bound")
    assert proxied.running()


async def test_silence(world: Cluster, nursery: str, operator: OperatorProcess, api: Api) -> None:
    """A host whose Lease stands still is lost after a while; else nothing is ever written."""
    alive, soon_silent = (
        asyncio.create_task(keep_alive(api, name)) for name in ("alive", "silent")
    )
    for name in ("alive", "silent"):
        await create_host(api, name, numa_capacity(1, 2))
    await create_tasks(api, [task("bound", nursery, placement={"hostName": "alive"})])
    await until_async(lambda: has_host(api, nursery, "bound"), "bound")
    await create_tasks(
        api,
        [
            task("waits", nursery, resources={"cpu": 2}, placement={"hostName": "alive"}),
            task("never", nursery, resources={"cpu": 99}),
            task("suspended", nursery, suspend=True),
            task("unapproved", nursery, approval="Pending"),
            task("killed", nursery, suspend=True, desiredState="Killed"),
        ],
    )

    async def lost() -> bool:
        return condition(await api.get(HOST, "silent"), "Ready")["status"] == "Unknown"

    before = await asyncio.to_thread(world.settled_writes, "weir.dev")
    assert not await lost()
    soon_silent.cancel()
    await until_async(lost, "lost", timeout=120, every=0.5)
    await asyncio.sleep(5)
    assert world.writes("weir.dev") - before == 1
    host = await api.get(HOST, "silent")
    assert condition(host, "Ready")["reason"] == "LeaseExpired"
    assert condition(await api.get(HOST, "alive"), "Ready")["status"] == "True"
    found = await tasks_in(api, nursery)
    reasons = {name: condition(one, "Scheduled").get("reason") for name, one in found.items()}
    assert reasons == {
        "bound": "Bound",
        "waits": "InsufficientCapacity",
        "never": "Unschedulable",
        "suspended": "Suspended",
        "unapproved": "AwaitingApproval",
        "killed": None,
    }
    assert condition(found["killed"], "Succeeded")["reason"] == "Killed"
    assert found["killed"]["status"]["phase"] == "Killed"

    await renew_lease(api, "silent")  # its daemon is back
    await report(api, host)
    await create_tasks(api, [task("there", nursery, placement={"hostName": "silent"})])

    await until_async(lambda: has_host(api, nursery, "there"), "bound")
    alive.cancel()
