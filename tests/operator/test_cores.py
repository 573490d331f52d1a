"""Which cores of a NUMA node a request gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.ledgers import cpu, facts, ledger_of, put
from weir_crds.facts import facts_of
from weir_operator.scheduling.cores import choose_cores

FOUR_OF_TWO = ((0, 4), (1, 5), (2, 6), (3, 7))
CASES = [
    ("no threads: the lowest", range(8), 3, (), (), [0, 1, 2]),
    ("a whole physical core", range(8), 2, FOUR_OF_TWO, (), [0, 4]),
    ("two of them", range(8), 4, FOUR_OF_TWO, (), [0, 1, 4, 5]),
    ("one and a half: nobody else's", range(8), 3, FOUR_OF_TWO, (), [0, 1, 4]),
    ("a single thread: of a core that is free", range(8), 1, FOUR_OF_TWO, (), [0]),
    ("the next one: of another core", [1, 2, 3, 4, 5, 6, 7], 1, FOUR_OF_TWO, (), [1]),
    ("whole ones before broken ones", [1, 2, 4, 6], 2, FOUR_OF_TWO, (), [2, 6]),
    ("broken ones where no other is left", [1, 4, 7], 2, FOUR_OF_TWO, (), [1, 4]),
    ("whole and broken", [1, 2, 4, 6], 3, FOUR_OF_TWO, (), [1, 2, 6]),
    ("the faster ones first", range(8), 2, (), (0, 1, 2, 3), [4, 5]),
    ("one make alone", [0, 1, 2, 4, 5], 3, (), (0, 1, 2), [0, 1, 2]),
    ("both where it must be", [0, 1, 4, 5], 3, (), (0, 1), [0, 4, 5]),
    ("threads are of the faster make", range(6), 4, ((0, 1), (2, 3)), (4, 5), [0, 1, 2, 3]),
    ("too many wanted: all", [1, 2], 5, (), (), [1, 2]),
]


@pytest.mark.parametrize(
    ("free", "count", "siblings", "slower", "chosen"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_choice(
    free: list[int],
    count: int,
    siblings: tuple[tuple[int, ...], ...],
    slower: tuple[int, ...],
    chosen: list[int],
) -> None:
    assert sorted(choose_cores(list(free), count, siblings, slower)) == chosen


@given(
    free=st.sets(st.integers(0, 15)),
    count=st.integers(0, 16),
    slower=st.sets(st.integers(0, 15)),
)
def test_as_many_as_are_wanted_each_once_and_each_free(
    free: set[int], count: int, slower: set[int]
) -> None:
    siblings = [(core, core + 8) for core in range(8)]
    chosen = choose_cores(free, count, siblings, slower)
    assert len(chosen) == len(set(chosen)) == min(count, len(free))
    assert free.issuperset(chosen)


def test_a_task_gets_whole_physical_cores_of_its_host() -> None:
    host = facts("n1", nodes=1, cores=8, siblings=FOUR_OF_TWO)
    ledger = ledger_of(host)
    assert put(ledger, "a", cpu(2)).cpus == (0, 4)
    assert put(ledger, "b", cpu(1)).cpus == (1,)
    assert put(ledger, "c", cpu(2)).cpus == (2, 6)


def test_what_a_host_says_of_its_threads_is_heeded() -> None:
    node = {"id": 0, "cpus": [0, 1, 2, 3], "memory": "8Gi", "distances": [10]}
    told = {"cpus": 4, "numa": [node], "threadSiblings": [[0, 2], [1, 3]], "efficiencyCpus": [3]}
    host = {"metadata": {"name": "n1"}, "spec": {"reserved": {"cpus": [0]}}}
    found = facts_of({**host, "status": {"capacity": told}})
    assert found.siblings == ((0, 2), (1, 3))  # core 2 is never whole, since 0 is not for work
    assert found.slower == {3}
