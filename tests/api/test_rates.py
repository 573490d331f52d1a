"""Rates: a burst, then so many in a second; and no source has all that there is."""

from weir_api.rates import SharedRate, TokenBucket


def test_a_burst_and_then_so_many_in_a_second() -> None:
    bucket = TokenBucket(3, 2.0, now=100.0)
    assert [bucket.take(100.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert [bucket.take(100.5) for _ in range(2)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(5)] == [True] * 3 + [False] * 2  # none is hoarded


def test_who_is_refused_for_all_loses_nothing_of_their_own() -> None:
    rate = SharedRate(burst=2, per_second=1, burst_of_one=1, per_second_of_one=0.001, now=0.0)
    assert [rate.take("a", 0.0), rate.take("a", 0.0), rate.take("b", 0.0)] == [True, False, True]
    assert not rate.take("c", 0.0)
    assert rate.take("c", 1.0)


def test_it_remembers_so_many_sources_and_no_more() -> None:
    rate = SharedRate(burst=1, per_second=1, burst_of_one=1, per_second_of_one=1, now=0.0)
    for number in range(10_000):
        rate.take(str(number), 0.0)
    assert len(rate) == 4096
