"""When a Lease is taken, renewed, lost and given up: on an API in memory, in virtual time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.fake_api import FakeApi
from support.virtual_time import in_virtual_time, virtual_clock
from weir_crds.kinds import Kind
from weir_kube.errors import ApiUnavailableError, ConflictError
from weir_kube.kinds import LEASE
from weir_kube.lease import Heartbeat, LeaseElector, LeaseLostError
from weir_kube.store import Key, Object

KEY = Key("ns", "leader")


class LeaseApi(FakeApi):
    """Counts what is asked, and may swallow answers.

    Attributes:
        lost_answers: how many of the next patches take effect without an answer.
        slow_seconds: how long each patch takes.
        conflicts: whether each patch is refused, though nothing has changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches: list[float] = []
        self.lost_answers = 0
        self.slow_seconds = 0.0
        self.conflicts = False

    async def patch(self, kind: Kind, name: str, *args: Any, **options: Any) -> Object:
        self.patches.append(virtual_clock())
        await asyncio.sleep(self.slow_seconds)
        if self.conflicts:
            await asyncio.sleep(0.001)  # as an answer takes its time
            raise ConflictError("changed", status=409)
        reply = await super().patch(kind, name, *args, **options)
        if self.lost_answers:
            self.lost_answers -= 1
            raise ApiUnavailableError("no answer")
        return reply

    @property
    def spec(self) -> dict[str, Any]:
        found = self.peek(LEASE, KEY)
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec


def contender(api: FakeApi, identity: str) -> LeaseElector:
    return LeaseElector(api, "ns", "leader", identity, clock=virtual_clock)  # type: ignore[arg-type]


@asynccontextmanager
async def held(elector: LeaseElector) -> AsyncIterator["asyncio.Task[None]"]:
    await elector.acquire()
    task: asyncio.Task[None] = asyncio.create_task(elector.hold())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_virtual_time
async def test_it_is_renewed_every_four_seconds_and_held_all_the_time() -> None:
    api = LeaseApi()
    one = contender(api, "one")
    assert not one.is_held
    async with held(one):
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert one.is_held
    assert len(api.patches) == 14
    assert api.spec["holderIdentity"] == "one"
    assert (api.spec["leaseDurationSeconds"], api.spec["leaseTransitions"]) == (15, 0)


@in_virtual_time
async def test_a_rival_takes_it_when_it_stood_still_for_its_own_duration() -> None:
    """Not earlier, whatever its time stamps say; and it was given up well before that."""
    api = LeaseApi()
    one, two = contender(api, "one"), contender(api, "two")
    async with held(one):
        taking = asyncio.create_task(two.acquire())
        await asyncio.sleep(61.5)
        assert not taking.done()
        renewed = api.patches[-1]
    while not taking.done():
        await asyncio.sleep(0.01)
        assert not (one.is_held and two.is_held)
        assert one.is_held == (virtual_clock() - renewed < 10)
    assert 15 <= virtual_clock() - renewed < 17
    assert two.is_held
    assert api.spec["holderIdentity"] == "two"
    assert api.spec["leaseTransitions"] == 1


@in_virtual_time
async def test_a_lease_just_met_is_waited_out_by_the_duration_that_it_names() -> None:
    api = LeaseApi()
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 40, "leaseTransitions": 4}
    api.put(LEASE, {"metadata": {"name": "leader", "namespace": "ns"}, "spec": spec})
    began = virtual_clock()
    await contender(api, "one").acquire()
    assert 40 <= virtual_clock() - began < 42
    assert api.spec["leaseTransitions"] == 5


@pytest.mark.parametrize("holder", ["one", "", None])
@in_virtual_time
async def test_its_own_lease_and_a_free_one_are_taken_at_once(holder: str | None) -> None:
    api = LeaseApi()
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 40, "leaseTransitions": 4}
    api.put(LEASE, {"metadata": {"name": "leader", "namespace": "ns"}, "spec": spec})
    began = virtual_clock()
    one = contender(api, "one")
    await one.acquire()
    assert virtual_clock() == began
    assert one.is_held
    assert api.spec["leaseTransitions"] == (4 if holder == "one" else 5)


@in_virtual_time
async def test_without_a_server_it_is_lost_after_two_thirds_of_its_duration() -> None:
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        await asyncio.sleep(20.5)
        renewed = api.patches[-1]
        api.available = False
        with pytest.raises(LeaseLostError, match="in time"):
            await holding
        assert virtual_clock() - renewed == pytest.approx(10, abs=0.1)
        assert not one.is_held
        assert len([at for at in api.patches if at > renewed]) >= 6  # tried every second


@in_virtual_time
async def test_a_server_that_always_says_conflict_is_asked_once_a_second() -> None:
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        await asyncio.sleep(20.5)
        renewed, before = api.patches[-1], len(api.patches)
        api.conflicts = True
        with pytest.raises(LeaseLostError, match="in time"):
            await holding
        assert virtual_clock() - renewed == pytest.approx(10, abs=0.1)
        assert len(api.patches) - before < 10
    before = len(api.patches)
    taking = asyncio.create_task(contender(api, "one").acquire())
    await asyncio.sleep(60)
    taking.cancel()
    assert len(api.patches) - before < 100


@in_virtual_time
async def test_a_server_that_is_back_in_time_costs_nothing() -> None:
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        await asyncio.sleep(20.5)
        api.available = False
        await asyncio.sleep(7)
        api.available = True
        await asyncio.sleep(30)
        assert not holding.done()
        assert one.is_held


@in_virtual_time
async def test_the_time_of_a_renewal_is_when_it_was_sent() -> None:
    """A slow answer must not make the Lease look younger than rivals see it."""
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        await asyncio.sleep(1)
        api.slow_seconds = 3.0
        await asyncio.sleep(6.5)
        sent = api.patches[-1]
        api.available = False
        with pytest.raises(LeaseLostError):
            await holding
        assert virtual_clock() - sent <= 10 + 3


@in_virtual_time
async def test_a_renewal_whose_answer_was_lost_is_no_loss() -> None:
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        api.lost_answers = 1
        await asyncio.sleep(30)
        assert not holding.done()
        assert one.is_held


@pytest.mark.parametrize("thief", ["thief", None])
@in_virtual_time
async def test_a_lease_that_another_has_is_lost_at_the_next_renewal(thief: str | None) -> None:
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        await asyncio.sleep(1)
        api.put(
            LEASE,
            {
                "metadata": {"name": "leader", "namespace": "ns"},
                "spec": {"holderIdentity": thief, "leaseDurationSeconds": 15},
            },
        )
        with pytest.raises(LeaseLostError, match=thief or "nobody"):
            await asyncio.wait_for(holding, 5)
        assert not one.is_held
    asked = len(api.patches)
    await one.release()  # it is not ours any more: nothing is asked of the API server
    assert len(api.patches) == asked
    assert api.spec["holderIdentity"] == thief


@in_virtual_time
async def test_a_deleted_lease_is_lost() -> None:
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one) as holding:
        await asyncio.sleep(1)
        api.remove(LEASE, KEY)
        with pytest.raises(LeaseLostError, match="deleted"):
            await asyncio.wait_for(holding, 5)
        assert not one.is_held


@in_virtual_time
async def test_one_that_is_released_is_taken_within_a_second() -> None:
    api = LeaseApi()
    one, two = contender(api, "one"), contender(api, "two")
    async with held(one):
        taking = asyncio.create_task(two.acquire())
        await asyncio.sleep(10)
        assert not taking.done()
    await one.release()
    released = virtual_clock()
    assert not one.is_held
    await taking
    assert virtual_clock() - released <= 1.0


@in_virtual_time
async def test_a_release_after_a_renewal_that_was_cut_short() -> None:
    """It may have arrived all the same: the Lease has another version, and is still ours."""
    api = LeaseApi()
    one = contender(api, "one")
    async with held(one):
        pass
    api.change_spec(LEASE, KEY, renewTime="later")
    await one.release()
    assert "holderIdentity" not in api.spec


@in_virtual_time
async def test_of_two_that_start_together_one_leads() -> None:
    api = LeaseApi()
    contenders = [contender(api, "one"), contender(api, "two")]
    taking = [asyncio.create_task(each.acquire()) for each in contenders]
    await asyncio.sleep(5)
    assert sorted(task.done() for task in taking) == [False, True]
    assert sorted(each.is_held for each in contenders) == [False, True]
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)


@asynccontextmanager
async def beating(api: FakeApi) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat(api, "ns", "leader", "h1", clock=virtual_clock)  # type: ignore[arg-type]
    task = asyncio.create_task(heartbeat.run())
    try:
        yield heartbeat
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_virtual_time
async def test_a_heartbeat_makes_its_lease_and_renews_it_every_ten_seconds() -> None:
    api = LeaseApi()
    async with beating(api) as heartbeat:
        for _ in range(1000):
            await asyncio.sleep(0.1)
            assert heartbeat.age_seconds <= 10.1
    assert 11 <= len(api.patches) <= 13
    assert api.spec["holderIdentity"] == "h1"
    assert api.spec["leaseDurationSeconds"] == 40


@in_virtual_time
async def test_a_heartbeat_that_fails_tries_again_within_two_seconds() -> None:
    api = LeaseApi()
    async with beating(api) as heartbeat:
        await asyncio.sleep(1)
        api.available = False
        began = virtual_clock()
        await asyncio.sleep(60)
        assert heartbeat.age_seconds == pytest.approx(61, abs=0.1)
        tries = [at for at in api.patches if at > began]
        assert all(b - a <= 2.0 for a, b in itertools.pairwise(tries))
        assert len(tries) < 35
        api.remove(LEASE, KEY)
        api.available = True
        await asyncio.sleep(2.1)
        assert heartbeat.age_seconds < 2.1
        assert api.spec["holderIdentity"] == "h1"


@in_virtual_time
async def test_a_heartbeat_goes_on_from_what_an_earlier_process_knew() -> None:
    """And tells of each renewal that was confirmed, of no other."""
    api, told = LeaseApi(), []
    api.available = False
    heartbeat = Heartbeat(
        api,  # type: ignore[arg-type]
        "ns",
        "leader",
        "h1",
        clock=virtual_clock,
        renewed=virtual_clock() - 25.0,
        on_renewed=told.append,
    )
    task = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(3)
    assert heartbeat.age_seconds == pytest.approx(28.0)
    assert not told

    api.available = True
    await asyncio.sleep(3)
    assert heartbeat.age_seconds < 3.0
    assert told == [virtual_clock() - heartbeat.age_seconds]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
