"""Pulls: shared, retried, cancelled when nobody waits."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from support.aio import until
from weir_kube.store import Key
from weir_nodedaemon.engines.port import ContainerEngine, EngineUnavailableError, ImagePullError
from weir_nodedaemon.instances.journal import InstanceID
from weir_nodedaemon.instances.pulls import Pulls

A, B = InstanceID("a", 1), InstanceID("b", 1)
KEY_A, KEY_B = Key("default", "a"), Key("default", "b")


class Registry:
    """Answers pulls one after the other with what ``answers`` holds, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = [None]
        self.asked: list[str] = []
        self.cancelled = 0
        self.open = asyncio.Event()
        self.open.set()

    async def pull(self, image: str) -> None:
        self.asked.append(image)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


class Bench:
    """Pulls over a registry, and who was woken."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.woken: list[Key] = []
        engine = cast(ContainerEngine, self.registry)
        self.pulls = Pulls(engine, self.woken.append, pauses=(0.01, 0.01))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.pulls.close()


async def test_one_pull_for_all_who_wait(bench: Bench) -> None:
    bench.registry.open.clear()
    assert not bench.pulls.want("i", A, KEY_A).ready
    assert not bench.pulls.want("i", B, KEY_B).ready
    bench.registry.open.set()

    await until(lambda: set(bench.woken) == {KEY_A, KEY_B})

    assert bench.registry.asked == ["i"]
    assert bench.pulls.want("i", A, KEY_A).ready
    assert bench.pulls.want("i", A, KEY_A).ready  # as often as one looks
    assert bench.registry.asked == ["i"]


async def test_another_run_pulls_again(bench: Bench) -> None:
    """That is what imagePullPolicy Always means."""
    bench.pulls.want("i", A, KEY_A)
    await until(lambda: bench.woken)

    assert not bench.pulls.want("i", B, KEY_B).ready
    await until(lambda: KEY_B in bench.woken)
    assert bench.registry.asked == ["i", "i"]


async def test_a_pull_ends_when_the_last_one_leaves(bench: Bench) -> None:
    bench.registry.open.clear()
    bench.pulls.want("i", A, KEY_A)
    bench.pulls.want("i", B, KEY_B)
    await until(lambda: bench.registry.asked)

    bench.pulls.leave(A)
    await asyncio.sleep(0.02)
    assert bench.registry.cancelled == 0
    bench.pulls.leave(B)
    await until(lambda: bench.registry.cancelled == 1)
    bench.pulls.leave(B)


async def test_trouble_is_told_and_tried_again(bench: Bench) -> None:
    bench.registry.answers = [ImagePullError("away", permanent=False), None]
    bench.pulls.want("i", A, KEY_A)
    await until(lambda: bench.woken)
    assert bench.pulls.want("i", A, KEY_A).trouble == "away"

    await until(lambda: bench.pulls.want("i", A, KEY_A).ready)
    assert len(bench.registry.asked) == 2


async def test_after_some_tries_it_fails_for_good(bench: Bench) -> None:
    bench.registry.answers = [ImagePullError("away", permanent=False)]
    bench.pulls.want("i", A, KEY_A)

    await until(lambda: bench.pulls.want("i", A, KEY_A).failure == "away")
    assert len(bench.registry.asked) == 3


async def test_a_registry_that_says_no_is_not_asked_again(bench: Bench) -> None:
    bench.registry.answers = [ImagePullError("unknown", permanent=True)]
    bench.pulls.want("i", A, KEY_A)

    await until(lambda: bench.pulls.want("i", A, KEY_A).failure == "unknown")
    assert len(bench.registry.asked) == 1


async def test_an_engine_that_is_away_is_no_failure_of_the_pull(bench: Bench) -> None:
    bench.registry.answers = [EngineUnavailableError("gone")]
    bench.pulls.want("i", A, KEY_A)

    await until(lambda: bench.pulls.want("i", A, KEY_A).trouble == "gone")
    assert bench.pulls.want("i", A, KEY_A).failure is None


async def test_a_surprise_does_not_leave_anybody_waiting_for_ever(bench: Bench) -> None:
    bench.registry.answers = [RuntimeError("bug")]
    bench.pulls.want("i", A, KEY_A)

    await until(lambda: bench.pulls.want("i", A, KEY_A).failure == "RuntimeError: bug")
