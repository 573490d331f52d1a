"""A TCP proxy that can fail like a network: cut, hold, delay, refuse.

TLS passes through it untouched, so a kubeconfig only needs another port.
"""

import asyncio
import socket
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards connections from a free port of loopback to ``host:port``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._reserved: socket.socket | None = None  # else its port may be another's meanwhile
        self._port = 0
        self.delay_seconds = 0.0  # before each piece that is forwarded, both ways
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._reserved = _bound(0)
        self._port = self._reserved.getsockname()[1]
        await self.listen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._reserved is not None
        self._reserved.close()

    @property
    def port(self) -> int:
        """The port it listens on, the same after ``refuse`` and ``listen``."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections) // 2

    async def listen(self) -> None:
        """Accept connections (again)."""
        self._server = await asyncio.start_server(self._accept, sock=_bound(self._port))

    async def refuse(self) -> None:
        """Cut all connections and refuse new ones, as a host whose server is down does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """End all connections at once, without a word; new ones are accepted."""
        for writer in list(self._connections):
            writer.transport.abort()

    def hold(self) -> None:
        """Stop forwarding: connections stay open, new ones too, and nothing comes through."""
        self._flowing.clear()

    def release(self) -> None:
        """Forward again, what was held included."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections.add(writer)
        try:
            await self._flowing.wait()
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            self._connections.add(upstream_writer)
            try:
                await asyncio.gather(
                    self._forward(reader, upstream_writer), self._forward(upstream_reader, writer)
                )
            finally:
                self._close(upstream_writer)
        except OSError:
            pass
        finally:
            self._close(writer)
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._connections.discard(writer)
        writer.close()


def _bound(port: int) -> socket.socket:
    """Bind a port of loopback; two that do not listen may have the same."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made
