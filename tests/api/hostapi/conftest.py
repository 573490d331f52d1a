"""The facade's accounts before the real API server, with no accounts at the start."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster
from support.replica import Replica, replica
from weir_crds.kinds import ACCESSTOKEN, USER

ReplicaOf = Callable[..., Awaitable[Replica]]


@pytest.fixture(scope="session")
def api_kubeconfig(cluster: Cluster) -> Path:
    """A kubeconfig of the facade's account."""
    return cluster.kubeconfig_for("weir-api")


@pytest.fixture
def no_accounts(cluster: Cluster) -> Iterator[None]:
    """There are no users and tokens, and none are left."""
    _delete_accounts(cluster)
    yield
    _delete_accounts(cluster)


@pytest.fixture
async def replica_of(no_accounts: None, api_kubeconfig: Path) -> AsyncIterator[ReplicaOf]:
    """Starts replicas of the facade's accounts; see ``support.replica``."""
    async with AsyncExitStack() as stack:

        async def make(*args: Any, **kwargs: Any) -> Replica:
            return await stack.enter_async_context(replica(api_kubeconfig, *args, **kwargs))

        yield make


@pytest.fixture
async def facade(replica_of: ReplicaOf) -> Replica:
    """One replica with authentication on."""
    return await replica_of()


def _delete_accounts(cluster: Cluster) -> None:
    for kind in (USER, ACCESSTOKEN):
        cluster.admin.request("DELETE", kind.path())
