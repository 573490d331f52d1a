"""Connections: how many there may be, how long their first head takes, how much is left unread.

Who opens them has said nothing yet, so all that can be counted by is their address.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web
from prometheus_client import Counter as Metric

from weir_api.peers import Network, is_in, neighbourhood
from weir_api.web.unread import UnreadAnswers

_REFUSED = Metric(
    "weir_http_connections_refused",
    "Connections that were closed at once: too many of that address, or in all.",
    ["reason"],
)
# What the process needs files for beside its clients: the API server, daemons, itself.
_OWN_FILES = 256
_MOST = 16_384
_HEAD_ENDS = b"\r\n\r\n"


def _most() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(_MOST, soft - _OWN_FILES), 64) if soft > 0 else _MOST


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be.

    Attributes:
        most: in all; one more than the process has files for would shut it off from everybody.
        per_peer: of one IPv4 address, or IPv6 network of 64 bits.
        proxies: of whose connections there may be as many as there may be in all.
        head_seconds: how long the head of the first request may take; silence counts, too.
        unread_bytes: how much of answers is kept for clients that do not take them, in all.
        unread_bytes_per_peer: the same of one address or network, unless it is a proxy's.
    """

    most: int = field(default_factory=_most)
    per_peer: int = 512
    proxies: Sequence[Network] = ()
    head_seconds: float = 20.0
    unread_bytes: int = 256 * 2**20
    unread_bytes_per_peer: int = 64 * 2**20


class Connections:
    """The connections of one listener."""

    def __init__(
        self, limits: ConnectionLimits, make_handler: Callable[[], web.RequestHandler]
    ) -> None:
        """Have each that is let in handled by what ``make_handler`` makes."""
        self.limits = limits
        self.make_handler = make_handler
        self.unread = UnreadAnswers(
            most=limits.unread_bytes, most_of_source=limits.unread_bytes_per_peer
        )
        self._of: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self)

    def admit(self, peer: str) -> str | None:
        """Count a connection and return what it is counted under; None: it is refused."""
        source = neighbourhood(peer)
        if self._of.total() >= self.limits.most:
            _REFUSED.labels("all").inc()
            return None
        if self._of[source] >= self.limits.per_peer and not self.is_proxy(peer):
            _REFUSED.labels("peer").inc()
            return None
        self._of[source] += 1
        return source

    def is_proxy(self, peer: str) -> bool:
        """Tell whether a peer stands for many others."""
        return is_in(peer, self.limits.proxies)

    def leave(self, source: str) -> None:
        """Count a connection no more."""
        self._of[source] -= 1
        if not self._of[source]:
            del self._of[source]


class _Connection(asyncio.Protocol):
    """Stands before the handler of a connection: until the first head is whole, and when its
    client does not read.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._handler: web.RequestHandler | None = None
        self._stream: asyncio.Transport | None = None
        self._source: str | None = None
        self._is_proxy = False
        self._late: asyncio.TimerHandle | None = None
        self._begun = False
        self._end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        name = transport.get_extra_info("peername")
        peer = name[0] if isinstance(name, tuple) else ""
        self._source = self._connections.admit(peer)
        self._is_proxy = self._connections.is_proxy(peer)
        self._stream = stream = cast(asyncio.Transport, transport)
        if self._source is None:
            stream.abort()
            return
        self._handler = self._connections.make_handler()
        self._handler.connection_made(stream)
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(self._connections.limits.head_seconds, stream.abort)

    def data_received(self, data: bytes) -> None:
        if self._handler is None:
            return
        if self._late is not None:
            # Empty lines before a head are allowed, and begin none (RFC 9112 section 2.2).
            seen = (self._end + data).lstrip(b"\r\n") if not self._begun else self._end + data
            self._begun = self._begun or bool(seen)
            self._end = seen[-len(_HEAD_ENDS) + 1 :]
            if _HEAD_ENDS in seen:
                self._late.cancel()
                self._late = None
        self._handler.data_received(data)

    def eof_received(self) -> None:
        if self._handler is not None:
            self._handler.eof_received()

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()
        if self._stream is not None and self._source is not None:
            unread = self._connections.unread
            unread.wait(self._stream, self._source, limited=not self._is_proxy)

    def resume_writing(self) -> None:
        self._flow()
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._flow()
        if self._source is not None:
            self._connections.leave(self._source)
        if self._handler is not None:
            self._handler.connection_lost(exc)

    def _flow(self) -> None:
        if self._stream is not None and self._source is not None:
            self._connections.unread.flow(self._stream, self._source)
