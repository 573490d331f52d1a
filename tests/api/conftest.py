"""Applications made of a few endpoints, and a whole Weir to be rough with."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from support.facade import ClientOf, authenticate
from support.run import NewState
from support.serve import served
from support.small_world import SmallWorld
from weir_api.app import make_app
from weir_api.web.dialect import DetailDialect
from weir_api.web.endpoint import Endpoint, Family
from weir_api.web.limits import Limits


@pytest.fixture(scope="session")
def small_world(new_state: NewState) -> Iterator[SmallWorld]:
    """A Weir of its own: its API server may be killed, and its facade be sent anything."""
    with new_state("small") as state:
        world = SmallWorld(state)
        yield world
        world.close()


@pytest.fixture
async def client_of() -> AsyncIterator[ClientOf]:
    """Serves the endpoints that it is called with, and returns a client; see ``support.facade``."""
    async with AsyncExitStack() as stack:

        async def make(
            endpoints: Iterable[Endpoint],
            *,
            prefix: str = "/api",
            stale_seconds: Callable[[], float] = lambda: 0.0,
            ready: Callable[[], bool | str] = lambda: True,
            limits: Limits | None = None,
        ) -> aiohttp.ClientSession:
            app = make_app(
                Family("test", "Test", "1", prefix, tuple(endpoints)),
                dialect=DetailDialect(),
                authenticate=authenticate,
                stale_seconds=stale_seconds,
                ready=ready,
                limits=limits,
            )
            return await stack.enter_async_context(served(app, aiohttp.CookieJar(unsafe=True)))

        yield make
