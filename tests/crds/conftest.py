"""The API server as each account sees it."""

from collections.abc import Iterator

import pytest

from support.api_client import Client, client_of
from support.cluster import Cluster


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
def unbound_daemon(cluster: Cluster) -> Client:
    """A daemon whose token is bound to no Node."""
    return client_of(cluster, cluster.kubeconfig_for("weir-nodedaemon"))


@pytest.fixture(scope="session")
def privileged_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace where an administrator allows what reaches into the host."""
    name = cluster.create_namespace({"weir.dev/allow-privileged": "true"})
    yield name
    cluster.delete_namespace(name)
