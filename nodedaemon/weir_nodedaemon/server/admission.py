"""Who is let in, and for how long: connections, callers, and the sessions that they hold.

A connection on which nobody has shown a valid token yet is worth little: there are few of them per
peer and in all, from before the TLS handshake on, and each has seconds for that and to send the
whole header of a request. A caller's sessions
are counted by who he is, whatever he streams; every one leaves a line in the audit log.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

from weir_crds.errors import WeirError
from weir_nodedaemon.server.errors import TooManyRequestsError, TooManyStreamsError

LEFT = "weir.left"
"""Is true in a request whose client has left before the end."""
_LEFT_STATUS = 499

audit = logging.getLogger("weir_nodedaemon.audit")

STREAMS = Gauge("weir_daemon_http_streams", "Sessions (logs and the like) on the HTTPS port.")
STREAM_BYTES = Metric("weir_daemon_http_stream_bytes", "Bytes sent in sessions of the HTTPS port.")
REFUSED = Metric(
    "weir_daemon_http_connections_refused",
    "Connections to the HTTPS port that were closed without an answer, by cause.",
    ["cause"],
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much callers of the HTTPS port may have.

    Attributes:
        streams: sessions at a time, all callers together.
        streams_per_caller: the same, of one user.
        stalled_seconds: how long a session waits for a client that takes nothing; a pager may hold
            one for long.
        session_seconds: how long a session lasts at most.
        strangers: connections without a valid token, all peers together.
        strangers_per_peer: the same, from one address.
        handshake_seconds: for a connection's TLS handshake.
        header_seconds: for a request's whole header to come.
        idle_seconds: how long a connection is kept between requests.
        reviews_per_peer: tokens not known to be valid that the API server is asked about in
            ``reviews_seconds``, for one address.
        reviews_seconds: see there.
    """

    streams: int = 128
    streams_per_caller: int = 64
    stalled_seconds: float = 1800.0
    session_seconds: float = 24 * 3600.0
    strangers: int = 256
    strangers_per_peer: int = 96
    handshake_seconds: float = 5.0
    header_seconds: float = 10.0
    idle_seconds: float = 75.0
    reviews_per_peer: int = 30
    reviews_seconds: float = 10.0


class Session:
    """One admitted request: what it has sent, and to whom."""

    def __init__(self, request: web.Request, limits: Limits) -> None:
        """Begin with nothing sent."""
        self.response: web.StreamResponse | None = None  # once its header is sent
        self.sent_bytes = 0
        self.outcome = "done"
        self._request = request
        self._limits = limits

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send status 200 and the header; from now on only a cut connection says: not all."""
        self.response = web.StreamResponse(headers=headers)
        await self.response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        """Send, waiting for a client that is slow.

        Raises:
            TimeoutError: it has taken nothing for too long.
            ConnectionError: it has left.
        """
        assert self.response is not None
        async with asyncio.timeout(self._limits.stalled_seconds):
            await self.response.write(data)
        self.sent_bytes += len(data)
        STREAM_BYTES.inc(len(data))


class Admission:
    """Counts what is open, and lets in what there is room for."""

    def __init__(
        self, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nothing open."""
        self.limits = limits or Limits()
        self._clock = clock
        self._callers: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        self._connections: dict[object, Connection] = {}  # by aiohttp's protocol
        self._reviews: dict[str, tuple[float, int]] = {}

    async def session(
        self,
        request: web.Request,
        caller: str,
        stream: Callable[[web.Request, Session], Awaitable[None]],
    ) -> web.StreamResponse:
        """Let ``stream`` send what it has to, and end it when its time is up.

        Raises:
            TooManyStreamsError: the caller has, or all together have, as many as there may be.
            WeirError: what ``stream`` raised before it began to send; later, the connection is cut.
        """
        limits = self.limits
        if self._callers.total() >= limits.streams:
            raise TooManyStreamsError(f"{limits.streams} streams are open on this host already")
        if self._callers[caller] >= limits.streams_per_caller:
            raise TooManyStreamsError(
                f'user "{caller}" has {limits.streams_per_caller} streams open on this host'
            )
        self._callers[caller] += 1
        STREAMS.inc()
        session = Session(request, limits)
        began = self._clock()
        try:
            async with asyncio.timeout(limits.session_seconds):
                await stream(request, session)
        except ConnectionError:
            session.outcome = "left"
            request[LEFT] = True
        except (WeirError, TimeoutError) as exc:
            session.outcome = str(exc) or "the client stalled, or its time was up"
            if session.response is None:
                raise
            # The status is sent: only a broken connection says that this is not all.
            if request.transport is not None:
                request.transport.abort()
        except asyncio.CancelledError:
            session.outcome = "left"
            raise
        finally:
            self._callers -= Counter([caller])
            STREAMS.dec()
            audit.info(
                "session path=%s query=%s caller=%s peer=%s seconds=%.1f bytes=%d outcome=%s",
                request.path,
                request.rel_url.raw_query_string,  # never a line of its own
                caller,
                request.remote,
                self._clock() - began,
                session.sent_bytes,
                session.outcome,
            )
        return session.response or web.Response(status=_LEFT_STATUS)

    def review(self, peer: str | None) -> None:
        """Count a token that the API server has to be asked about and that may be anything.

        Raises:
            TooManyRequestsError: this peer has shown too many lately.
        """
        limits, now = self.limits, self._clock()
        since, count = self._reviews.get(peer or "", (now, 0))
        if now - since >= limits.reviews_seconds:
            since, count = now, 0
        if count >= limits.reviews_per_peer:
            raise TooManyRequestsError("too many unknown tokens from this address, try again later")
        if count == 0:
            old = [p for p, (at, _) in self._reviews.items() if now - at >= limits.reviews_seconds]
            for other in old:
                del self._reviews[other]
        self._reviews[peer or ""] = (since, count + 1)

    def connection(
        self, peer: str, make_handler: Callable[[], asyncio.Protocol]
    ) -> "Connection | None":
        """Count a connection that a peer has just opened; None: there are too many strangers.

        Its ``end_handshake`` has to be called.
        """
        strangers, limits = self._strangers, self.limits
        if strangers.total() >= limits.strangers or strangers[peer] >= limits.strangers_per_peer:
            REFUSED.labels("too_many").inc()
            return None
        strangers[peer] += 1
        return Connection(self, peer, make_handler())

    def began(self, request: web.Request) -> None:
        """Take note that a request's header has come."""
        if (connection := self._connections.get(request.protocol)) is not None:
            connection.busy()

    def ended(self, request: web.Request) -> None:
        """Take note that a request is answered."""
        if (connection := self._connections.get(request.protocol)) is not None:
            connection.idle()

    def known(self, request: web.Request) -> None:
        """Take note that who sent a request has a valid token."""
        if (connection := self._connections.get(request.protocol)) is not None:
            connection.no_stranger()


class Connection(asyncio.Protocol):
    """One connection: passes everything on, and is cut when it takes too long to say something."""

    def __init__(self, admission: Admission, peer: str, inner: asyncio.Protocol) -> None:
        """Stand before ``inner``, aiohttp's protocol."""
        self._admission = admission
        self._limits = admission.limits
        self._inner = inner
        self._peer: str | None = peer  # while it is a stranger's
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._is_partial = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._admission._connections[self._inner] = self
        self._inner.connection_made(transport)
        self._cut_after(self._limits.header_seconds)

    def end_handshake(self) -> None:
        """Give the room back if the handshake has failed."""
        if self._transport is None:
            self.no_stranger()

    def data_received(self, data: bytes) -> None:
        """Pass on; a header that has begun has to end soon."""
        if not self._is_busy and not self._is_partial:
            self._is_partial = True
            self._cut_after(self._limits.header_seconds)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the room back."""
        self.no_stranger()
        self._cut_after(None)
        self._admission._connections.pop(self._inner, None)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def busy(self) -> None:
        """A request is being answered: that has limits of its own."""
        self._is_busy = True
        self._is_partial = False
        self._cut_after(None)

    def idle(self) -> None:
        """The next request may come."""
        self._is_busy = False
        self._cut_after(self._limits.header_seconds if self._peer else self._limits.idle_seconds)

    def no_stranger(self) -> None:
        """Somebody with a valid token uses it, or it is gone."""
        if self._peer is not None:
            self._admission._strangers -= Counter([self._peer])
            self._peer = None

    def _cut_after(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None:
            self._deadline = asyncio.get_running_loop().call_later(seconds, self._cut)

    def _cut(self) -> None:
        if self._peer is not None or self._is_partial:  # else it was only idle
            REFUSED.labels("too_slow").inc()
        if self._transport is not None:
            self._transport.abort()
