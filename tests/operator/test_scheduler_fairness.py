"""What waits gets its room: no core is idle while something fits it, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from support.aio import until
from support.scheduling_rig import SchedulingRig
from weir_kube.errors import ApiError, ApiUnavailableError, ConflictError, ForbiddenError
from weir_operator.scheduling.binder import BINDS_AT_ONCE

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def looping(rig: SchedulingRig) -> AsyncIterator[None]:
    """Let the loop run until the block ends."""
    task = asyncio.create_task(rig.scheduler.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class TestRoom:
    async def test_ends_elsewhere_do_not_keep_a_small_one_from_its_turn(self) -> None:
        """Three hundred large ones wait before it, and something ends somewhere all the time."""
        rig, blocked = SchedulingRig(), 300
        for number in range(50):
            rig.add_host(f"n{number}")
            rig.occupy(f"n{number}", 0)
        for number in range(blocked):
            rig.add_task(f"large{number}", 16, resources={"memory": f"{number + 1}Mi"}, priority=10)
        rig.add_task("small")
        for turn in range(blocked + 1):
            rig.turns(1)
            rig.vacate(f"n{1 + turn % 49}", 0)
            rig.occupy(f"n{1 + turn % 49}", 0)
        assert rig.host_of("small") is not None

    async def test_a_freed_core_is_taken_again_by_those_who_wait_for_that_host(self) -> None:
        rig = SchedulingRig()
        hosts = [f"n{number:03}" for number in range(100)]
        for host in hosts:
            rig.add_host(host, 4)
            rig.occupy(host, *range(4))
            rig.add_task(f"for-{host}", host=host)
        rig.turns(2 * len(hosts))  # each was refused
        for host in hosts[:BINDS_AT_ONCE]:
            rig.vacate(host, 0)
            rig.turns(2)
            assert rig.host_of(f"for-{host}") == host

    async def test_room_goes_to_the_most_urgent_that_fits_it(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 4)
        rig.occupy("n1", *range(4))
        rig.add_task("large", 4, priority=9)
        rig.add_task("low")
        rig.add_task("high", priority=5)
        rig.turns(3)
        rig.vacate("n1", 2)
        rig.add_task("newcomer")
        rig.turns(1)
        assert rig.host_of("high") == "n1"
        assert [rig.host_of(name) for name in ("large", "low", "newcomer")] == [None] * 3

    async def test_a_newcomer_does_not_take_the_room_of_one_who_waits(self) -> None:
        rig = SchedulingRig()
        for host in ("n1", "n2"):
            rig.add_host(host, 1)
            rig.occupy(host, 0)
        rig.add_task("first", priority=1)
        rig.turns(1)
        rig.vacate("n1", 0)
        rig.vacate("n2", 0)
        rig.add_task("newcomer", resources={"memory": "1Gi"})
        rig.turns(3)
        assert {rig.host_of("first"), rig.host_of("newcomer")} == {"n1", "n2"}

    async def test_a_short_turn_is_one_step(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 64)
        for number in range(40):
            rig.add_task(f"t{number}")
        assert rig.scheduler.place_for(0.0)
        assert sum(rig.host_of(f"t{number}") is not None for number in range(40)) == 1

    async def test_a_host_that_comes_back_is_filled(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 2, unschedulable=True)
        rig.add_task("a")
        rig.add_task("b", cpu=2)
        rig.turns(2)
        assert rig.why("a") == "NoHosts: 0/1 hosts: 1 cordoned (n1)"
        rig.add_host("n1", 2)
        rig.turns(2)
        assert rig.host_of("a") == "n1"


class TestDrain:
    async def test_one_that_needs_a_whole_host_gets_it_though_small_ones_never_end(self) -> None:
        rig = SchedulingRig(drain_after_seconds=300)
        rig.add_host("n1", 4)
        rig.add_host("n2", 4)
        names = [f"s{number}" for number in range(8)]
        for name in names:
            rig.add_task(name)
        async with looping(rig):
            await until(lambda: all(rig.host_of(name) for name in names), "full")
            rig.add_task("large", 4, priority=1000)
            await self.stream(rig, names, 40)
            assert rig.host_of("large") is None
            rig.seconds += 299
            await self.stream(rig, names, 20)
            assert rig.host_of("large") is None
            rig.seconds += 2
            await until(lambda: "DrainingHost" in rig.why("large"), "drained")
            assert rig.why("large").endswith("; n1 takes nothing else until it has room")
            await self.stream(rig, names, 40)
            await until(lambda: rig.host_of("large") == "n1", "bound")
            rig.end("large")
            await until(lambda: sum(rig.host_of(name) == "n1" for name in names) == 4, "filled")

    async def test_others_are_told_that_a_host_is_kept_free(self) -> None:
        rig = SchedulingRig(drain_after_seconds=10)
        rig.add_host("n1", 2)
        rig.occupy("n1", 0)
        rig.add_task("large", 2, priority=1)
        async with looping(rig):
            await asyncio.sleep(0)
            rig.seconds += 11
            await until(lambda: "DrainingHost" in rig.why("large"), "drained")
            rig.add_task("small")
            await until(lambda: "kept free" in rig.why("small"), "told")
            assert rig.host_of("small") is None
            rig.change("large", suspend=True)
            await until(lambda: rig.host_of("small") == "n1", "given back")

    async def test_one_that_is_drained_for_takes_another_host_that_gets_room_first(self) -> None:
        rig = SchedulingRig(drain_after_seconds=10)
        for host, held in (("n1", 1), ("n2", 2)):
            rig.add_host(host, 2)
            rig.occupy(host, *range(held))
        rig.add_task("large", 2, priority=1)
        async with looping(rig):
            await asyncio.sleep(0)
            rig.seconds += 11
            await until(lambda: "; n1 takes nothing else" in rig.why("large"), "drained")
            rig.vacate("n2", 0)
            rig.vacate("n2", 1)
            await until(lambda: rig.host_of("large") == "n2", "bound")
            rig.add_task("small")
            await until(lambda: rig.host_of("small") == "n1", "given back")

    async def test_a_host_on_which_nothing_ends_is_given_up_for_another(self) -> None:
        rig = SchedulingRig(drain_after_seconds=10)
        for host, held in (("n1", 1), ("n2", 2)):
            rig.add_host(host, 2)
            rig.occupy(host, *range(held))
        rig.add_task("large", 2, priority=1)
        async with looping(rig):
            await asyncio.sleep(0)
            rig.seconds += 11
            await until(lambda: "; n1 takes nothing else" in rig.why("large"), "drained")
            rig.seconds += 121
            await until(lambda: "; n2 takes nothing else" in rig.why("large"), "another")
            rig.add_task("small")
            await until(lambda: rig.host_of("small") == "n1", "given back")

    async def test_no_host_is_drained_for_one_whose_bind_alone_is_refused(self) -> None:
        """A cluster of one host would stand still with it."""
        rig = SchedulingRig(drain_after_seconds=10)
        rig.add_host("n1", 2)
        rig.refuse = lambda name: ForbiddenError("no", status=403) if name == "a" else None
        rig.add_task("a", priority=1)
        async with looping(rig):
            await until(lambda: rig.writes == ["a"] and not rig.host_of("a"), "refused")
            rig.seconds += 11
            rig.refuse = lambda _name: None
            await until(lambda: rig.live["a"]["status"].get("nodeName") == "n1", "bound")
            assert rig.scheduler.drain is None

    @pytest.mark.parametrize(
        ("after", "priority", "cpu"),
        [(0, 1, 2), (10, -1, 2), (10, 1, 99)],
        ids=["switched off", "something more urgent waits", "it would never fit"],
    )
    async def test_nothing_is_drained(self, after: int, priority: int, cpu: int) -> None:
        rig = SchedulingRig(drain_after_seconds=after)
        rig.add_host("n1", 2)
        rig.add_host("n2", 1)
        rig.occupy("n1", 0)
        rig.occupy("n2", 0)
        rig.add_task("large", cpu, priority=priority)
        async with looping(rig):
            await asyncio.sleep(0)
            rig.seconds += 11
            rig.add_task("pinned", host="n2")
            await until(lambda: "lack cpu" in rig.why("pinned"), "refused")
            rig.seconds += 2
            rig.add_task("small")
            await until(lambda: rig.host_of("small") == "n1", "bound")

    @staticmethod
    async def stream(rig: SchedulingRig, names: list[str], count: int) -> None:
        """Let the oldest small ones end, each followed by a new one."""
        for number in range(count):
            bound = [name for name in names if rig.host_of(name)]
            if not bound:
                return
            rig.end(bound[0])
            names.remove(bound[0])
            names.append(f"{bound[0]}.{number}")
            rig.add_task(names[-1])
            await asyncio.sleep(0.002)


class TestRefusals:
    async def test_so_many_binds_are_written_at_once_and_no_more(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 200)
        rig.gate.clear()
        for number in range(BINDS_AT_ONCE + 10):
            rig.add_task(f"t{number}")
        async with looping(rig):
            await until(lambda: len(rig.writes) >= BINDS_AT_ONCE, "under way")
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(rig.writes) == BINDS_AT_ONCE
            rig.gate.set()
            await until(lambda: len(rig.writes) == BINDS_AT_ONCE + 10, "all")

    async def test_a_bind_that_is_refused_after_it_was_unanswered_gives_its_place_to_others(
        self,
    ) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 64)
        tried: set[str] = set()

        def refuse(name: str) -> ApiError | None:
            if name == "good":
                return None
            if name in tried:
                return ForbiddenError("denied by policy", status=403)
            tried.add(name)
            return ApiUnavailableError("no answer", retry_after_seconds=0.01)

        rig.refuse = refuse
        for number in range(BINDS_AT_ONCE):
            rig.add_task(f"bad{number}")
        async with looping(rig):
            await until(lambda: len(tried) == BINDS_AT_ONCE, "all tried")
            rig.add_task("good")
            await until(lambda: rig.live["good"]["status"].get("nodeName"), "bound")
            await until(lambda: not any(map(rig.host_of, tried)), "given back")

    @pytest.mark.parametrize("hidden", [0, 2])
    async def test_one_that_took_effect_unanswered_keeps_its_cores_though_refused_later(
        self, hidden: int
    ) -> None:
        """An API server that has just begun forbids all, looks too, until it has read the roles."""
        rig = SchedulingRig()
        rig.add_host("n1", 1)
        lost = ApiUnavailableError("lost", retry_after_seconds=0.01)
        answers: Iterator[ApiError] = iter(
            [lost] + [ForbiddenError("no", status=403)] * (1 + hidden)
        )

        def refuse(name: str) -> ApiError | None:
            answer = next(answers, None)
            if isinstance(answer, ApiUnavailableError):  # the answer alone was lost
                live = rig.live[name]
                bound = {"nodeName": "n1", "cpus": [0], "runID": 1}
                rig._put(live, status=bound)
            return answer

        looks = iter([ForbiddenError("no", status=403)] * hidden)
        rig.refuse, rig.hide = refuse, lambda _name: next(looks, None)
        rig.add_task("a")
        async with looping(rig):
            await until(lambda: len(rig.writes) == 2 + hidden, "refused")
            await until(lambda: "u-a" not in rig.scheduler._binder, "settled")
            assert rig.host_of("a") == "n1"
            rig.add_task("b")
            await until(lambda: "lack cpu" in rig.why("b"), "b refused")

    async def test_many_that_are_unanswered_leave_room_for_others(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 200)
        rig.refuse = lambda name: (
            None if name == "good" else ApiUnavailableError("away", retry_after_seconds=5)
        )
        for number in range(BINDS_AT_ONCE + 5):
            rig.add_task(f"bad{number}", priority=1)
        rig.add_task("good")
        async with looping(rig):
            await until(lambda: rig.live["good"]["status"].get("nodeName"), "bound")

    async def test_a_refused_bind_is_held_until_its_back_off_is_over(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 4)
        rig.refuse = lambda _name: ForbiddenError("no", status=403)
        rig.add_task("a")
        async with looping(rig):
            await until(lambda: rig.writes == ["a"] and not rig.host_of("a"), "refused")
            for _ in range(20):
                rig.touch("a")
                await asyncio.sleep(0)
            assert rig.writes == ["a"]
            rig.refuse = lambda _name: None
            rig.change("a", priority=1)  # somebody did something about it
            await until(lambda: rig.host_of("a"), "bound")

    async def test_a_conflict_with_what_is_known_already_is_no_hot_loop(self) -> None:
        rig = SchedulingRig()
        rig.add_host("n1", 4)
        rig.refuse = lambda _name: ConflictError("changed", status=409)
        rig.add_task("a")
        async with looping(rig):
            await until(lambda: rig.writes == ["a"] and not rig.host_of("a"), "refused")
            for _ in range(50):
                await asyncio.sleep(0)
            assert rig.writes == ["a"]
