"""The tests' own control plane."""

from pathlib import Path

from devcluster import manifests
from devcluster.rest import Rest
from support.cluster import Cluster
from support.polling import eventually


def test_objects_outlive_the_api_server(cluster: Cluster, namespace: str) -> None:
    cluster.kill_apiserver()
    assert not cluster.admin.answers("/readyz")

    cluster.restart_apiserver()

    assert cluster.admin.find(f"/api/v1/namespaces/{namespace}") is not None


def test_a_component_has_its_own_identity_and_no_more_rights(cluster: Cluster) -> None:
    kubeconfig = cluster.kubeconfig_for("weir-nodedaemon", "host-a")

    known = manifests.kubectl(cluster.plane, kubeconfig, "auth", "whoami", "-o", "json")

    assert "system:serviceaccount:weir-system:weir-nodedaemon" in known
    assert '"host-a"' in known
    allowed = manifests.kubectl(cluster.plane, kubeconfig, "auth", "can-i", "--list")
    assert "*.*" not in allowed


def test_a_deleted_namespace_goes(cluster: Cluster) -> None:
    name = cluster.create_namespace()

    cluster.delete_namespace(name)

    eventually(
        lambda: cluster.admin.find(f"/api/v1/namespaces/{name}") is None,
        what=f"{name} goes",
        timeout=60,  # the controller may still be waiting to look for an API server that was killed
    )


def test_strangers_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Neither the API server nor etcd answers who has no certificate or token."""
    for port in ("kube-apiserver", "etcd", "etcd-peer"):
        stranger = Rest(f"https://127.0.0.1:{cluster.ports.get(port)}", cluster.plane.pki.ca)
        assert not stranger.answers("/api/v1/namespaces")
        assert not stranger.answers("/version")
