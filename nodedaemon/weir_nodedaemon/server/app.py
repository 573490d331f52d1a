"""The HTTPS server: routes, who may use them, and its life."""

import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from weir_kube.http import parse_listen
from weir_kube.store import Store
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.server.auth import (
    FIGURES_ALLOWED_SECONDS,
    Access,
    Authorizer,
    Reviews,
    guarded,
)
from weir_nodedaemon.server.certificate import Certificate
from weir_nodedaemon.server.errors import error_middleware
from weir_nodedaemon.server.output import LogSource
from weir_nodedaemon.server.parameters import parse_stats_query
from weir_nodedaemon.server.routes import logs as log_route
from weir_nodedaemon.server.routes.metrics import REQUESTS
from weir_nodedaemon.server.routes.stats import Stats, UsageSource

logger = logging.getLogger(__name__)

_HEADER_LIMIT = 32 * 1024
_SHUTDOWN_SECONDS = 2.0


class Engine(LogSource, UsageSource, Protocol):
    """What the server needs of a ``ContainerEngine``."""


class ServerApi(Reviews, log_route.TaskReader, Protocol):
    """What the server needs of the API server."""


class DaemonServer:
    """Serves logs and stats of this host's Tasks over HTTPS to callers who may read them."""

    def __init__(
        self,
        api: ServerApi,
        hosts: Store,
        tasks: Store,
        engine: Engine,
        logs: LogStore,
        *,
        host_name: str,
        listen: str,
        certificate: Certificate,
        stats: Stats | None = None,
    ) -> None:
        """Prepare; ``start`` opens the port.

        Args:
            api: answers TokenReviews and SubjectAccessReviews, and knows Tasks that have left.
            hosts: this machine's Host: callers' tokens must be made for it.
            tasks: the Tasks bound to this host.
            engine: where running containers are read.
            logs: where ended ones are read.
            host_name: name of this machine's Host object.
            listen: ``address:port``; port 0 takes a free one.
            certificate: what is shown to callers.
            stats: what answers ``/v1/stats``; None: made from ``tasks`` and ``engine``.
        """
        self._listen = parse_listen(listen)
        self._certificate = certificate
        self._app = make_app(
            Authorizer(api, hosts, host_name),
            log_route.LogRoute(tasks, engine, logs, reader=api, host_name=host_name),
            stats or Stats(engine, tasks.list),
            host_name,
        )
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Open the port and return its number.

        Raises:
            OSError: the address cannot be listened on.
        """
        runner = make_runner(self._app)
        await runner.setup()
        try:
            host, port = self._listen
            await web.TCPSite(runner, host, port, ssl_context=self._tls()).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        bound: int = runner.addresses[0][1]
        logger.info("serving HTTPS on address=%s port=%d", host, bound)
        return bound

    async def close(self) -> None:
        """Close the port; streams under way are broken off."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate.cert_path, self._certificate.key_path)
        return context


def make_app(
    authorizer: Authorizer, logs: log_route.LogRoute, stats: Stats, host_name: str
) -> web.Application:
    """Return the application: every route but ``/healthz`` asks who is calling."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def get_stats(request: web.Request) -> web.Response:
        tasks = parse_stats_query(request.query)
        return web.json_response(await stats.get() if tasks else stats.of_machine())

    def stats_access(_: web.Request) -> Access:
        return Access("hosts", "stats", host_name)

    app = web.Application(middlewares=[_count_middleware, error_middleware])
    app.router.add_get("/healthz", healthz)
    app.router.add_get(
        "/v1/stats",
        guarded(authorizer, stats_access, get_stats, allowed_seconds=FIGURES_ALLOWED_SECONDS),
    )
    app.router.add_get(
        log_route.PATH,
        guarded(authorizer, log_route.log_access, logs.handle),
        allow_head=False,
    )
    return app


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
        code = response.status
        return response
    finally:
        REQUESTS.labels(route, code).inc()
