"""A control plane that is put back to an earlier state, as docs/operations.md says how."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.controlplane import start_control_plane
from devcluster.hosts import Share
from support.cluster import OwnCluster
from support.tasks import condition, task
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e

PLANE = ("kube-controller-manager", "kube-apiserver", "etcd")
FRACTION = {"cpu": "100m"}
NAMESPACE = "default"


@pytest.fixture
def weir(own_cluster: OwnCluster, docker_host: str, busybox_image: str) -> Iterator[WeirSystem]:
    """Weir on a control plane of its own, as nobody else wants to lose the last minute."""
    with own_cluster("restore") as cluster:
        system = WeirSystem(cluster, docker_host, [Share(None, None)])
        try:
            system.start_all()
            yield system
        finally:
            system.close()


def stop_all(weir: WeirSystem) -> Path:
    """Stop Weir, then the control plane; return the folder that etcd keeps all in."""
    weir.stop("operator")
    weir.stop("daemon")
    for name in PLANE:
        weir.cluster.runner[name].stop()
    return weir.cluster.state.root / "etcd"


def start_all(weir: WeirSystem) -> None:
    start_control_plane(weir.cluster.plane, weir.cluster.ports, weir.cluster.runner)
    weir.start_all()


def run(weir: WeirSystem, name: str, script: str, **spec: object) -> str:
    """Create a Task; returns its uid."""
    command = ["sh", "-c", script]
    created = weir.create(task(name, NAMESPACE, command=command, resources=FRACTION, **spec))
    uid: str = created["metadata"]["uid"]
    return uid


def test_what_becomes_of_tasks_when_etcd_is_put_back(weir: WeirSystem, tmp_path: Path) -> None:
    """What runs goes on; what began since is stopped; what ended since ends as the daemon noted."""
    with weir.watch_containers() as watcher:
        goes_on = run(weir, "goes-on", "sleep 600")
        ends = run(weir, "ends", "sleep 600")
        begins = run(weir, "begins", "sleep 600", suspend=True)
        for name in ("goes-on", "ends"):
            weir.wait_condition(NAMESPACE, name, "Started", "True")
        shutil.copytree(stop_all(weir), tmp_path / "backup")

        start_all(weir)
        weir.patch_spec(NAMESPACE, "ends", desiredState="Killed")
        ended = weir.wait_finished(NAMESPACE, "ends")
        weir.patch_spec(NAMESPACE, "begins", suspend=False)
        weir.wait_condition(NAMESPACE, "begins", "Started", "True")
        new = run(weir, "new", "sleep 600")
        weir.wait_condition(NAMESPACE, "new", "Started", "True")

        data = stop_all(weir)
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "backup", data)
        start_all(weir)

        weir.wait_no_containers(new)
        weir.wait_no_containers(begins)
        seen = weir.wait_finished(NAMESPACE, "ends")
        assert condition(seen, "Succeeded")["reason"] == "Killed", seen["status"]
        assert seen["status"]["exitCode"] == ended["status"]["exitCode"]
        after = run(weir, "after", "exit 0")
        weir.wait_finished(NAMESPACE, "after")

    assert condition(weir.get(NAMESPACE, "goes-on"), "Succeeded") == {}
    assert len(weir.containers(goes_on)) == 1
    assert watcher.starts == {goes_on: 1, ends: 1, begins: 1, new: 1, after: 1}
