"""Many Tasks on few cores: never more at once than fit, and those that wait say why."""

import pytest

from support.polling import eventually
from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e


def test_twenty_tasks_of_one_core_share_two_cores(weir: WeirSystem, namespace: str) -> None:
    """Never more than two run at once; each container is pinned to what status.cpus says."""
    with weir.watch_containers() as watcher:
        for number in range(20):
            weir.create(task(f"share-{number}", namespace, command=["sleep", "0.3"]))
        ended = [weir.wait_finished(namespace, f"share-{n}", timeout=120) for n in range(20)]

    assert {condition(t, "Succeeded")["reason"] for t in ended} == {"Completed"}
    assert watcher.most_at_once == 2
    pinned = {t["metadata"]["uid"]: ",".join(map(str, t["status"]["cpus"])) for t in ended}
    assert watcher.cpusets == pinned
    assert set(watcher.starts.values()) == {1}


def test_a_task_that_can_never_fit_says_so(weir: WeirSystem, namespace: str) -> None:
    """More cores than any host has: Unschedulable, with what lacks and where."""
    weir.create(task("giant", namespace, resources={"cpu": 500}))

    waiting = eventually(
        lambda: condition(weir.get(namespace, "giant"), "Scheduled"), what="a verdict on giant"
    )

    assert (waiting["status"], waiting["reason"]) == ("False", "Unschedulable")
    assert "cores" in waiting["message"]
    assert weir.hosts[0] in waiting["message"]


def test_a_task_that_waits_names_the_reason(weir: WeirSystem, namespace: str) -> None:
    """All cores in use: InsufficientCapacity; it runs once they are free."""
    weir.create(task("first", namespace, command=["sleep", "600"], resources={"cpu": 2}))
    weir.wait_condition(namespace, "first", "Started", "True")
    weir.create(task("second", namespace, command=["true"], resources={"cpu": 2}))

    waiting = weir.wait_condition(namespace, "second", "Scheduled", "False")
    assert waiting["reason"] == "InsufficientCapacity"
    assert "cpu" in waiting["message"]
    why = weir.kubectl_weir("why", "-n", namespace, "second").decode()
    assert weir.hosts[0] in why
    assert "cpu" in why

    weir.patch_spec(namespace, "first", desiredState="Killed")
    weir.wait_finished(namespace, "second")
