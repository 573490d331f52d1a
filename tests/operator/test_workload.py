"""What the scheduler asks of a kind."""

import datetime as dt
from typing import Any

import pytest

from support.tasks import task
from weir_crds.demand import Holding, Request
from weir_operator.scheduling.workload import NO_CLAIM, Claim, owner_of
from weir_operator.task.workload import TaskWorkload

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
BOUND = {"nodeName": "n1", "cpus": [4, 5], "numaNode": 1, "gpus": [{"index": 3, "uuid": "GPU-3"}]}


@pytest.mark.parametrize(
    ("spec", "status", "claim"),
    [
        pytest.param({}, {}, Claim(wants=Request(cpu_millis=2000)), id="new"),
        pytest.param({}, BOUND, Claim(holds=Holding("n1", (4, 5), 1, None, 0, (3,))), id="bound"),
        pytest.param({}, {**BOUND, "finishedAt": "2026-11-22T09:00:00Z"}, NO_CLAIM, id="finished"),
        pytest.param({"suspend": True}, {}, NO_CLAIM, id="suspended"),
        pytest.param({"desiredState": "Killed"}, {}, NO_CLAIM, id="killed"),
        pytest.param({"approval": "Pending"}, {}, NO_CLAIM, id="not approved"),
    ],
)
def test_a_task_holds_or_wants(spec: dict[str, Any], status: dict[str, Any], claim: Claim) -> None:
    made = task("t", "team", resources={"cpu": 2}, **spec)
    made["status"] = status
    assert TaskWorkload(lambda: 0.0).claim(made, NOW) == claim


def test_an_owner_is_a_label_or_a_namespace() -> None:
    made = task("t", "team")
    assert owner_of(made) == "namespace:team"
    made["metadata"]["labels"] = {"weir.dev/owner": "7"}
    assert owner_of(made) == "owner:7"
