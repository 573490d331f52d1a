"""What a bound Task is accounted for."""

from support.tasks import task
from weir_operator.scheduling.allocation import Allocation, allocation_of, owner_of

GIB = 2**30


def test_what_a_bound_task_holds() -> None:
    bound = task("t", "team", resources={"cpu": 2, "memory": "1Gi"})
    bound["status"] = {
        "nodeName": "n1",
        "cpus": [4, 5],
        "numaNode": 1,
        "gpus": [{"index": 3, "uuid": "GPU-3"}],
    }
    assert allocation_of(bound) == Allocation("n1", "namespace:team", (4, 5), 1, None, GIB, (3,))


def test_what_a_bound_task_on_the_shared_pool_holds() -> None:
    bound = task("t", "team", resources={"cpu": "500m"})
    bound["status"] = {"nodeName": "n1", "cpus": []}
    assert allocation_of(bound) == Allocation("n1", "namespace:team", shared_millis=500)


def test_an_owner_is_a_label_or_a_namespace() -> None:
    made = task("t", "team")
    assert owner_of(made) == "namespace:team"
    made["metadata"]["labels"] = {"weir.dev/owner": "7"}
    assert owner_of(made) == "owner:7"
