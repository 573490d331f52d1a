"""One leader at a time, soon another, and a heartbeat that shows who lives."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.aio import until, until_async
from support.api_proxy import ApiProxy
from support.tcp_proxy import TcpProxy
from weir_crds.times import parse_time
from weir_kube.api import Api
from weir_kube.errors import ConflictError, NotFoundError
from weir_kube.kinds import LEASE
from weir_kube.lease import Heartbeat, LeaseElector, LeaseLostError

NAME = "leader"


def contender(api: Api, namespace: str, identity: str, duration: int = 3) -> LeaseElector:
    return LeaseElector(
        api, namespace, NAME, identity, duration_seconds=duration, renew_seconds=0.4
    )


@asynccontextmanager
async def task_of(coroutine: Any) -> AsyncIterator["asyncio.Task[Any]"]:
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def spec_of(api: Api, namespace: str, name: str = NAME) -> dict[str, Any]:
    spec: dict[str, Any] = (await api.get(LEASE, name, namespace))["spec"]
    return spec


async def test_of_two_contenders_one_leads(
    proxied_api: Api, api: Api, namespace: str, api_proxy: ApiProxy
) -> None:
    one, two = (contender(proxied_api, namespace, each, 15) for each in ("one", "two"))
    async with task_of(one.acquire()) as first, task_of(two.acquire()) as second:
        await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        leader, other = (one, two) if first.done() else (two, one)
        async with task_of(leader.hold()):
            asked = len(api_proxy.requests)
            await until(lambda: len(api_proxy.requests) > asked + 8)
            assert leader.is_held
            assert not other.is_held
            assert {first.done(), second.done()} == {True, False}
            assert (await spec_of(api, namespace))["holderIdentity"] == leader.identity


async def test_after_a_clean_release_the_other_takes_over(
    proxied_api: Api, api: Api, namespace: str, api_proxy: ApiProxy
) -> None:
    one, two = contender(api, namespace, "one", 3600), contender(proxied_api, namespace, "two")
    await one.acquire()
    async with task_of(two.acquire()) as taking:
        await until(lambda: len(api_proxy.requests) >= 2)  # it has seen it, and looks again
        assert not taking.done()
        await one.release()
        assert not one.is_held
        await taking
    spec = await spec_of(api, namespace)
    assert spec["holderIdentity"] == "two"
    assert spec["leaseTransitions"] == 1
    await one.release()  # it is not ours any more: nothing happens
    assert await spec_of(api, namespace) == spec


async def test_after_a_kill_the_other_takes_over_when_the_duration_is_over(
    api: Api, namespace: str
) -> None:
    one, two = (contender(api, namespace, each, 8) for each in ("one", "two"))
    await one.acquire()
    async with task_of(two.acquire()) as taking:
        async with task_of(one.hold()):
            await asyncio.sleep(1)
            assert not taking.done()
        await taking
        assert not one.is_held
        assert two.is_held


async def test_a_new_process_waits_out_a_lease_it_has_just_met(api: Api, namespace: str) -> None:
    """The Lease's own times say nothing: the other's clock may be wrong."""
    spec = {
        "holderIdentity": "dead",
        "leaseDurationSeconds": 2,
        "renewTime": "2001-01-01T00:00:00.000000Z",
    }
    await api.create(LEASE, {"metadata": {"name": NAME}, "spec": spec}, namespace)
    one = contender(api, namespace, "one")
    started = time.monotonic()
    await one.acquire()
    assert time.monotonic() - started >= 2


async def test_a_leader_that_comes_back_under_its_name_leads_at_once(
    api: Api, namespace: str
) -> None:
    await contender(api, namespace, "one", 3600).acquire()
    await contender(api, namespace, "one", 3600).acquire()
    assert (await spec_of(api, namespace))["leaseTransitions"] == 0


async def test_a_leader_cut_off_gives_up_before_another_may_lead(
    far_api: Api, api: Api, namespace: str, tcp_proxy: TcpProxy
) -> None:
    one, two = contender(far_api, namespace, "one", 6), contender(api, namespace, "two", 6)
    await one.acquire()
    async with task_of(one.hold()) as holding, task_of(two.acquire()) as taking:
        tcp_proxy.hold()
        with pytest.raises(LeaseLostError):
            await holding
        assert not one.is_held
        assert not taking.done()
        await taking


async def test_a_leader_frozen_for_longer_than_its_lease_has_lost_it(
    api: Api, namespace: str
) -> None:
    one = contender(api, namespace, "one")
    await one.acquire()
    async with task_of(one.hold()) as holding:
        await asyncio.sleep(0.1)
        time.sleep(2.5)  # noqa: ASYNC251 - nothing runs, as after SIGSTOP
        assert not one.is_held
        with pytest.raises(LeaseLostError):
            await holding
    assert (await spec_of(api, namespace))["holderIdentity"] == "one"


async def test_a_lease_taken_by_force_is_lost_at_once(api: Api, namespace: str) -> None:
    one = contender(api, namespace, "one", 15)
    await one.acquire()
    async with task_of(one.hold()) as holding:
        await api.patch(LEASE, NAME, {"spec": {"holderIdentity": "thief"}}, namespace)
        with pytest.raises(LeaseLostError, match="thief"):
            await holding
    await one.release()
    assert (await spec_of(api, namespace))["holderIdentity"] == "thief"


async def test_a_deleted_lease_is_lost(api: Api, namespace: str) -> None:
    one = contender(api, namespace, "one", 15)
    await one.acquire()
    async with task_of(one.hold()) as holding:
        await api.delete(LEASE, NAME, namespace)
        with pytest.raises(LeaseLostError, match="deleted"):
            await holding


async def test_failed_renewals_are_tried_again_while_there_is_time(
    proxied_api: Api, namespace: str, api_proxy: ApiProxy
) -> None:
    one = contender(proxied_api, namespace, "one", 15)
    await one.acquire()
    async with task_of(one.hold()) as holding:
        before = (await spec_of(proxied_api, namespace))["renewTime"]
        api_proxy.fail(3, 500, when=lambda request: request.method == "PATCH")

        async def renewed() -> bool:
            return bool((await spec_of(proxied_api, namespace))["renewTime"] > before)

        await until_async(renewed, every=0.2)
        assert not holding.done()


async def test_a_renewal_whose_answer_was_lost_is_no_loss(api: Api, namespace: str) -> None:
    one = contender(api, namespace, "one", 15)
    await one.acquire()
    now = "2026-01-01T00:00:00.000000Z"
    lost_answer = await api.patch(LEASE, NAME, {"spec": {"renewTime": now}}, namespace)
    async with task_of(one.hold()) as holding:

        async def renewed() -> bool:
            return bool((await spec_of(api, namespace))["renewTime"] != now)

        await until_async(renewed)
        assert not holding.done()
        assert one.is_held
    # A renewal that was cancelled under way does not keep us from releasing.
    await api.patch(LEASE, NAME, {"spec": {"renewTime": now}}, namespace)
    await one.release()
    assert "holderIdentity" not in await spec_of(api, namespace)
    with pytest.raises(ConflictError):
        await api.replace(LEASE, NAME, lost_answer, namespace)


async def test_a_heartbeat_makes_its_lease_and_renews_it(api: Api, namespace: str) -> None:
    heartbeat = Heartbeat(api, namespace, "h1", "h1", period_seconds=0.5)
    async with task_of(heartbeat.run()):
        seen: set[str] = set()

        async def beaten() -> bool:
            try:
                spec = await spec_of(api, namespace, "h1")
            except NotFoundError:
                return False
            assert spec["holderIdentity"] == "h1"
            assert spec["leaseDurationSeconds"] == 40
            seen.add(spec["renewTime"])
            return len(seen) == 4

        started = time.monotonic()
        await until_async(beaten, every=0.1)
        assert time.monotonic() - started > 1
        assert max(parse_time(text) for text in seen)


async def test_a_heartbeat_outlives_an_absent_server(
    far_api: Api, api: Api, namespace: str, tcp_proxy: TcpProxy
) -> None:
    heartbeat = Heartbeat(far_api, namespace, "h1", "h1", period_seconds=0.5)
    async with task_of(heartbeat.run()) as beating:
        await until(lambda: heartbeat.age_seconds < 0.2)
        await tcp_proxy.refuse()
        await until(lambda: heartbeat.age_seconds > 2)
        await api.delete(LEASE, "h1", namespace)
        await tcp_proxy.listen()
        await until(lambda: heartbeat.age_seconds < 0.5)
        assert not beating.done()
        assert (await spec_of(api, namespace, "h1"))["holderIdentity"] == "h1"
