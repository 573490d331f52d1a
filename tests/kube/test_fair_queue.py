"""The fair queue: order within a source, turns among sources, and who gives way when it is full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_kube.fair_queue import FairQueue


def drain(queue: FairQueue[int, str]) -> list[tuple[str, int]]:
    return [queue.take()[:2] for _ in range(len(queue))]


def test_sources_take_turns_each_in_its_own_order() -> None:
    queue: FairQueue[int, str] = FairQueue(10)
    for source, key in (("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)):
        assert queue.put(source, key, "")
    assert drain(queue) == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3)]
    with pytest.raises(KeyError):
        queue.take()


def test_when_it_is_full_the_newest_of_who_has_most_gives_way() -> None:
    queue: FairQueue[int, str] = FairQueue(4)
    for key in range(4):
        queue.put("many", key, "")
    assert not queue.put("many", 4, "")
    assert [queue.put("few", key, "") for key in range(3)] == [False] * 3
    assert sorted(drain(queue)) == [("few", 0), ("few", 1), ("many", 0), ("many", 1)]


def test_what_is_put_back_is_next_and_replaces_what_has_its_key_since() -> None:
    queue: FairQueue[int, str] = FairQueue(2)
    for source in ("a", "b"):
        queue.put(source, 1, "old")
    source, key, _ = queue.take()
    assert queue.put("a", 2, "")
    queue.put_back(source, key, "mended")  # even if it is full by now
    queue.put_back(source, key, "twice")
    assert len(queue) == 3
    assert queue.take() == ("a", 1, "twice")
    assert drain(queue) == [("b", 1), ("a", 2)]


Step = tuple[str, int] | None


@given(
    st.integers(0, 6),
    st.lists(st.one_of(st.none(), st.tuples(st.sampled_from("abc"), st.integers(0, 99)))),
)
def test_it_holds_no_more_than_it_may_and_counts_what_it_drops(
    most: int, steps: list[Step]
) -> None:
    queue: FairQueue[int, str] = FairQueue(most)
    kept = 0
    for step in steps:
        if step is None:
            if len(queue):
                queue.take()
                kept -= 1
        elif queue.get(*step) is None:
            kept += queue.put(*step, "value")
        assert len(queue) == kept <= most
    assert len(drain(queue)) == kept
