"""Health on the port of the API itself, for proxies and Services in front of it."""

from collections.abc import Callable

from aiohttp import web

Ready = Callable[[], bool | str]

_ALIVE = "/healthz"
_READY = "/readyz"
PROBES = frozenset((_ALIVE, _READY))


class Probes:
    """Serves ``/healthz`` (we live) and ``/readyz`` (we can serve)."""

    def __init__(self, ready: Ready) -> None:
        """Prepare.

        Args:
            ready: True: we can. False, or words that say why: not.
        """
        self._ready = ready

    def install(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_route("GET", _ALIVE, self._healthz)
        app.router.add_route("GET", _READY, self._readyz)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        result = self._ready()
        if result is True:
            return web.Response(text="ok\n")
        return web.Response(text=f"{result or 'not ready'}\n", status=503)
