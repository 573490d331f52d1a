"""Turns: who shares an address waits, nobody takes all the turns, and none is ever lost."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.virtual_time import VirtualTimeLoop, in_virtual_time, virtual_clock
from weir_api.access.turns import Turns
from weir_api.errors import SlowDownError


async def take(turns: Turns, source: str, into: list[str], seconds: float = 1.0) -> None:
    async with turns.turn(source):
        into.append(source)
        await asyncio.sleep(seconds)


def at_once(*works: Awaitable[None]) -> asyncio.Future[list[BaseException | None]]:
    return asyncio.gather(*works, return_exceptions=True)


@in_virtual_time
async def test_who_shares_an_address_waits_instead_of_being_refused() -> None:
    turns, done = Turns(at_once=8, per_source=2, waiting=100, seconds=60), list[str]()
    began = virtual_clock()

    assert await at_once(*(take(turns, "lab", done) for _ in range(20))) == [None] * 20

    assert virtual_clock() - began == 10  # two at a time
    assert len(done) == 20


@in_virtual_time
async def test_sources_take_turns_whoever_came_with_many() -> None:
    turns, done = Turns(at_once=1, per_source=1, waiting=100, seconds=600), list[str]()

    await at_once(
        *(take(turns, "many", done) for _ in range(10)),
        *(take(turns, "few", done) for _ in range(2)),
    )

    assert done[:5] == ["many", "many", "few", "many", "few"]


@in_virtual_time
async def test_a_source_rests_after_a_turn_in_vain_and_others_do_not() -> None:
    turns, done = (
        Turns(at_once=2, per_source=2, waiting=100, seconds=60, rest_seconds=5),
        list[str](),
    )

    async def guess() -> None:
        async with turns.turn("guesser") as turn:
            turn.in_vain = True

    began = virtual_clock()
    guesses = at_once(*(guess() for _ in range(6)))
    await take(turns, "other", done, seconds=1)
    assert virtual_clock() - began == 1
    assert await guesses == [None] * 6
    assert virtual_clock() - began == 10  # two in five seconds
    await asyncio.sleep(5)
    began = virtual_clock()
    await guess()
    assert virtual_clock() == began
    await asyncio.sleep(5)
    assert not turns._resting


@in_virtual_time
async def test_one_source_leaves_places_to_others() -> None:
    turns, done = Turns(at_once=3, per_source=2, waiting=100, seconds=60), list[str]()

    flood = at_once(*(take(turns, "many", done) for _ in range(10)))
    await asyncio.sleep(0)
    began = virtual_clock()
    await take(turns, "few", done)

    assert virtual_clock() - began == 1
    await flood


@in_virtual_time
async def test_who_waits_too_long_is_asked_to_come_again() -> None:
    turns, done = Turns(at_once=1, per_source=1, waiting=100, seconds=5), list[str]()
    holder = asyncio.ensure_future(take(turns, "a", done, 100))
    await asyncio.sleep(0)
    began = virtual_clock()

    with pytest.raises(SlowDownError):
        await take(turns, "a", done)

    assert virtual_clock() - began == 5
    await holder
    await take(turns, "a", done)


@in_virtual_time
async def test_when_too_many_wait_those_of_the_source_with_most_give_way() -> None:
    turns, done = Turns(at_once=1, per_source=1, waiting=4, seconds=600), list[str]()
    flood = [asyncio.ensure_future(take(turns, "many", done)) for _ in range(5)]
    await asyncio.sleep(0)
    late = [asyncio.ensure_future(take(turns, "many", done))]  # of the same: none gives way
    few = [asyncio.ensure_future(take(turns, "few", done)) for _ in range(3)]

    results = await at_once(*flood, *late, *few)

    assert [type(one) for one in results] == [
        *[type(None)] * 3,  # one ran at once, and the two that have waited longest
        *[SlowDownError] * 2,
        SlowDownError,
        *[type(None)] * 2,
        SlowDownError,  # as many of either wait by now
    ]


@in_virtual_time
async def test_who_leaves_while_waiting_takes_no_turn() -> None:
    turns, done = Turns(at_once=1, per_source=1, waiting=100, seconds=600), list[str]()
    tasks = [asyncio.ensure_future(take(turns, "a", done)) for _ in range(4)]
    await asyncio.sleep(0.5)
    tasks[0].cancel()  # that has its turn
    tasks[1].cancel()  # that would be next
    began = virtual_clock()

    await at_once(*tasks)

    assert virtual_clock() - began == 2
    assert turns.is_idle


Step = tuple[str, float, float]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3), st.floats(0, 3)), max_size=40))
def test_whatever_comes_and_leaves_bounds_hold_and_no_turn_is_lost(steps: list[Step]) -> None:
    async def world() -> None:
        turns = Turns(at_once=3, per_source=2, waiting=5, seconds=2)
        running: Counter[str] = Counter()

        async def one(source: str, arrives: float, leaves: float) -> None:
            await asyncio.sleep(arrives)
            try:
                async with asyncio.timeout(leaves), turns.turn(source):
                    running[source] += 1
                    assert running[source] <= 2
                    assert running.total() <= 3
                    try:
                        await asyncio.sleep(0.7)
                    finally:
                        running[source] -= 1
            except (TimeoutError, SlowDownError):
                pass

        await asyncio.gather(*(one(*step) for step in steps))
        assert turns.is_idle

    run_virtually(world)


def run_virtually(work: Callable[[], Awaitable[None]]) -> None:
    async def go() -> None:
        await work()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(go())
