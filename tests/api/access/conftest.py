"""The facade's accounts before an API server in memory: no cluster, milliseconds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.fake_api import FakeApi
from support.replica import Replica, replica

ReplicaOf = Callable[..., Awaitable[Replica]]


@pytest.fixture
def fake_api() -> FakeApi:
    """The API server."""
    return FakeApi()


@pytest.fixture
async def replica_of(fake_api: FakeApi) -> AsyncIterator[ReplicaOf]:
    """Starts replicas that share the API server; see ``support.replica``."""
    async with AsyncExitStack() as stack:

        async def make(*args: Any, **kwargs: Any) -> Replica:
            return await stack.enter_async_context(replica(fake_api, *args, **kwargs))

        yield make


@pytest.fixture
async def facade(replica_of: ReplicaOf) -> Replica:
    """One replica with authentication on."""
    return await replica_of()
