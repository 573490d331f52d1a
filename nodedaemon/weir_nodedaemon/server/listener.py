"""The port itself: accepts connections, counts each before its TLS handshake, and makes that."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from weir_nodedaemon.server.admission import Admission, Connection

logger = logging.getLogger(__name__)

_BACKLOG = 128
# As asyncio's own servers have it: the process has no files left, or the machine no memory.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_SECONDS = 1.0


class TlsListener:
    """Hands connections to the protocols that ``make_handler`` makes, as far as they are admitted.

    A server of asyncio's would tell of a connection only once its handshake is over: until then
    anybody could hold any number of them.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        admission: Admission,
        make_handler: Callable[[], asyncio.Protocol],
    ) -> None:
        """Prepare."""
        self._tls = tls
        self._admission = admission
        self._make_handler = make_handler
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, host: str, port: int) -> int:
        """Open the port (0: a free one), return its number and accept from now on.

        Raises:
            OSError: the address cannot be listened on.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        listening.setblocking(False)
        self._listening = listening
        self._start(self._accept(listening))
        bound: int = listening.getsockname()[1]
        return bound

    async def close(self) -> None:
        """Close the port and give up handshakes; idempotent. Connections that are made stay."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:  # it has gone before it was accepted
                    await asyncio.sleep(0)
                    continue
                logger.error("no connection can be accepted for a moment: %s", exc)  # noqa: TRY400
                await asyncio.sleep(_EXHAUSTED_SECONDS)
                continue
            connection = self._admission.connection(str(address[0]), self._make_handler)
            if connection is None:
                accepted.close()
            else:
                self._start(self._handshake(accepted, connection))

    async def _handshake(self, accepted: socket.socket, connection: Connection) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._admission.limits.handshake_seconds,
            )
        except OSError as exc:  # it speaks no TLS, is too slow, or has left
            logger.debug("no TLS handshake: %s", exc)
        finally:
            connection.end_handshake()
