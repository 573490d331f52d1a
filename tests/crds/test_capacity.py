"""What is read from a Host."""

from weir_crds.capacity import MOST_CORES, Capacity, Gpu, Node, capacity_of

GIB = 2**30


def test_all_that_a_host_tells_by_number() -> None:
    host = {
        "spec": {"reserved": {"cpus": [0], "memory": "1Gi"}},
        "status": {
            "capacity": {
                "cpus": 4,
                "memory": "8Gi",
                "numa": [{"id": 1, "cpus": [2, 3], "memory": "4Gi"}, {"id": 0, "cpus": [0, 1]}],
                "gpus": [{"index": 1}, {"index": 0, "uuid": "GPU-0", "numaNode": 1}],
            }
        },
    }
    found = capacity_of(host)
    assert found == Capacity(
        nodes=(Node(0, frozenset({0, 1})), Node(1, frozenset({2, 3}), 4 * GIB)),
        memory_bytes=8 * GIB,
        gpus=(Gpu(0, "GPU-0", 1), Gpu(1, "")),
        reserved_cores=frozenset({0}),
        reserved_memory_bytes=GIB,
    )
    assert found.memory_for_work == 7 * GIB


def test_a_host_without_numa_is_one_node() -> None:
    found = capacity_of({"status": {"capacity": {"cpus": 2}}})
    assert found.nodes == (Node(0, frozenset({0, 1})),)


def test_a_host_that_has_told_nothing_has_nothing() -> None:
    assert capacity_of({}) == Capacity()


def test_more_memory_reserved_than_there_is_leaves_none() -> None:
    assert Capacity(memory_bytes=1, reserved_memory_bytes=2).memory_for_work == 0


def test_a_core_that_is_in_two_nodes_is_the_first_ones() -> None:
    """Else it would be given to two."""
    numa = [{"id": 2, "cpus": [1, 2]}, {"id": 0, "cpus": [0, 1]}, {"id": 1, "cpus": [1]}]
    found = capacity_of({"status": {"capacity": {"cpus": 3, "numa": numa}}})
    assert [node.cores for node in found.nodes] == [{0, 1}, set(), {2}]


def test_a_host_that_reports_millions_of_cores_has_no_more_than_it_may_list() -> None:
    """The CRD lets it report two thousand million: a set of these would fill our memory."""
    (node,) = capacity_of({"status": {"capacity": {"cpus": 5_000_000}}}).nodes
    assert len(node.cores) == MOST_CORES
