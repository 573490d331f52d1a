"""Runs that are not the last: retried, suspended, and lost with their host."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster.hosts import Share
from support.cluster import OwnCluster
from support.polling import eventually
from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e

# Counts its runs in a folder of the host, fails in the first two, and says which it is.
THIRD_TIME = "echo x >> /data/runs; n=$(wc -l < /data/runs); echo run $n; [ $n -ge 3 ]"


def ended_as(obj: dict[str, Any]) -> tuple[str, int, int]:
    """Return why a Task ended, its last run, and how many were retried."""
    status = obj["status"]
    return condition(obj, "Succeeded")["reason"], status["runID"], status.get("failures", 0)


def test_a_task_succeeds_in_its_third_run(
    weir: WeirSystem, privileged_namespace: str, tmp_path: Path
) -> None:
    """Every run is a container of its own, and its output stays."""
    namespace = privileged_namespace
    with weir.watch_containers() as watcher:
        created = weir.create(
            task(
                "third",
                namespace,
                command=["sh", "-c", THIRD_TIME],
                mounts=[{"hostPath": str(tmp_path), "mountPath": "/data"}],
                retry={"limit": 5, "backoffSeconds": 1},
            )
        )
        ended = weir.wait_finished(namespace, "third")

    assert ended_as(ended) == ("Completed", 3, 2)
    assert ended["status"]["lastResult"]["runID"] == 2
    assert ended["status"]["lastResult"]["exitCode"] == 1
    assert [c["type"] for c in ended["status"]["conditions"]] == [
        "Scheduled", "Started", "Succeeded"
    ]  # fmt: skip
    assert watcher.starts == {created["metadata"]["uid"]: 3}
    for run in (1, 2, 3):
        printed = weir.kubectl_weir("logs", "-n", namespace, "third", "--run", str(run))
        assert printed == f"run {run}\n".encode()
    weir.wait_no_containers()


def test_the_last_failure_is_the_end(weir: WeirSystem, namespace: str) -> None:
    """The limit counts further runs; a program that is not there is not tried again."""
    retry = {"limit": 1, "backoffSeconds": 0}
    weir.create(task("fails", namespace, command=["sh", "-c", "exit 3"], retry=retry))
    weir.create(task("missing", namespace, command=["/no/such"], retry=retry))

    ended = weir.wait_finished(namespace, "fails")
    assert ended_as(ended) == ("NonZeroExit", 2, 1)
    assert ended["status"]["exitCode"] == 3
    assert ended_as(weir.wait_finished(namespace, "missing")) == ("CreateFailed", 1, 0)


def test_killed_while_it_waits_for_its_next_run(weir: WeirSystem, namespace: str) -> None:
    """It says when it is tried again, and what it printed can be read."""
    retry = {"limit": 1, "backoffSeconds": 600}
    weir.create(task("slow", namespace, command=["sh", "-c", "echo out; exit 3"], retry=retry))
    waiting = weir.wait_condition(namespace, "slow", "Scheduled", "False")
    assert waiting["reason"] == "BackOff"
    assert weir.get(namespace, "slow")["status"]["phase"] == "Retrying"
    assert weir.kubectl_weir("logs", "-n", namespace, "slow") == b"out\n"

    weir.patch_spec(namespace, "slow", desiredState="Killed")

    assert ended_as(weir.wait_finished(namespace, "slow")) == ("Killed", 2, 1)


def test_a_suspended_task_gives_its_cores_back_and_runs_again(
    weir: WeirSystem, namespace: str
) -> None:
    """Its container goes, another Task gets the cores, then it has its second run."""
    two_cores = {"cpu": 2}
    uid = weir.create(task("first", namespace, command=["sleep", "600"], resources=two_cores))[
        "metadata"
    ]["uid"]
    weir.wait_condition(namespace, "first", "Started", "True")
    weir.create(task("second", namespace, command=["sleep", "600"], resources=two_cores))

    weir.patch_spec(namespace, "first", suspend=True)

    weir.wait_condition(namespace, "second", "Started", "True")
    weir.wait_no_containers(uid)
    stopped = weir.get(namespace, "first")
    assert condition(stopped, "Scheduled")["reason"] == "Suspended"
    assert stopped["status"]["lastResult"]["reason"] == "Suspended"
    assert stopped["status"]["runID"] == 2

    weir.patch_spec(namespace, "first", suspend=False)
    weir.patch_spec(namespace, "second", desiredState="Killed")
    weir.wait_condition(namespace, "first", "Started", "True")
    weir.patch_spec(namespace, "first", desiredState="Killed")
    assert ended_as(weir.wait_finished(namespace, "first")) == ("Killed", 2, 0)


@pytest.fixture
def pair(own_cluster: OwnCluster, docker_host: str, busybox_image: str) -> Iterator[WeirSystem]:
    """Weir with two hosts, on a control plane of its own."""
    with own_cluster("pair") as cluster:
        system = WeirSystem(cluster, docker_host, [Share(None, None)] * 2)
        try:
            system.start_all()
            yield system
        finally:
            system.close()


def test_a_host_that_is_lost_and_comes_back(pair: WeirSystem) -> None:
    """What may be restarted runs elsewhere, what must fail has failed, the rest goes on."""
    first, second = pair.hosts
    uids = {}
    cordon(pair, second, True)
    for name, wish in (("moves", "Restart"), ("fails", "Fail"), ("waits", "Wait")):
        created = pair.create(
            task(
                name,
                "default",
                command=["sh", "-c", "echo started; sleep 600"],
                resources={"cpu": "100m"},
                onHostLost=wish,
                hostLostGraceSeconds=1,
                stopGraceSeconds=1,
            )
        )
        uids[name] = created["metadata"]["uid"]
        pair.wait_condition("default", name, "Started", "True")
    cordon(pair, second, False)

    pair.kill("daemon-1")

    eventually(
        lambda: pair.get("default", "moves")["status"].get("nodeName") == second,
        "it runs elsewhere",
        180,
    )
    pair.wait_condition("default", "moves", "Started", "True")
    moved = pair.get("default", "moves")["status"]
    assert (moved["runID"], moved["lastResult"]["reason"]) == (2, "HostLost")
    assert "failures" not in moved
    assert ended_as(pair.wait_finished("default", "fails")) == ("HostLost", 1, 0)
    assert pair.get("default", "waits")["status"]["nodeName"] == first

    pair.start("daemon-1")

    eventually(lambda: len(pair.containers(uids["moves"])) == 1, "the old container is gone")
    pair.wait_no_containers(uids["fails"])
    assert len(pair.containers(uids["waits"])) == 1
    assert pair.kubectl_weir("logs", "moves", "--run", "1") == b"started\n"
    assert pair.get("default", "moves")["status"]["runID"] == 2
    for name in ("moves", "waits"):
        pair.patch_spec("default", name, desiredState="Killed")
    assert ended_as(pair.wait_finished("default", "moves")) == ("Killed", 2, 0)
    assert ended_as(pair.wait_finished("default", "waits")) == ("Killed", 1, 0)


def cordon(weir: WeirSystem, host: str, wanted: bool) -> None:
    """Cordon a host, or take that back."""
    patch = json.dumps({"spec": {"unschedulable": wanted}})
    weir.kubectl("patch", "wh", host, "--type=merge", "-p", patch)
