"""Guessing becomes slow; mistyping does not."""

import pytest

from weir_api.access.throttle import Throttle, peer_key
from weir_api.errors import SlowDownError


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wait_of(throttle: Throttle, key: str) -> float:
    """Try, and return for how long one is sent away; 0: the try was let through."""
    try:
        throttle.begin(key)
    except SlowDownError as exc:
        return exc.retry_after_seconds or -1.0
    return 0.0


def test_the_first_failures_are_free_then_each_wait_doubles_up_to_a_minute(clock: Clock) -> None:
    throttle = Throttle(free=3, clock=clock)
    assert [wait_of(throttle, "ada") for _ in range(4)] == [0, 0, 0, 0]
    waits = []
    for _ in range(8):
        wait = wait_of(throttle, "ada")
        waits.append(wait)
        assert wait_of(throttle, "ada") == wait  # asking again makes it no worse
        clock.now += wait
        assert wait_of(throttle, "ada") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_tries_are_counted_when_they_begin(clock: Clock) -> None:
    # So a hundred guesses at once are a hundred failures, not one.
    throttle = Throttle(free=3, clock=clock)
    passed = sum(wait_of(throttle, "ada") == 0 for _ in range(100))
    assert passed == 4


def test_one_key_is_not_anothers(clock: Clock) -> None:
    throttle = Throttle(free=0, clock=clock)
    assert wait_of(throttle, "ada") == 0
    assert wait_of(throttle, "ada") > 0
    assert wait_of(throttle, "bob") == 0


def test_success_forgives_a_user_all_failures(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    for _ in range(20):
        throttle.begin("ada")
        throttle.forgive("ada")
    assert wait_of(throttle, "ada") == 0


def test_success_of_one_forgives_an_address_nothing(clock: Clock) -> None:
    throttle = Throttle(free=2, clock=clock)
    throttle.begin("10.0.0.1")
    throttle.begin("10.0.0.1")
    for _ in range(10):
        throttle.begin("10.0.0.1")
        throttle.take_back("10.0.0.1")
    assert wait_of(throttle, "10.0.0.1") == 0
    assert wait_of(throttle, "10.0.0.1") == 1


def test_time_forgives(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    for _ in range(10):
        clock.now += wait_of(throttle, "ada")
    clock.now += 901
    assert [wait_of(throttle, "ada") for _ in range(3)] == [0, 0, 1]


def test_a_flood_of_names_takes_no_more_memory(clock: Clock) -> None:
    throttle = Throttle(free=1, clock=clock)
    for number in range(10_050):
        throttle.begin(f"u{number}")
    assert len(throttle._tries) == 10_000


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),  # each customer has so many
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("/run/socket", "unknown"),
    ],
)
def test_what_a_peer_is_counted_under(address: str | None, key: str) -> None:
    assert peer_key(address) == key
