"""An application on a socket, whatever its clients do with their connections."""

import logging
import socket

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from weir_api.web.app import SOCKETS, UNDER_WAY

logger = logging.getLogger(__name__)

# How long a body that nobody wants is read on, so that its sender sees the answer.
_LINGERING_SECONDS = 2.0
# Longer than proxies keep theirs, so that it is they who close.
_IDLE_SECONDS = 75.0
_HEADER_BYTES = 16 * 1024
# Of the path with its query; what is longer is refused before it gets to us, not as JSON.
_LINE_BYTES = 64 * 1024
# How long the clean-up waits before it cancels, and after.
_CANCEL_SECONDS = 1.0


class HttpServer:
    """Serves an application of ``make_app``."""

    def __init__(self, app: web.Application) -> None:
        """Serve it once started."""
        self._app = app
        self._runner = web.AppRunner(
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

    @property
    def connections(self) -> int:
        """How many there are."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def start(self, listening: socket.socket) -> None:
        """Serve from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def drain(self, seconds: float) -> None:
        """Take no more connections, let requests under way end, and close all.

        WebSockets are told at once. The runner's own clean-up reads nothing more from connections,
        so it comes last: else a body that is half here would never be whole.
        """
        for site in tuple(self._runner.sites):
            await site.stop()
        self._app[UNDER_WAY].ends = True
        await self._app[SOCKETS].close()
        if not await self._app[UNDER_WAY].drain(seconds):
            logger.warning("requests under way did not end within %g seconds", seconds)
        await self.close()

    async def close(self) -> None:
        """Cancel what is left; idempotent."""
        await self._runner.cleanup()


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
