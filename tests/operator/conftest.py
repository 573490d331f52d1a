"""A control plane of this package's own: an operator acts on all of a cluster."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from support.cluster import Cluster, OwnCluster
from support.operator_process import OperatorProcess
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api
from weir_kube.connect import connect


@pytest.fixture(scope="package")
def world(own_cluster: OwnCluster) -> Iterator[Cluster]:
    """A real API server with CRDs, roles and policies, and nothing that acts on them."""
    with own_cluster("op") as started:
        yield started


@pytest.fixture
async def api(world: Cluster) -> AsyncIterator[Api]:
    """The API server, as administrator."""
    async with await connect(str(world.admin_kubeconfig)) as client:
        yield client


@pytest.fixture
def nursery(world: Cluster) -> Iterator[str]:
    """A fresh namespace; afterwards there are no Tasks in it and no Hosts at all."""
    name = world.create_namespace()
    yield name
    world.admin.request("DELETE", TASK.path(name), timeout_seconds=60)
    world.admin.request("DELETE", HOST.path())
    world.delete_namespace(name)


@pytest.fixture
def operator(world: Cluster, nursery: str) -> Iterator[OperatorProcess]:
    """An operator that leads, with its own account and roles."""
    process = OperatorProcess(world, "--identity=first")
    process.start()
    process.wait_ready()
    yield process
    process.stop()
    sys.stderr.write(process.log_tail())  # pytest shows it when the test fails
