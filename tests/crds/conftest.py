"""The API server as each account sees it."""

from collections.abc import Iterator

import pytest

from support.api_client import Client, client_of
from support.cluster import Cluster
from weir_crds.kinds import HOST, TASK


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Client:
    """The administrator."""
    return Client(cluster.admin)


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Client:
    """The operator, by its own token."""
    return client_of(cluster, cluster.kubeconfig_for("weir-operator"))


@pytest.fixture(scope="session")
def daemon_n1(cluster: Cluster) -> Client:
    """The daemon of host n1, by a token that is bound to that Node."""
    return client_of(cluster, cluster.kubeconfig_for("weir-nodedaemon", host="n1"))


@pytest.fixture(scope="session")
def facade(cluster: Cluster) -> Client:
    """The facade, by its own token."""
    return client_of(cluster, cluster.kubeconfig_for("weir-api"))


@pytest.fixture(scope="session")
def unbound_daemon(cluster: Cluster) -> Client:
    """A daemon whose token is bound to no Node."""
    return client_of(cluster, cluster.kubeconfig_for("weir-nodedaemon"))


@pytest.fixture(scope="module")
def privileged_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace where an administrator allows what reaches into the host."""
    name = cluster.create_namespace({"weir.dev/allow-privileged": "true"})
    yield name
    cluster.admin.request("DELETE", TASK.path(name))  # at once: no test to come shall run them
    cluster.delete_namespace(name)


@pytest.fixture
def no_hosts_left(cluster: Cluster) -> Iterator[None]:
    """Afterwards there are only the Hosts that were there before."""
    before = _hosts(cluster)
    yield
    for name in _hosts(cluster) - before:
        cluster.admin.request("DELETE", HOST.path(name=name))


def _hosts(cluster: Cluster) -> set[str]:
    hosts = cluster.admin.json("GET", HOST.path())["items"]
    return {host["metadata"]["name"] for host in hosts}
