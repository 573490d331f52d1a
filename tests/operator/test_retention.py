"""Which finished Tasks go."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weir_kube.store import Key
from weir_operator.retention import Finished, Retention


def finished(name: str, end: float, ttl: float = 3600, namespace: str = "a") -> Finished:
    return Finished(Key(namespace, name), f"uid-{namespace}-{name}", end, end + ttl)


def names(retention: Retention, now: float, limit: int = 100) -> list[tuple[str, str]]:
    return [(one.object.key.name, one.why) for one in retention.take_overdue(now, limit)]


def test_each_goes_at_its_own_time() -> None:
    retention = Retention(cap=100)
    for name, ttl in (("slow", 100), ("fast", 10), ("at once", 0)):
        retention.track(finished(name, 0, ttl))
    assert names(retention, 0) == [("at once", "ttl")]
    assert retention.next_expiry() == 10
    assert names(retention, 50) == [("fast", "ttl")]
    assert names(retention, 50) == []
    assert names(retention, 100) == [("slow", "ttl")]
    assert retention.next_expiry() is None


def test_the_oldest_beyond_the_cap_go_namespace_by_namespace() -> None:
    retention = Retention(cap=2)
    for name, end in (("second", 2), ("first", 1), ("third", 3), ("fourth", 4)):
        retention.track(finished(name, end))
    retention.track(finished("elsewhere", 0, namespace="b"))
    assert names(retention, 5) == [("first", "cap"), ("second", "cap")]
    assert len(retention) == 3


def test_a_changed_time_counts() -> None:
    retention = Retention(cap=100)
    assert retention.track(finished("t", 0, 10))
    assert not retention.track(finished("t", 0, 10))
    assert retention.track(finished("t", 0, 100))
    assert names(retention, 50) == []
    assert retention.track(finished("t", 0, 20))
    assert names(retention, 50) == [("t", "ttl")]


def test_another_of_the_same_name_has_its_own_time() -> None:
    retention = Retention(cap=100)
    retention.track(finished("t", 0, 10))
    again = Finished(Key("a", "t"), "another", 5, 100)
    retention.track(again)
    assert names(retention, 50) == []
    assert [one.object for one in retention.take_overdue(100, 9)] == [again]


def test_another_of_the_same_name_has_its_own_age() -> None:
    """The one before it was finished earlier, and must not count for it."""
    retention = Retention(cap=1)
    retention.track(finished("t", 0))
    again = Finished(Key("a", "t"), "another", 20, 9999)
    retention.track(again)
    retention.track(finished("older", 10))
    assert names(retention, 50) == [("older", "cap")]
    retention.track(finished("newer", 30))
    assert [one.object for one in retention.take_overdue(50, 9)] == [again]


def test_what_is_gone_is_not_taken_and_not_counted() -> None:
    retention = Retention(cap=1)
    retention.track(finished("a", 1))
    retention.track(finished("b", 2))
    retention.forget(Key("a", "a"))
    retention.forget(Key("a", "never there"))
    assert names(retention, 9999) == [("b", "ttl")]


def test_a_limit_is_kept_and_the_rest_comes_next() -> None:
    retention = Retention(cap=0)
    for number in range(5):
        retention.track(finished(f"t{number}", number))
    assert [len(names(retention, 10, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 50), st.integers(0, 50), st.booleans()),
        max_size=60,
    ),
    st.integers(0, 5),
    st.integers(0, 60),
)
@settings(max_examples=200)
def test_it_is_what_a_walk_over_all_would_find(
    steps: list[tuple[int, int, int, bool]], cap: int, now: int
) -> None:
    retention = Retention(cap)
    model: dict[Key, Finished] = {}
    for number, end, ttl, keep in steps:
        key = Key("a", str(number))
        if keep:
            # The end of one object never changes.
            end_of = model[key].ended_at if key in model else end
            model[key] = Finished(key, f"uid-{number}", end_of, end_of + ttl)
            retention.track(model[key])
        else:
            model.pop(key, None)
            retention.forget(key)
    expired = {key for key, one in model.items() if one.expires_at <= now}
    left = sorted(
        (one for key, one in model.items() if key not in expired),
        key=lambda one: (one.ended_at, one.key, one.uid),
    )
    beyond = {one.key for one in left[: max(0, len(left) - cap)]}
    taken = retention.take_overdue(now, 1000)
    assert {one.object.key for one in taken} == expired | beyond
    assert len(retention) == len(model) - len(taken)
