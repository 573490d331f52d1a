"""What a route is: each family's module declares its own beside their handlers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from weir_nodedaemon.server.admission import Session
from weir_nodedaemon.server.auth import ALLOWED_SECONDS, Access


@dataclass(frozen=True, slots=True)
class Route:
    """One path that answers GET.

    Attributes:
        path: as aiohttp writes it.
        access: what a caller needs to be allowed; raises InvalidParameterError.
        allowed_seconds: for how long who was allowed is taken to be so still.
        answer: answers a caller who may; None: it is a stream.
        stream: sends to a caller who may, within a session: limits and an audit line.
    """

    path: str
    access: Callable[[web.Request], Access]
    allowed_seconds: float = ALLOWED_SECONDS
    answer: Callable[[web.Request], Awaitable[web.Response]] | None = None
    stream: Callable[[web.Request, Session], Awaitable[None]] | None = None
