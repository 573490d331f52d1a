"""The application of one API family: its endpoints, checked and framed, and what stands beside."""

import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from weir_api.web.calls import Authenticate, serve
from weir_api.web.dialect import Dialect
from weir_api.web.documents import Documents
from weir_api.web.endpoint import Family
from weir_api.web.frame import Frame
from weir_api.web.limits import Limits
from weir_api.web.probes import Probes, Ready

# How long a body that nobody wants is read on, so that its sender sees the answer.
_LINGERING_SECONDS = 2.0
# Longer than proxies keep theirs, so that it is they who close.
_IDLE_SECONDS = 75.0
_HEADER_BYTES = 16 * 1024


def make_app(
    family: Family,
    *,
    dialect: Dialect,
    authenticate: Authenticate,
    stale_seconds: Callable[[], float],
    ready: Ready,
    limits: Limits | None = None,
) -> web.Application:
    """Return the application that serves a family.

    Beside its endpoints it has ``/openapi.json``, ``/docs``, ``/healthz`` and ``/readyz``.

    Args:
        family: the endpoints, and the prefix that they are under.
        dialect: how failures are worded.
        authenticate: tells who calls.
        stale_seconds: for how long the caches have not followed the API server; 0: they do.
        ready: True: requests can be served. False, or words that say why: not.
        limits: what one request may take.
    """
    bounds = limits or Limits()
    app = web.Application(client_max_size=bounds.body_bytes)
    Frame(family.name, dialect, stale_seconds).install(app)
    for endpoint in family.endpoints:
        app.router.add_route(
            endpoint.method, family.prefix + endpoint.path, serve(endpoint, authenticate, bounds)
        )
    Documents(family).install(app)
    Probes(ready).install(app)
    return app


def make_runner(app: web.Application, *, drain_seconds: float = 1.0) -> web.AppRunner:
    """Return a runner for the application.

    Args:
        app: what to serve.
        drain_seconds: how long requests under way may go on once it is told to end.
    """
    return web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        logger=_quiet_logger(),
        # A small body that unpacks to a huge one would pass the limit; clients do not pack.
        auto_decompress=False,
        lingering_time=_LINGERING_SECONDS,
        keepalive_timeout=_IDLE_SECONDS,
        max_field_size=_HEADER_BYTES,
        # It is granted twice: before requests are cancelled, and after.
        shutdown_timeout=drain_seconds,
    )


def _quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp, on which what is no HTTP makes no noise: anyone can send it."""
    logger = logging.getLogger("weir_api.http")
    logger.addFilter(_is_no_client_fault)
    return logger


def _is_no_client_fault(record: logging.LogRecord) -> bool:
    cause = record.exc_info[1] if record.exc_info else None
    return not isinstance(cause, HttpProcessingError)
