"""Pause, resume and kill, at every moment of a Task's life."""

import time
from pathlib import Path

import pytest

from support.polling import eventually
from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e

# Seconds after creation: before the bind, while binding, creating, starting, and when it runs.
MOMENTS = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.9, 1.5]


def test_kill_at_every_moment_leaves_no_container(weir: WeirSystem, namespace: str) -> None:
    """Whenever the kill comes, the Task ends Killed and nothing of it remains."""
    uids = {}
    for number, moment in enumerate(MOMENTS):
        name = f"kill-{number}"
        uids[name] = weir.create(task(name, namespace, command=["sleep", "600"]))["metadata"]["uid"]
        time.sleep(moment)
        weir.patch_spec(namespace, name, desiredState="Killed")

    for name, uid in uids.items():
        ended = weir.wait_finished(namespace, name)
        assert condition(ended, "Succeeded")["reason"] == "Killed"
        weir.wait_no_containers(uid)


def test_pause_and_resume_at_every_moment(weir: WeirSystem, namespace: str) -> None:
    """A pause holds whenever it comes, and the Task runs to its end after a resume."""
    for number, moment in enumerate(MOMENTS[::2]):
        name = f"pause-{number}"
        weir.create(task(name, namespace, command=["sh", "-c", "sleep 1; echo done"]))
        time.sleep(moment)
        weir.patch_spec(namespace, name, desiredState="Paused")
        eventually(lambda name=name: _paused_or_ended(weir, namespace, name), what=f"{name} pauses")
        weir.patch_spec(namespace, name, desiredState="Running")
        ended = weir.wait_finished(namespace, name)
        assert condition(ended, "Succeeded")["reason"] == "Completed"
        assert weir.kubectl_weir("logs", "-n", namespace, name) == b"done\n"


def _paused_or_ended(weir: WeirSystem, namespace: str, name: str) -> bool:
    seen = weir.get(namespace, name)
    paused = condition(seen, "Paused")
    return bool("finishedAt" in seen["status"] or (paused and paused["status"] == "True"))


def test_a_paused_task_makes_no_progress_and_its_timeout_stands_still(
    weir: WeirSystem, privileged_namespace: str, tmp_path: Path
) -> None:
    """Paused for longer than its timeout, it still completes."""
    namespace = privileged_namespace
    weir.create(
        task(
            "still",
            namespace,
            command=["sh", "-c", "while [ ! -e /gate/open ]; do sleep 0.2; done; touch /gate/ran"],
            mounts=[{"hostPath": str(tmp_path), "mountPath": "/gate"}],
            timeoutSeconds=10,
        )
    )
    weir.wait_condition(namespace, "still", "Started", "True")
    weir.patch_spec(namespace, "still", desiredState="Paused")
    weir.wait_condition(namespace, "still", "Paused", "True")
    (tmp_path / "open").touch()
    time.sleep(11)
    assert "finishedAt" not in weir.get(namespace, "still")["status"]
    assert not (tmp_path / "ran").exists()

    weir.patch_spec(namespace, "still", desiredState="Running")

    ended = weir.wait_finished(namespace, "still")
    assert condition(ended, "Succeeded")["reason"] == "Completed"


def test_kill_of_a_paused_task(weir: WeirSystem, namespace: str) -> None:
    """A frozen container is ended too."""
    uid = weir.create(task("frozen", namespace, command=["sleep", "600"]))["metadata"]["uid"]
    weir.wait_condition(namespace, "frozen", "Started", "True")
    weir.patch_spec(namespace, "frozen", desiredState="Paused")
    weir.wait_condition(namespace, "frozen", "Paused", "True")

    weir.patch_spec(namespace, "frozen", desiredState="Killed")

    assert condition(weir.wait_finished(namespace, "frozen"), "Succeeded")["reason"] == "Killed"
    weir.wait_no_containers(uid)


def test_a_program_that_ignores_term_is_killed_after_its_grace(
    weir: WeirSystem, namespace: str
) -> None:
    """TERM, the grace, then KILL."""
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    weir.create(task("deaf", namespace, command=["sh", "-c", script], stopGraceSeconds=2))
    weir.wait_condition(namespace, "deaf", "Started", "True")
    logs = ("logs", "-n", namespace, "deaf")
    eventually(lambda: weir.kubectl_weir(*logs) == b"deaf\n", "it ignores TERM")

    asked = time.monotonic()
    weir.patch_spec(namespace, "deaf", desiredState="Killed")
    ended = weir.wait_finished(namespace, "deaf")

    assert time.monotonic() - asked >= 2
    assert condition(ended, "Succeeded")["reason"] == "Killed"
    assert ended["status"]["signal"] == 9


def test_kill_while_pulling_leaves_no_container(
    weir: WeirSystem, namespace: str, stuck_registry: str
) -> None:
    """A pull that never ends does not keep a Task from being killed, nor others from running."""
    image = f"{stuck_registry}/busybox:1"
    uid = weir.create(task("pulling", namespace, image=image))["metadata"]["uid"]
    started = weir.wait_condition(namespace, "pulling", "Started", "False")
    assert started["reason"] == "PullingImage"
    weir.create(task("meanwhile", namespace, command=["true"]))
    assert condition(weir.wait_finished(namespace, "meanwhile"), "Succeeded")["status"] == "True"

    weir.patch_spec(namespace, "pulling", desiredState="Killed")

    ended = weir.wait_finished(namespace, "pulling")
    assert condition(ended, "Succeeded")["reason"] == "Killed"
    assert "exitCode" not in ended["status"]
    weir.wait_no_containers(uid)


def test_a_suspended_task_waits_until_it_is_let_go(weir: WeirSystem, namespace: str) -> None:
    """suspend keeps it out of the queue and says so."""
    weir.create(task("later", namespace, command=["true"], suspend=True))
    assert weir.wait_condition(namespace, "later", "Scheduled", "False")["reason"] == "Suspended"

    weir.patch_spec(namespace, "later", suspend=False)

    assert condition(weir.wait_finished(namespace, "later"), "Succeeded")["status"] == "True"


@pytest.mark.parametrize(
    ("decision", "reason"), [("Approved", "Completed"), ("Rejected", "Rejected")]
)
def test_a_task_that_needs_approval_waits_for_it(
    weir: WeirSystem, namespace: str, decision: str, reason: str
) -> None:
    """Pending waits; the decision lets it run, or ends it."""
    weir.create(task("ask", namespace, command=["true"], approval="Pending"))
    assert (
        weir.wait_condition(namespace, "ask", "Scheduled", "False")["reason"] == "AwaitingApproval"
    )

    weir.patch_spec(namespace, "ask", approval=decision)

    assert condition(weir.wait_finished(namespace, "ask"), "Succeeded")["reason"] == reason
