"""What the process listens on: API families by HTTP, and whatever else has a port."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from weir_kube.errors import ConfigError
from weir_kube.http import parse_listen

logger = logging.getLogger(__name__)

# A client that takes nothing for so long is cut off: else what it asked for stays in memory.
_STALLED_SECONDS = 300.0


class Server(Protocol):
    """Serves what connects to one socket."""

    async def start(self, listening: socket.socket) -> None:
        """Serve from now on."""
        ...

    async def drain(self, seconds: float) -> None:
        """Take no more connections, and let what goes on end within so many seconds."""
        ...

    async def close(self) -> None:
        """End whatever is left; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of the process.

    Attributes:
        name: for the log.
        bind: ``ADDRESS:PORT``; port 0 takes a free one.
        build: makes what serves there.
    """

    name: str
    bind: str
    build: Callable[[], Server]


async def run_listeners(
    listeners: Sequence[Listener], stopping: asyncio.Event, drain_seconds: float
) -> None:
    """Serve on all of them until ``stopping`` is set, then let what goes on end.

    Raises:
        ConfigError: one of them cannot be listened on.
    """
    async with contextlib.AsyncExitStack() as stack:
        servers: list[Server] = []
        for listener in listeners:
            listening = _listen(listener)
            server = listener.build()
            stack.push_async_callback(server.close)
            await server.start(listening)
            servers.append(server)
            address, port = listening.getsockname()[:2]
            logger.info("serving listener=%s address=%s port=%d", listener.name, address, port)
        await stopping.wait()
        logger.info("stopping; requests under way may end")
        await asyncio.gather(*(server.drain(drain_seconds) for server in servers))


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


def _listen(listener: Listener) -> socket.socket:
    try:
        return listen(*parse_listen(listener.bind))
    except OSError as exc:
        raise ConfigError(f"cannot listen on {listener.bind}: {exc}") from exc
