"""An application on a socket, whatever its clients do with their connections."""

import asyncio
import logging
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from weir_api.web.app import SOCKETS, UNDER_WAY
from weir_api.web.connections import ConnectionLimits, Connections

logger = logging.getLogger(__name__)

# How long a body that nobody wants is read on, so that its sender sees the answer.
_LINGERING_SECONDS = 2.0
# Longer than proxies keep theirs, so that it is they who close.
_IDLE_SECONDS = 75.0
_HEADER_BYTES = 16 * 1024
# Of the path with its query; what is longer is refused before it gets to us, not as JSON.
_LINE_BYTES = 64 * 1024
_BACKLOG = 1024
# How long the clean-up waits before it cancels, and after.
_CANCEL_SECONDS = 1.0


class HttpServer:
    """Serves an application of ``make_app``."""

    def __init__(self, app: web.Application, limits: ConnectionLimits | None = None) -> None:
        """Serve it once started."""
        self._app = app
        self._limits = limits or ConnectionLimits()
        self._listening: asyncio.Server | None = None
        self._options: dict[str, Any] = {
            "access_log": None,
            "logger": _quiet_logger(),
            # A small body that unpacks to a huge one would pass the limit; clients do not pack.
            "auto_decompress": False,
            "lingering_time": _LINGERING_SECONDS,
            "keepalive_timeout": _IDLE_SECONDS,
            "max_field_size": _HEADER_BYTES,
            "max_line_size": _LINE_BYTES,
        }
        self._runner = web.AppRunner(
            app, handle_signals=False, shutdown_timeout=_CANCEL_SECONDS, **self._options
        )

    @property
    def connections(self) -> int:
        """How many there are."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def start(self, listening: socket.socket) -> None:
        """Serve from now on."""
        await self._runner.setup()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None
        made = Connections(self._limits, lambda: _Handler(server, loop=loop, **self._options))
        self._listening = await loop.create_server(made, sock=listening, backlog=_BACKLOG)

    async def drain(self, seconds: float) -> None:
        """Take no more connections, let requests under way end, and close all.

        WebSockets are told at once. The runner's own clean-up reads nothing more from connections,
        so it comes last: else a body that is half here would never be whole.
        """
        self._stop_listening()
        self._app[UNDER_WAY].ends = True
        await self._app[SOCKETS].close()
        if not await self._app[UNDER_WAY].drain(seconds):
            logger.warning("requests under way did not end within %g seconds", seconds)
        await self.close()

    async def close(self) -> None:
        """Cancel what is left; idempotent."""
        self._stop_listening()
        await self._runner.cleanup()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None


class _Handler(web.RequestHandler):
    """Answers what is no HTTP without a word about it, or about what we run on."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        response = super().handle_error(request, status, exc, message)
        response.headers["Server"] = "weir"
        if isinstance(response, web.Response) and status == 400:
            response.text = "Invalid HTTP request received."
        return response


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
