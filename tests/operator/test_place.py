"""Where a request goes."""

from dataclasses import replace
from typing import Any

import pytest

from support.ledgers import GIB, cpu, facts, hold, ledger_of, put, refused
from weir_crds.capacity import Gpu
from weir_crds.demand import Request
from weir_crds.facts import HostFacts
from weir_operator.scheduling.place import place

CASES: list[tuple[str, HostFacts, dict[str, tuple[int, ...]], Request, Any]] = [
    (
        "whole cores come from one NUMA node, lowest first",
        facts("n1"),
        {},
        cpu(2),
        ((0, 1), 0),
    ),
    (
        "a begun NUMA node is filled before a whole one is begun",
        facts("n1"),
        {"a": (4, 5)},
        cpu(2),
        ((6, 7), 1),
    ),
    (
        "the tighter of two begun nodes is taken",
        facts("n1"),
        {"a": (0,), "b": (4, 5)},
        cpu(2),
        ((6, 7), 1),
    ),
    (
        "a node's worth of cores takes a whole node",
        facts("n1"),
        {"a": (0,)},
        cpu(4),
        ((4, 5, 6, 7), 1),
    ),
    (
        "what fits in no single node is spread, and has no node",
        facts("n1"),
        {"a": (0,), "b": (4,)},
        cpu(4),
        ((1, 2, 3, 5), None),
    ),
    ("what is larger than a node is spread", facts("n1"), {}, cpu(6), ((0, 1, 2, 3, 4, 5), None)),
    ("a pinned node is taken", facts("n1"), {}, cpu(2, numa_node=1), ((4, 5), 1)),
    (
        "a pinned node that is full is not left for another",
        facts("n1"),
        {"a": (4, 5, 6)},
        cpu(2, numa_node=1),
        "lack cpu",
    ),
    (
        "a pinned node that is too small never fits",
        facts("n1"),
        {},
        cpu(5, numa_node=1),
        "too few cores",
    ),
    (
        "a node that is not there never fits",
        facts("n1"),
        {},
        cpu(1, numa_node=2),
        "lack NUMA node 2",
    ),
    ("one core too many never fits", facts("n1"), {}, cpu(9), "too few cores"),
    ("a full host", facts("n1"), {"a": (0, 1, 2, 3), "b": (4, 5, 6, 7)}, cpu(1), "lack cpu"),
    ("a fraction has no cores of its own", facts("n1"), {}, cpu(0.5), ((), None)),
    ("a fraction above one neither", facts("n1"), {}, cpu(1.5), ((), None)),
    (
        "nothing at all needs a shared core",
        facts("n1", nodes=1, cores=1),
        {"a": (0,)},
        cpu(0),
        "lack cpu",
    ),
    ("memory", facts("n1"), {}, cpu(1, memory_bytes=65 * GIB), "too little memory"),
    ("a label", facts("n1"), {}, cpu(1, host_selector=(("gpu", "a100"),)), "lack the labels"),
    ("a host by name", facts("n1"), {}, cpu(1, host_name="n2"), "not asked for"),
    ("no GPU", facts("n1"), {}, cpu(1, gpu_count=1), "no gpu"),
    ("too few GPUs", facts("n1", gpus=1), {}, cpu(1, gpu_count=2), "too few gpus"),
    (
        "a GPU that is not there",
        facts("n1", gpus=1),
        {},
        cpu(1, gpu_indices=(1,)),
        "lack those gpus",
    ),
    ("not ready", facts("n1", unavailable="not ready"), {}, cpu(1), "not ready"),
    ("nothing told yet", HostFacts("n1"), {}, cpu(1), "not ready"),
    ("a foreign runner's", facts("n1", external=True), {}, cpu(1), "external"),
    (
        "a foreign runner's, asked for by name",
        facts("n1", external=True),
        {},
        cpu(1, host_name="n1"),
        "external",
    ),
    ("never before not now", facts("n1", unavailable="cordoned"), {}, cpu(99), "too few cores"),
]


@pytest.mark.parametrize(
    ("host", "held", "request_", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_one_host(
    host: HostFacts, held: dict[str, tuple[int, ...]], request_: Request, expected: Any
) -> None:
    ledger = ledger_of(host)
    for uid, cpus in held.items():
        hold(ledger, uid, host.name, *cpus)
    result = place(request_, ledger.known_hosts())
    if isinstance(expected, str):
        assert refused(ledger, request_) == {host.name: expected}
    else:
        assert result is not None
        assert (result.cpus, result.numa_node) == expected


class TestSharedPool:
    def test_its_shares_fit_in_what_is_not_exclusive(self) -> None:
        ledger = ledger_of(facts("n1", nodes=1, cores=4))
        put(ledger, "a", cpu(2))
        put(ledger, "b", cpu(1.5))
        assert refused(ledger, cpu(0.6)) == {"n1": "lack cpu"}
        put(ledger, "c", cpu(0.5))
        assert refused(ledger, cpu(0.001)) == {"n1": "lack cpu"}

    def test_what_it_has_promised_is_not_given_away(self) -> None:
        ledger = ledger_of(facts("n1", nodes=1, cores=4))
        put(ledger, "a", cpu(1.2))
        assert refused(ledger, cpu(3)) == {"n1": "lack cpu"}
        assert put(ledger, "b", cpu(2)).cpus == (0, 1)

    def test_one_core_stays_while_anything_runs_there(self) -> None:
        ledger = ledger_of(facts("n1", nodes=1, cores=2))
        put(ledger, "a", cpu(0))
        assert refused(ledger, cpu(2)) == {"n1": "lack cpu"}
        ledger.release("a")
        assert put(ledger, "b", cpu(2)).cpus == (0, 1)

    def test_a_share_tied_to_a_node_keeps_its_cores_there(self) -> None:
        ledger = ledger_of(facts("n1", nodes=2, cores=2))
        put(ledger, "a", cpu(1.5, numa_node=1))
        assert refused(ledger, cpu(0.6, numa_node=1)) == {"n1": "lack cpu"}
        assert refused(ledger, cpu(1, numa_node=1)) == {"n1": "lack cpu"}
        assert put(ledger, "b", cpu(2)).cpus == (0, 1)

    def test_what_needs_nothing_is_spread(self) -> None:
        ledger = ledger_of(facts("n1"), facts("n2"))
        assert {put(ledger, uid, cpu(0)).host for uid in ("a", "b")} == {"n1", "n2"}

    def test_shares_are_packed(self) -> None:
        ledger = ledger_of(facts("n1"), facts("n2"))
        assert {put(ledger, uid, cpu(0.5)).host for uid in ("a", "b")} == {"n1"}


class TestManyHosts:
    def test_a_begun_host_is_filled_first(self) -> None:
        ledger = ledger_of(facts("n1"), facts("n2"))
        hold(ledger, "a", "n2", 0)
        assert put(ledger, "b", cpu(1)).host == "n2"

    def test_one_node_beats_a_tight_spread(self) -> None:
        ledger = ledger_of(facts("n1"), facts("n2"))
        hold(ledger, "a", "n1", 0, 4)
        assert put(ledger, "b", cpu(4)).host == "n2"

    def test_hosts_with_gpus_are_left_to_those_who_need_them(self) -> None:
        ledger = ledger_of(facts("n1", gpus=1), facts("n2"))
        assert put(ledger, "a", cpu(1)).host == "n2"
        assert put(ledger, "b", cpu(1, gpu_count=1)).host == "n1"

    def test_the_shared_pool_that_there_is_comes_before_a_new_one(self) -> None:
        ledger = ledger_of(facts("n1", cores=1), facts("n2", cores=8))
        hold(ledger, "a", "n2", shared_millis=500)
        assert put(ledger, "b", cpu(0.5)).host == "n2"

    def test_of_two_alike_the_one_with_less_memory_is_taken(self) -> None:
        ledger = ledger_of(facts("n1", memory_gib=64), facts("n2", memory_gib=32))
        assert put(ledger, "a", cpu(1, memory_bytes=GIB)).host == "n2"

    def test_a_whole_node_is_not_begun_where_a_begun_one_has_room(self) -> None:
        ledger = ledger_of(facts("n1", nodes=2, cores=2), facts("n2", nodes=2, cores=8))
        hold(ledger, "a", "n2", 0)
        assert put(ledger, "b", cpu(1)).host == "n2"

    def test_a_whole_node_that_is_wanted_whole_is_not_broken(self) -> None:
        ledger = ledger_of(facts("n1", nodes=2, cores=2))
        assert put(ledger, "a", cpu(2)).cpus == (0, 1)

    def test_an_engine_that_is_away_stops_nobody_who_needs_another(self) -> None:
        ledger = ledger_of(facts("n1", ready_engines=frozenset({"qemu"})))
        assert refused(ledger, cpu(1)) == {"n1": "Docker not ready"}
        assert put(ledger, "vm", cpu(1, engine="qemu")).host == "n1"
        assert refused(ledger, cpu(1, engine="box")) == {"n1": "box not ready"}

    def test_names_break_ties_in_whatever_order_hosts_come(self) -> None:
        states = ledger_of(facts("n1"), facts("n2")).known_hosts()
        assert place(cpu(1), states) == place(cpu(1), reversed(states))

    def test_each_host_says_why_not(self) -> None:
        ledger = ledger_of(
            facts("n1", nodes=1, cores=1),
            facts("n2", unavailable="cordoned"),
            facts("n3", memory_gib=1),
            facts("n4", gpus=2),
        )
        hold(ledger, "a", "n4", gpus=(0, 1), shared_millis=0)
        assert refused(ledger, cpu(2, memory_bytes=2 * GIB, gpu_count=0)) == {}
        assert refused(ledger, cpu(2, memory_bytes=2 * GIB, gpu_count=2)) == {
            "n1": "too few cores",
            "n2": "no gpu",
            "n3": "too little memory",
            "n4": "gpu in use",
        }


class TestGpus:
    def test_they_come_from_the_cores_node(self) -> None:
        ledger = ledger_of(facts("n1", gpus=4))
        hold(ledger, "a", "n1", 0, gpus=(0, 2))
        placement = put(ledger, "b", cpu(1, gpu_count=2))
        assert placement.numa_node == 1
        assert [gpu.index for gpu in placement.gpus] == [1, 3]

    def test_any_will_do_when_there_are_none_near(self) -> None:
        ledger = ledger_of(facts("n1", gpus=2))
        hold(ledger, "a", "n1", 4, 5, 6, 7)
        assert [gpu.index for gpu in put(ledger, "b", cpu(2, gpu_count=2)).gpus] == [0, 1]

    def test_by_index(self) -> None:
        ledger = ledger_of(facts("n1", gpus=4))
        placement = put(ledger, "a", cpu(1, gpu_indices=(3,), host_name="n1"))
        assert [(gpu.index, gpu.uuid) for gpu in placement.gpus] == [(3, "GPU-3")]
        assert refused(ledger, cpu(1, gpu_indices=(3,), host_name="n1")) == {"n1": "gpu in use"}

    def test_a_group_that_is_just_large_enough_is_taken(self) -> None:
        gpus = tuple(Gpu(index, f"GPU-{index}", 0 if index < 3 else 1) for index in range(5))
        ledger = ledger_of(replace(facts("n1"), gpus=gpus))
        assert [gpu.index for gpu in put(ledger, "a", cpu(0, gpu_count=2)).gpus] == [3, 4]

    def test_without_cores_they_stay_together(self) -> None:
        ledger = ledger_of(facts("n1", gpus=4))
        hold(ledger, "a", "n1", gpus=(0,), shared_millis=0)
        assert [gpu.index for gpu in put(ledger, "b", cpu(0, gpu_count=2)).gpus] == [1, 3]
