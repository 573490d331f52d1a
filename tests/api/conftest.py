"""Applications made of a few endpoints, and a whole Weir to be rough with."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from support.facade import ClientOf, authenticate
from support.run import NewState
from support.serve import served
from support.small_world import SmallWorld
from weir_api.hostapi.access import HostAccess
from weir_api.hostapi.dialect import DetailDialect
from weir_api.web.app import make_app
from weir_api.web.endpoint import Endpoint, Family, SocketEndpoint
from weir_api.web.origin import Origins
from weir_api.web.server import HttpServer
from weir_api.web.validation import Limits


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
            stale_seconds: Callable[[], float] = lambda: 0.0,
            ready: Callable[[], bool | str] = lambda: True,
            limits: Limits | None = None,
            origins: Origins | None = None,
            sockets: Iterable[SocketEndpoint] = (),
            recheck_seconds: float = 30.0,
        ) -> aiohttp.ClientSession:
            app = make_app(
                Family(
                    "test",
                    "Test",
                    "1",
                    tuple(endpoints),
                    HostAccess(authenticate),
                    DetailDialect(),
                    sockets=tuple(sockets),
                ),
                stale_seconds=stale_seconds,
                ready=ready,
                limits=limits,
                origins=origins,
                recheck_seconds=recheck_seconds,
            )
            server = served(HttpServer(app), aiohttp.CookieJar(unsafe=True))
            return await stack.enter_async_context(server)

        yield make
