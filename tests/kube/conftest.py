"""Clients of the real API server, straight and through proxies that fail on request."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devcluster.rest import Rest
from support.api_proxy import ApiProxy
from support.cluster import Cluster
from support.polling import eventually
from support.tcp_proxy import TcpProxy
from weir_kube.api import Api
from weir_kube.connect import connect

Rewrite = Callable[[str], Path]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """An administrator's client."""
    async with await connect(str(cluster.admin_kubeconfig)) as client:
        yield client


@pytest.fixture
def kubeconfig_at(cluster: Cluster, tmp_path: Path) -> Rewrite:
    """Write the administrator's kubeconfig with another server address."""

    def write(server: str) -> Path:
        config = json.loads(cluster.admin_kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = server
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    return write


@pytest.fixture
async def tcp_proxy(cluster: Cluster) -> AsyncIterator[TcpProxy]:
    """A network before the API server."""
    address = urlsplit(cluster.server)
    assert address.hostname is not None
    assert address.port is not None
    async with TcpProxy(address.hostname, address.port) as proxy:
        yield proxy


@pytest.fixture
async def far_api(tcp_proxy: TcpProxy, kubeconfig_at: Rewrite) -> AsyncIterator[Api]:
    """An administrator's client at the other end of that network."""
    path = kubeconfig_at(f"https://127.0.0.1:{tcp_proxy.port}")
    async with await connect(str(path)) as client:
        yield client


@pytest.fixture(scope="session")
def admin_token(cluster: Cluster) -> str:
    """A bearer token that may do everything."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "test-admin"}}
    cluster.admin.json("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "test-admin"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "test-admin", "namespace": "default"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    cluster.admin.json("POST", path, binding)
    token = cluster.kubectl("create", "token", "test-admin", "--duration=2h").strip()
    bearer = Rest(
        cluster.server, cluster.plane.pki.ca, headers={"Authorization": f"Bearer {token}"}
    )
    # The API server takes a moment to know of a binding.
    eventually(lambda: bearer.answers("/api/v1/secrets"), "the binding is in force")
    return token


@pytest.fixture
async def api_proxy(cluster: Cluster) -> AsyncIterator[ApiProxy]:
    """An HTTP proxy before the API server."""
    async with ApiProxy(cluster.server, cluster.plane.pki.ca) as proxy:
        yield proxy


@pytest.fixture
async def proxied_api(api_proxy: ApiProxy, admin_token: str, tmp_path: Path) -> AsyncIterator[Api]:
    """An administrator's client behind that proxy."""
    async with await connect(str(token_kubeconfig(tmp_path, api_proxy.url, admin_token))) as client:
        yield client


def token_kubeconfig(folder: Path, server: str, token: str) -> Path:
    """Write a kubeconfig of a user with a token."""
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "token-kubeconfig"
    path.write_text(json.dumps(config))
    return path
