"""When a host that fails takes no new work, and when it does again."""

import pytest

from weir_crds.errors import WeirError
from weir_nodedaemon.host.breaker import Breaker


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, within_seconds=600, probe_seconds=30, clock=clock)


class Probe:
    """A start that fails or not."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.starts = 0

    async def __call__(self) -> None:
        self.starts += 1
        if self.failure:
            raise WeirError(self.failure)


def test_three_runs_that_fail_in_a_row_open_it(breaker: Breaker) -> None:
    for run in ("a", "b"):
        breaker.failed(run, "no addresses")
        assert breaker.trouble == ""
    breaker.failed("c", "no addresses")
    assert breaker.trouble == "no addresses"


def test_one_run_that_fails_again_and_again_says_nothing_about_the_host(breaker: Breaker) -> None:
    for _ in range(50):
        breaker.failed("a", "no addresses")
    assert breaker.trouble == ""


def test_a_start_in_between_shows_that_the_host_can(breaker: Breaker) -> None:
    breaker.failed("a", "x")
    breaker.failed("b", "x")
    breaker.succeeded()
    breaker.failed("c", "x")
    assert breaker.trouble == ""


def test_failures_far_apart_do_not_add_up(breaker: Breaker, clock: Clock) -> None:
    for run in ("a", "b", "c", "d"):
        breaker.failed(run, "x")
        clock.now += 301
    assert breaker.trouble == ""


async def test_it_tells_of_opening_and_closing_and_of_what_a_probe_says(clock: Clock) -> None:
    """Each run that fails has words of its own: they are many, and each is a write."""
    told: list[str] = []
    breaker = Breaker(failures=1, clock=clock)
    breaker.on_change = lambda: told.append(breaker.trouble)
    breaker.failed("a", "no room for a")
    for run in ("a", "b", "c"):
        breaker.failed(run, f"no room for {run}")
    assert told == ["no room for a"]
    clock.now += 30
    await breaker.probe(Probe("no room"))
    breaker.succeeded()
    breaker.succeeded()
    assert told == ["no room for a", "no room", ""]


async def test_while_starts_succeed_nothing_is_probed(breaker: Breaker) -> None:
    probe = Probe()
    await breaker.probe(probe)
    assert probe.starts == 0


async def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    for run in ("a", "b", "c"):
        breaker.failed(run, "x")
    probe = Probe("still")
    await breaker.probe(probe)
    assert probe.starts == 0  # it has only just failed
    clock.now += 30
    await breaker.probe(probe)
    await breaker.probe(probe)
    assert (probe.starts, breaker.trouble) == (1, "still")
    clock.now += 30
    probe.failure = ""
    await breaker.probe(probe)
    assert (probe.starts, breaker.trouble) == (2, "")
    breaker.failed("d", "x")
    assert breaker.trouble == ""  # it counts from nothing
