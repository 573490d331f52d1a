"""The HTTPS server: its routes, who may use them, and its life."""

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import web
from prometheus_client import Counter

from weir_crds.kinds import Kind
from weir_kube.http import parse_listen
from weir_kube.store import Store
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server.admission import LEFT, Admission, Limits
from weir_nodedaemon.server.auth import Authorizer, Reviews
from weir_nodedaemon.server.certificate import Certificate
from weir_nodedaemon.server.errors import InvalidParameterError, error_middleware
from weir_nodedaemon.server.listener import TlsListener
from weir_nodedaemon.server.routes import logs as log_routes
from weir_nodedaemon.server.routes import stats as stats_routes
from weir_nodedaemon.server.routes.route import Route
from weir_nodedaemon.server.routes.stats import Stats

logger = logging.getLogger(__name__)

REQUESTS = Counter(
    "weir_daemon_http_requests",
    "Requests to the HTTPS port, by route and status.",
    ["route", "code"],
)

_HEADER_LIMIT = 32 * 1024
_SHUTDOWN_SECONDS = 2.0


class ServerApi(Reviews, log_routes.Reader, Protocol):
    """What the server needs of the API server."""


class DaemonServer:
    """Serves reads and streams of what runs here, over HTTPS, to callers who may have them."""

    def __init__(
        self,
        api: ServerApi,
        hosts: Store,
        stores: Mapping[Kind, Store],
        logs: LogStore,
        stats: Stats,
        *,
        host_name: str,
        listen: str,
        certificate: Certificate,
        limits: Limits | None = None,
    ) -> None:
        """Prepare; ``start`` opens the port.

        Args:
            api: answers TokenReviews and SubjectAccessReviews, and knows objects that have left.
            hosts: this machine's Host: callers' tokens must be made for it.
            stores: the objects bound to this host, of each kind that has output.
            logs: where output is read.
            stats: what answers ``/v1/stats``.
            host_name: name of this machine's Host object.
            listen: ``address:port``; port 0 takes a free one.
            certificate: what is shown to callers.
            limits: how much callers may have.
        """
        self._listen = parse_listen(listen)
        self._certificate = certificate
        self._admission = Admission(limits)
        routes = [
            *log_routes.routes(logs, dict(stores), api, host_name),
            *stats_routes.routes(stats, host_name),
        ]
        self._app = make_app(Authorizer(api, hosts, host_name), self._admission, routes)
        self._runner: web.AppRunner | None = None
        self._listener: TlsListener | None = None

    async def start(self) -> int:
        """Open the port and return its number.

        Raises:
            OSError: the address cannot be listened on.
        """
        runner = make_runner(self._app)
        await runner.setup()
        requests = runner.server
        assert requests is not None
        listener = TlsListener(self._tls(), self._admission, requests)
        host, port = self._listen
        try:
            bound = listener.open(host, port)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._listener = runner, listener
        logger.info("serving HTTPS on address=%s port=%d", host, bound)
        return bound

    async def close(self) -> None:
        """Close the port; streams under way are broken off."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate.cert_path, self._certificate.key_path)
        return context


def make_app(
    authorizer: Authorizer, admission: Admission, routes: Sequence[Route]
) -> web.Application:
    """Return the application: every route but ``/healthz`` asks who is calling."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    @web.middleware
    async def mark_connection(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        admission.began(request)
        try:
            return await handler(request)
        finally:
            admission.ended(request)

    app = web.Application(middlewares=[mark_connection, _count_middleware, error_middleware])
    app.router.add_get("/healthz", healthz)
    for route in routes:
        handler = guarded(route, authorizer, admission)
        app.router.add_get(route.path, handler, allow_head=route.stream is None)
    return app


def guarded(
    route: Route, authorizer: Authorizer, admission: Admission
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler of a route, for callers who may, or lately might."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = request.headers.getall("Authorization", [])
        if len(headers) > 1:
            raise InvalidParameterError("header Authorization is there more than once")
        caller = await authorizer.authenticate(
            headers[0] if headers else None,
            allowed_seconds=route.allowed_seconds,
            before_review=lambda: admission.review(request.remote),
        )
        admission.known(request)
        access = route.access(request)
        await authorizer.authorize(caller, access, allowed_seconds=route.allowed_seconds)
        if route.answer is not None:
            return await route.answer(request)
        assert route.stream is not None
        return await admission.session(request, caller.name, route.stream)

    return handle


def make_runner(app: web.Application) -> web.AppRunner:
    """Return a runner that ends a handler when its client is gone."""
    return web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        max_field_size=_HEADER_LIMIT,
    )


@web.middleware
async def _count_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    code = 499  # the client went away
    try:
        response = await handler(request)
        if not request.get(LEFT):
            code = response.status
        return response
    finally:
        REQUESTS.labels(route, code).inc()
