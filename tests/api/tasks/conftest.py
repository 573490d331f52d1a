"""A control plane of this package's own: Tasks stay where no operator is."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster, OwnCluster
from support.live_tasks import Facade, facade
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.connect import connect


@pytest.fixture(scope="package")
def world(own_cluster: OwnCluster) -> Iterator[Cluster]:
    """A real API server with CRDs, roles and policies, and nothing that acts on them."""
    with own_cluster("rest") as started:
        yield started


@pytest.fixture(scope="package")
def api_kubeconfig(world: Cluster) -> Path:
    """A kubeconfig of the facade's account."""
    return world.kubeconfig_for("weir-api")


@pytest.fixture
async def admin(world: Cluster) -> AsyncIterator[Api]:
    """The API server, as administrator."""
    async with await connect(str(world.admin_kubeconfig)) as client:
        yield client


@pytest.fixture
def tasks_namespace(world: Cluster) -> Iterator[str]:
    """A fresh namespace, where the facade makes its Tasks."""
    name = world.create_namespace()
    yield name
    world.admin.request("DELETE", TASK.path(name), timeout_seconds=60)
    world.delete_namespace(name)


@pytest.fixture
async def rest(api_kubeconfig: Path, admin: Api, tasks_namespace: str) -> AsyncIterator[Facade]:
    """The facade's tasks, with no Hosts and no Tasks yet."""
    async with facade(api_kubeconfig, admin, tasks_namespace) as made:
        yield made
