"""The application of one API family: its endpoints, checked and framed, and what stands beside."""

from collections.abc import Callable

from aiohttp import web

from weir_api.web.calls import Gate, serve, serve_socket
from weir_api.web.docs_page import Documents
from weir_api.web.endpoint import Family
from weir_api.web.frame import Frame, refuse_other_methods
from weir_api.web.origin import Origins
from weir_api.web.sockets import OpenSockets
from weir_api.web.traffic import UnderWay
from weir_api.web.validation import Limits, not_yet

Ready = Callable[[], bool | str]
"""True: requests can be served. False, or words that say why: not."""

UNDER_WAY = web.AppKey("under_way", UnderWay)
"""The requests of an application, for who wants to wait for their end."""

SOCKETS = web.AppKey("sockets", OpenSockets)
"""Its open WebSockets, for who ends it."""

_ALIVE = "/healthz"
_READY = "/readyz"


def make_app(
    family: Family,
    *,
    stale_seconds: Callable[[], float],
    ready: Ready,
    limits: Limits | None = None,
    origins: Origins | None = None,
    recheck_seconds: float = 30.0,
) -> web.Application:
    """Return the application that serves a family.

    Beside its endpoints it has ``/openapi.json``, ``/docs``, ``/healthz`` and ``/readyz``.

    Args:
        family: the endpoints, who may call them, and how answers are worded.
        stale_seconds: for how long the caches have not followed the API server; 0: they do.
        ready: tells whether requests can be served.
        limits: what one request may take.
        origins: which pages may call.
        recheck_seconds: how often it is asked again whether an open WebSocket may stay.
    """
    gate = Gate(
        family.access, family.dialect, origins or Origins(), limits or Limits(), recheck_seconds
    )
    app = web.Application(client_max_size=gate.limits.body_bytes)
    app[UNDER_WAY] = UnderWay(family.name)
    app[SOCKETS] = gate.sockets
    probes = frozenset((_ALIVE, _READY))
    Frame(family.name, gate, stale_seconds, app[UNDER_WAY], probes).install(app)
    for endpoint in family.endpoints:
        handler = serve(endpoint, gate)
        app.router.add_route(endpoint.method, endpoint.path, handler, expect_handler=not_yet)
    for socket in family.sockets:
        app.router.add_route("GET", socket.path, serve_socket(socket, gate))
    refuse_other_methods(app, family.endpoints)
    Documents(family).install(app)
    _install_probes(app, ready)
    return app


def _install_probes(app: web.Application, ready: Ready) -> None:
    """Tell on the port of the API itself whether we live, for proxies and Services before it."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        result = ready()
        if result is True:
            return web.Response(text="ok\n")
        return web.Response(text=f"{result or 'not ready'}\n", status=503)

    app.router.add_route("GET", _ALIVE, healthz)
    app.router.add_route("GET", _READY, readyz)
