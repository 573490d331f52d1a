"""kill -9 of any part at any moment: every Task reaches exactly one right end."""

import time

import pytest

from support.polling import eventually
from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("component", ["daemon", "operator"])
def test_kill_nine_in_the_middle_of_twenty_tasks(
    weir: WeirSystem, namespace: str, component: str
) -> None:
    """Nothing runs twice, nothing is left over, and every exit code is the true one."""
    with weir.watch_containers() as watcher:
        for number in range(20):
            script = f"sleep 0.5; exit {number}"
            weir.create(task(f"run-{number}", namespace, command=["sh", "-c", script]))
        eventually(
            lambda: sum("finishedAt" in t.get("status", {}) for t in weir.list(namespace)) >= 5,
            what="the first Tasks end",
            timeout=60,
        )
        weir.kill(component)
        time.sleep(2)
        weir.start(component)
        ended = [weir.wait_finished(namespace, f"run-{n}", timeout=120) for n in range(20)]

    for number, seen in enumerate(ended):
        assert seen["status"]["exitCode"] == number
        expected = "Completed" if number == 0 else "NonZeroExit"
        assert condition(seen, "Succeeded")["reason"] == expected
    assert set(watcher.starts) == {t["metadata"]["uid"] for t in ended}
    assert set(watcher.starts.values()) == {1}
    weir.wait_no_containers()


def test_a_task_that_ended_while_the_daemon_was_away_keeps_its_exit_code(
    weir: WeirSystem, namespace: str
) -> None:
    """The code and the output wait in Docker."""
    weir.create(task("alone", namespace, command=["sh", "-c", "sleep 1; echo out; exit 7"]))
    weir.wait_condition(namespace, "alone", "Started", "True")
    weir.kill("daemon")
    time.sleep(2)
    weir.start("daemon")

    ended = weir.wait_finished(namespace, "alone")

    assert ended["status"]["exitCode"] == 7
    assert condition(ended, "Succeeded")["reason"] == "NonZeroExit"
    assert weir.kubectl_weir("logs", "-n", namespace, "alone") == b"out\n"


def test_a_task_deleted_while_the_daemon_was_away_loses_its_container(
    weir: WeirSystem, namespace: str
) -> None:
    """Deletion does not wait for the daemon; the container goes when it is back."""
    uid = weir.create(task("gone", namespace, command=["sleep", "600"]))["metadata"]["uid"]
    weir.wait_condition(namespace, "gone", "Started", "True")
    weir.kill("daemon")
    weir.kubectl("delete", "wt", "-n", namespace, "gone", "--timeout=60s")
    assert weir.containers(uid)

    weir.start("daemon")

    weir.wait_no_containers(uid)


def test_a_namespace_with_running_tasks_can_be_deleted_without_the_operator(
    weir: WeirSystem, namespace: str
) -> None:
    """Nothing of ours holds a namespace back."""
    uid = weir.create(task("inside", namespace, command=["sleep", "600"]))["metadata"]["uid"]
    weir.wait_condition(namespace, "inside", "Started", "True")
    weir.kill("operator")

    weir.kubectl("delete", "namespace", namespace, "--timeout=60s")

    weir.wait_no_containers(uid)
    weir.start("operator")


def test_the_api_server_killed_under_running_tasks(weir: WeirSystem, namespace: str) -> None:
    """What ends meanwhile is told when it is back, and nothing is started again."""
    with weir.watch_containers() as watcher:
        weir.create(task("through", namespace, command=["sh", "-c", "sleep 3; exit 5"]))
        weir.wait_condition(namespace, "through", "Started", "True")
        weir.cluster.kill_apiserver()
        time.sleep(5)
        weir.cluster.restart_apiserver()
        ended = weir.wait_finished(namespace, "through")

    assert ended["status"]["exitCode"] == 5
    assert list(watcher.starts.values()) == [1]
