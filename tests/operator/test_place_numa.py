"""Where a request goes on machines of several NUMA nodes, read from their Host objects."""

from typing import Any

import pytest

from support.ledgers import GIB, cpu, hold, ledger_of, put, refused
from weir_crds.demand import Request
from weir_crds.facts import HostFacts, facts_of
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.place import Placement


def host(
    name: str,
    cores: list[list[int]],
    memory_gib: list[int],
    gpu_nodes: list[int | None],
) -> HostFacts:
    """Return a ready host with these cores and this memory by node, and a GPU on each of these."""
    numa = [
        {"id": node, "cpus": cores[node], "memory": f"{memory_gib[node]}Gi", "distances": [10]}
        for node in range(len(cores))
    ]
    gpus: list[dict[str, Any]] = []
    for index, node in enumerate(gpu_nodes):
        gpu: dict[str, Any] = {"index": index, "uuid": f"GPU-{index}", "name": "A100"}
        gpus.append(gpu if node is None else {**gpu, "numaNode": node})
    capacity = {
        "cpus": sum(map(len, cores)),
        "memory": f"{sum(memory_gib)}Gi",
        "numa": numa,
        "gpus": gpus,
    }
    ready = [{"type": type, "status": "True"} for type in ("Ready", "DockerReady")]
    return facts_of(
        {
            "metadata": {"name": name},
            "spec": {"approval": "Approved"},
            "status": {"capacity": capacity, "conditions": ready},
        }
    )


def two_sockets(gpu_nodes: list[int | None] | None = None) -> HostFacts:
    """Two sockets of four cores with two threads each, numbered as the kernel does."""
    cores = [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]
    return host("two", cores, [32, 32], [0, 0, 1, 1] if gpu_nodes is None else gpu_nodes)


def eight_nodes() -> HostFacts:
    """As a large GPU server: every second NUMA node has two of the eight GPUs."""
    cores = [list(range(8 * node, 8 * node + 8)) for node in range(8)]
    return host("eight", cores, [64] * 8, [3, 3, 1, 1, 7, 7, 5, 5])


def odd() -> HostFacts:
    """One node without memory, one without cores, as with memory modules in few slots."""
    return host("odd", [[0, 1], [2, 3], []], [16, 0, 16], [])


def gpus_of(placement: Placement) -> list[int]:
    return [gpu.index for gpu in placement.gpus]


GPU_CASES: list[tuple[str, HostFacts, dict[str, Any], Request, tuple[int | None, list[int]]]] = [
    ("one comes with cores of its node", two_sockets(), {}, cpu(2, gpu_count=1), (0, [0])),
    ("two of one node", two_sockets(), {"a": {"gpus": (0,)}}, cpu(2, gpu_count=2), (1, [2, 3])),
    ("a node where too few are free is left for one that has all",
     eight_nodes(), {"a": {"cpus": (8, 9), "gpus": (2,)}}, cpu(4, gpu_count=2), (3, [0, 1])),
    ("the node that has GPUs comes before the one that is begun",
     eight_nodes(), {"a": {"cpus": (0, 1)}}, cpu(2, gpu_count=1), (1, [2])),
    ("a far one rather than none", two_sockets([0, 0, 0, 0]),
     {"a": {"cpus": (0, 1, 2, 3, 8, 9, 10)}}, cpu(2, gpu_count=1), (1, [0])),
    ("more than a node has: near ones first", eight_nodes(), {},
     cpu(4, gpu_count=3), (1, [0, 2, 3])),
    ("all of them", eight_nodes(), {}, cpu(16, gpu_count=8), (None, [0, 1, 2, 3, 4, 5, 6, 7])),
    ("a Task without cores gets them from one node", eight_nodes(), {"a": {"gpus": (0, 2)}},
     cpu(0, gpu_count=2), (None, [4, 5])),
    ("one alone is taken from a begun pair", eight_nodes(), {"a": {"gpus": (0,)}},
     cpu(0, gpu_count=1), (None, [1])),
    ("by index wherever they are: the cores follow", eight_nodes(), {},
     cpu(4, gpu_indices=(6, 7)), (5, [6, 7])),
    ("by index on a node that was asked for", two_sockets(), {},
     cpu(2, gpu_indices=(3,), numa_node=0), (0, [3])),
    ("nodes that are not known are no obstacle", two_sockets([None, None]), {},
     cpu(2, gpu_count=1), (0, [0])),
    ("a gap in the indices, as a lost one leaves it", two_sockets([0, 1]), {"lost": {"gpus": (7,)}},
     cpu(2, gpu_count=2), (0, [0, 1])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "held", "request_", "expected"),
    [case[1:] for case in GPU_CASES],
    ids=[case[0] for case in GPU_CASES],
)
def test_gpus(
    facts: HostFacts,
    held: dict[str, Any],
    request_: Request,
    expected: tuple[int | None, list[int]],
) -> None:
    ledger = ledger_of(facts)
    for uid, what in held.items():
        fields = dict(what)
        hold(ledger, uid, facts.name, *fields.pop("cpus", ()), **fields)
    placement = put(ledger, "new", request_)
    assert (placement.numa_node, gpus_of(placement)) == expected


def test_eight_tasks_share_eight_gpus_each_beside_its_own() -> None:
    facts = eight_nodes()
    ledger = ledger_of(facts)
    taken: list[int] = []
    for number in range(8):
        placement = put(ledger, f"t{number}", cpu(4, gpu_count=1, memory_bytes=32 * GIB))
        (gpu,) = placement.gpus
        assert placement.numa_node == gpu.numa_node
        assert set(placement.cpus) <= facts.numa[gpu.numa_node or 0]
        taken.append(gpu.index)
    assert sorted(taken) == list(range(8))
    assert refused(ledger, cpu(1, gpu_count=1)) == {"eight": "gpu in use"}


def on_two(*memory_gib: int) -> tuple[Ledger, list[Placement]]:
    ledger = ledger_of(two_sockets([]))
    made = [
        put(ledger, f"t{number}", cpu(1, memory_bytes=gib * GIB))
        for number, gib in enumerate(memory_gib)
    ]
    return ledger, made


class TestMemory:
    """Cores of one node bring memory of that node only, so it must have it."""

    def test_a_node_is_left_when_its_memory_is_promised(self) -> None:
        _, made = on_two(20, 20)
        assert [placement.numa_node for placement in made] == [0, 1]

    def test_what_no_node_has_comes_from_all(self) -> None:
        _, made = on_two(48)
        assert (made[0].numa_node, len(made[0].cpus)) == (None, 1)

    def test_what_no_node_has_left_comes_from_all(self) -> None:
        ledger, made = on_two(20, 20, 20)
        assert made[2].numa_node is None
        assert refused(ledger, cpu(1, memory_bytes=5 * GIB)) == {"two": "lack memory"}

    def test_it_is_given_back(self) -> None:
        ledger, _ = on_two(20, 20)
        ledger.release("t0")
        assert put(ledger, "again", cpu(1, memory_bytes=20 * GIB)).numa_node == 0

    def test_a_node_that_was_asked_for_is_waited_for(self) -> None:
        ledger, _ = on_two(20, 20)
        assert refused(ledger, cpu(1, memory_bytes=20 * GIB, numa_node=1)) == {"two": "lack memory"}
        assert put(ledger, "less", cpu(1, memory_bytes=12 * GIB, numa_node=1)).numa_node == 1

    def test_more_than_the_asked_node_has_never_fits(self) -> None:
        ledger, _ = on_two()
        words = refused(ledger, cpu(1, memory_bytes=48 * GIB, numa_node=1))
        assert words == {"two": "too little memory"}

    def test_shares_of_the_pool_tied_to_a_node_count_too(self) -> None:
        ledger, _ = on_two()
        put(ledger, "share", cpu(0.5, memory_bytes=20 * GIB, numa_node=0))
        assert put(ledger, "own", cpu(1, memory_bytes=20 * GIB)).numa_node == 1

    def test_a_node_without_memory_has_cores_only(self) -> None:
        ledger = ledger_of(odd())
        hold(ledger, "a", "odd", 0, 1)
        with_memory = put(ledger, "b", cpu(1, memory_bytes=GIB))
        assert (with_memory.cpus, with_memory.numa_node) == ((2,), None)
        assert put(ledger, "c", cpu(1)).numa_node == 1
