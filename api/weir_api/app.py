"""The application of one API family: its endpoints, checked and framed, and what stands beside."""

import logging
import socket
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
from weir_api.web.under_way import UnderWay
from weir_api.web.unmatched import literal_paths, refuse_method

logger = logging.getLogger(__name__)

# How long a body that nobody wants is read on, so that its sender sees the answer.
_LINGERING_SECONDS = 2.0
# Longer than proxies keep theirs, so that it is they who close.
_IDLE_SECONDS = 75.0
_HEADER_BYTES = 16 * 1024
# Of the path with its query; what is longer is refused before it gets to us, not as JSON.
_LINE_BYTES = 64 * 1024
# A client that takes nothing for so long is cut off: else what it asked for stays in memory.
_STALLED_SECONDS = 300.0
# How long the clean-up waits before it cancels, and after.
_CANCEL_SECONDS = 1.0


def make_app(
    family: Family,
    *,
    dialect: Dialect,
    authenticate: Authenticate,
    stale_seconds: Callable[[], float],
    ready: Ready,
    limits: Limits | None = None,
    under_way: UnderWay | None = None,
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
        under_way: counts requests, for who wants to wait for their end.
    """
    bounds = limits or Limits()
    app = web.Application(client_max_size=bounds.body_bytes)
    Frame(family.name, dialect, stale_seconds, under_way or UnderWay()).install(app)
    for endpoint in family.endpoints:
        app.router.add_route(
            endpoint.method, family.prefix + endpoint.path, serve(endpoint, authenticate, bounds)
        )
    for path, allowed in literal_paths(family.endpoints).items():
        app.router.add_route("*", family.prefix + path, refuse_method(allowed))
    Documents(family).install(app)
    Probes(ready).install(app)
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """Return a runner for the application; see ``drain`` for its end."""
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
        max_line_size=_LINE_BYTES,
        shutdown_timeout=_CANCEL_SECONDS,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, and whose connections end when their clients do not read.

    Args:
        host: an address, or a name that has an IPv4 address.
        port: 0 takes a free one.

    Raises:
        OSError: it cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux; connections have it from the listener
        milliseconds = int(_STALLED_SECONDS * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listening


async def drain(runner: web.AppRunner, under_way: UnderWay, seconds: float) -> None:
    """Take no more connections, let requests under way end, and close all.

    The runner's own clean-up reads nothing more from connections, so it comes last: else a body
    that is half here would never be whole.

    Args:
        runner: serves the application.
        under_way: counts its requests.
        seconds: how long they may take; then they are cancelled.
    """
    for site in tuple(runner.sites):
        await site.stop()
    if not await under_way.drain(seconds):
        logger.warning("requests under way did not end within %g seconds", seconds)
    await runner.cleanup()


def _quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp, on which clients make no noise.

    Anyone can send what is no HTTP, and leave in the middle. Failures of ours are logged before.
    """
    logger = logging.getLogger("weir_api.http")
    logger.addFilter(_is_no_client_fault)
    return logger


def _is_no_client_fault(record: logging.LogRecord) -> bool:
    cause = record.exc_info[1] if record.exc_info else None
    return not isinstance(cause, HttpProcessingError | ConnectionError)
