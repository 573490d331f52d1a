"""Many Tasks on few cores: never more at once than fit, and those that wait say why."""

from pathlib import Path

import pytest

from support.containers import cores
from support.polling import eventually
from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e


def test_twenty_tasks_of_one_core_share_two_cores(
    weir: WeirSystem, privileged_namespace: str, tmp_path: Path
) -> None:
    """Never more than two run at once; each program is held to what status.cpus says."""
    namespace = privileged_namespace
    here = [{"hostPath": str(tmp_path), "mountPath": "/data"}]
    with weir.watch_containers() as watcher:
        for number in range(20):
            told = f"grep ^Cpus_allowed_list: /proc/self/status > /data/{number}"
            # The first one does not end before there is a second one beside it.
            beside = "while [ $(ls /data | wc -l) -lt 2 ]; do sleep 0.1; done"
            command = ["sh", "-c", f"{told}; {beside}; sleep 0.3"]
            weir.create(task(f"share-{number}", namespace, command=command, mounts=here))
        ended = [weir.wait_finished(namespace, f"share-{n}", timeout=120) for n in range(20)]

    assert {condition(t, "Succeeded")["reason"] for t in ended} == {"Completed"}
    assert watcher.most_at_once <= 2
    held_to = [cores((tmp_path / str(number)).read_text().split()[1]) for number in range(20)]
    assert held_to == [t["status"]["cpus"] for t in ended]
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
