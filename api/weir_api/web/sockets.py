"""WebSockets of a family: refused in the handshake, checked again while open, closed in words."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, WSMsgType, web

from weir_api.errors import UnavailableError
from weir_crds.errors import WeirError

logger = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 30.0
# A client that takes nothing for so long is cut off, never waited for.
_STALLED_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
_MESSAGES_IN_A_ROW = 16
# Who cannot be known for so long may not stay.
_CHECK_SECONDS = 15.0


class Socket:
    """An open WebSocket, for its handler."""

    def __init__(self, message_bytes: int) -> None:
        """Take messages of so many bytes at most."""
        self._socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_SECONDS,
            max_msg_size=message_bytes,
            timeout=_CLOSE_SECONDS,
            autoping=False,  # it would answer a flood of them without a break
        )
        self._request: web.Request | None = None
        self._handling: asyncio.Timeout | None = None

    async def open(self, request: web.Request) -> None:
        """Answer the handshake."""
        self._request = request
        await self._socket.prepare(request)

    @property
    def response(self) -> web.WebSocketResponse:
        """The answer, for the server."""
        return self._socket

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Go through the client's messages until either side closes."""
        count = 0
        async for message in self._socket:
            count += 1
            if not count % _MESSAGES_IN_A_ROW:
                await asyncio.sleep(0)  # what is here already would be taken without a break
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                yield message.data
            elif message.type is WSMsgType.PING:
                await self._deliver(self._socket.pong(message.data))

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits for the client, but not for ever.

        Raises:
            ConnectionError: it is gone, or has taken nothing for too long.
        """
        if isinstance(message, str):
            await self._deliver(self._socket.send_str(message))
        else:
            await self._deliver(self._socket.send_bytes(message))

    async def _deliver(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_STALLED_SECONDS):
                await sending
        except TimeoutError:
            self._cut_off()
            raise ConnectionResetError("the client takes nothing") from None

    async def close(self, code: int, message: str) -> None:
        """Close with a frame that says why, and end what handles it; idempotent.

        A client that does not take the frame in time is cut off.
        """
        is_ours = True
        try:
            async with asyncio.timeout(2 * _CLOSE_SECONDS):  # to take ours, to send its own
                # RFC 6455 section 5.5: a control frame holds 125 bytes, two of them the code.
                is_ours = await self._socket.close(code=code, message=message.encode()[:123])
        except TimeoutError:
            pass
        finally:
            if is_ours:
                self._cut_off()
            handling, self._handling = self._handling, None
            if handling is not None:
                handling.reschedule(asyncio.get_running_loop().time())

    def _cut_off(self) -> None:
        """Drop the connection if there is something that its client has not taken."""
        transport = None if self._request is None else self._request.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()

    @asynccontextmanager
    async def handled(
        self, check: Callable[[], Awaitable[object]], seconds: float
    ) -> AsyncIterator[None]:
        """Let the block go on until it ends or the socket is closed.

        Args:
            check: raises WeirError when the caller may not have the socket any more.
            seconds: how often it is asked.
        """
        ends = asyncio.timeout(None)
        checking = asyncio.create_task(self._recheck(check, seconds))
        try:
            async with ends:
                self._handling = ends
                yield
        except TimeoutError:
            if not ends.expired():
                raise
        finally:
            self._handling = None
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)

    async def _recheck(self, check: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Close once the caller may not have it any more, or that cannot be found out."""
        while True:
            await asyncio.sleep(seconds)
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    await check()
            except UnavailableError as exc:
                code, message = WSCloseCode.TRY_AGAIN_LATER, str(exc)
            except WeirError as exc:
                code, message = WSCloseCode.POLICY_VIOLATION, str(exc)
            except TimeoutError:
                logger.warning("closing a socket: no answer within %g s who calls", _CHECK_SECONDS)
                code, message = WSCloseCode.TRY_AGAIN_LATER, "who calls cannot be found out now"
            except Exception:
                logger.exception("closing a socket: the check of its caller failed")
                code, message = WSCloseCode.INTERNAL_ERROR, "internal error"
            else:
                continue
            await self.close(code, message)
            return


class OpenSockets:
    """The sockets that are open, so that each gets a close frame at the end."""

    def __init__(self) -> None:
        """None is."""
        self._open: set[Socket] = set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._open)

    def add(self, socket: Socket) -> None:
        """Take one."""
        self._open.add(socket)

    def discard(self, socket: Socket) -> None:
        """It is closed."""
        self._open.discard(socket)

    async def close(self) -> None:
        """Tell all clients that the server goes away."""
        await asyncio.gather(
            *(one.close(WSCloseCode.GOING_AWAY, "the server restarts") for one in [*self._open]),
            return_exceptions=True,
        )
