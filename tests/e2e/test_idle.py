"""An idle object is never written."""

import time

import pytest

from support.tasks import task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e


def test_sixty_idle_seconds_cost_no_write(weir: WeirSystem, namespace: str) -> None:
    """A running, a waiting, a finished Task and the Host: 60 s, 0 writes to weir.dev."""
    weir.create(task("done", namespace, command=["true"]))
    weir.wait_finished(namespace, "done")
    weir.create(task("running", namespace, command=["sleep", "600"], resources={"cpu": 2}))
    weir.wait_condition(namespace, "running", "Started", "True")
    weir.create(task("waiting", namespace, command=["true"]))
    weir.wait_condition(namespace, "waiting", "Scheduled", "False")
    before = weir.cluster.settled_writes("weir.dev")

    time.sleep(60)

    assert weir.cluster.writes("weir.dev") == before
