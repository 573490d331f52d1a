"""Guessing becomes slow; mistyping does not; and nobody slows down others."""

import pytest

from weir_api.access.throttle import Throttle
from weir_api.errors import SlowDownError, UnavailableError


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(throttle: Throttle, *key: str) -> float:
    """Try in vain, and return for how long one is sent away; 0: the try was let through."""
    try:
        with throttle.attempt(*key):
            pass
    except SlowDownError as exc:
        return exc.retry_after_seconds or -1.0
    return 0.0


def succeed(throttle: Throttle, *key: str) -> None:
    with throttle.attempt(*key) as attempt:
        attempt.succeeded = True


def test_the_first_failures_are_free_then_each_wait_doubles_up_to_a_minute(clock: Clock) -> None:
    throttle = Throttle(free=3, clock=clock)
    assert [fail(throttle, "ada") for _ in range(4)] == [0, 0, 0, 0]
    waits = []
    for _ in range(8):
        wait = fail(throttle, "ada")
        waits.append(wait)
        assert fail(throttle, "ada") == wait  # asking again makes it no worse
        clock.now += wait
        assert fail(throttle, "ada") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_tries_are_counted_when_they_begin(clock: Clock) -> None:
    # So a hundred guesses at once are a hundred failures, not one.
    throttle = Throttle(free=3, clock=clock)
    attempts = [throttle.attempt("ada") for _ in range(100)]
    passed = 0
    for attempt in attempts:
        try:
            attempt.__enter__()
        except SlowDownError:
            continue
        passed += 1
    assert passed == 4


def test_one_key_is_not_anothers(clock: Clock) -> None:
    throttle = Throttle(free=0, clock=clock)
    assert fail(throttle, "ada", "10.0.0.1") == 0
    assert fail(throttle, "ada", "10.0.0.1") > 0
    assert fail(throttle, "ada", "10.0.0.2") == 0
    assert fail(throttle, "bob", "10.0.0.1") == 0
    assert fail(throttle, "ada10.0.0.1") == 0


def test_success_forgives_all_failures_of_its_key_only(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    for _ in range(20):
        assert fail(throttle, "ada") == 0
        succeed(throttle, "ada")
    fail(throttle, "bob")
    fail(throttle, "bob")
    succeed(throttle, "ada")
    assert fail(throttle, "bob") == 1


def test_what_says_nothing_about_the_secret_does_not_count(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    assert fail(throttle, "ada") == 0
    for _ in range(10):
        with pytest.raises(UnavailableError), throttle.attempt("ada"):
            raise UnavailableError("too many at once")
    assert [fail(throttle, "ada") for _ in range(2)] == [0, 1]  # earlier failures stay


def test_a_try_that_is_broken_off_counts(clock: Clock) -> None:
    throttle = Throttle(free=0, clock=clock)
    with pytest.raises(RuntimeError), throttle.attempt("ada"):
        raise RuntimeError
    assert fail(throttle, "ada") == 1


def test_time_forgives(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    for _ in range(10):
        clock.now += fail(throttle, "ada")
    clock.now += 901
    assert [fail(throttle, "ada") for _ in range(3)] == [0, 0, 1]


def test_a_flood_of_names_takes_no_more_memory(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    for number in range(10_050):
        fail(throttle, f"u{number}")
    assert len(throttle._failures) == 10_000
