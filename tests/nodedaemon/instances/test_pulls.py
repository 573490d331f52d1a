"""Pulls: shared, retried, cancelled when nobody waits."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from support.aio import until
from weir_kube.store import Key
from weir_nodedaemon.engines.port import (
    BY_HOST_LOGIN,
    ContainerEngine,
    EngineUnavailableError,
    ImagePullError,
    PullAccess,
    RegistryLogin,
    RegistryLoginError,
)
from weir_nodedaemon.instances import pulls
from weir_nodedaemon.instances.journal import InstanceID
from weir_nodedaemon.instances.pulls import Pulls

A, B = InstanceID("a", 1), InstanceID("b", 1)
KEY_A, KEY_B = Key("default", "a"), Key("default", "b")


class Registry:
    """Answers pulls one after the other with what ``answers`` holds, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = [None]
        self.asked: list[str] = []
        self.accesses: list[PullAccess] = []
        self.cancelled = 0
        self.open = asyncio.Event()
        self.open.set()

    async def pull(self, image: str, access: PullAccess = BY_HOST_LOGIN) -> None:
        self.asked.append(image)
        self.accesses.append(access)
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


async def test_a_pull_is_shared_only_by_those_with_the_same_logins(bench: Bench) -> None:
    bench.registry.open.clear()
    mine = PullAccess((RegistryLogin("r", "me", "p"),))
    bench.pulls.want("i", A, KEY_A)
    bench.pulls.want("i", B, KEY_B, mine)
    await until(lambda: len(bench.registry.asked) == 2)
    assert bench.registry.accesses == [BY_HOST_LOGIN, mine]
    bench.pulls.leave(A)
    await until(lambda: bench.registry.cancelled == 1)
    state = bench.pulls.state(B)
    assert state is not None
    assert not state.ready
    assert bench.pulls.state(A) is None


async def test_a_failure_that_is_the_hosts_ends_no_pull(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: more tries than any registry gets, and the host takes no new work."""
    monkeypatch.setattr(pulls, "_HOSTS_FAULT_PAUSE", 0.001)
    full = ImagePullError("no space left on device", permanent=False, hosts_fault=True)
    bench.registry.answers = [full]
    runs = [InstanceID(name, 1) for name in "abc"]
    for run in runs:
        bench.pulls.want(f"image-{run.uid}", run, Key("default", run.uid))
    await until(lambda: len(bench.registry.asked) > 20)
    assert bench.pulls.breaker.trouble == "no space left on device"
    for run in runs:
        state = bench.pulls.state(run)
        assert state is not None
        assert (state.failure, state.trouble) == (None, "no space left on device")
    with pytest.raises(ImagePullError, match="no space"):
        await bench.pulls.probe()

    bench.registry.answers = [None]
    await until(lambda: all((found := bench.pulls.state(run)) and found.ready for run in runs))
    assert bench.pulls.breaker.trouble == ""
    await bench.pulls.probe()


async def test_a_login_that_cannot_be_read_has_a_reason_of_its_own(bench: Bench) -> None:
    bench.registry.answers = [RegistryLoginError("denied (helper failed)", permanent=False), None]
    bench.pulls.want("i", A, KEY_A)
    await until(lambda: bool(bench.woken))
    state = bench.pulls.state(A)
    assert state is not None
    assert state.ready or state.reason == "RegistryLoginFailed"
