"""An HTTP proxy before the API server, which knows lists and watches.

It listens in plain HTTP on loopback and passes the caller's token on.
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web

from support.http_proxy import Answer, HttpProxy, Pieces, Rule, status_object

__all__ = ["Answer", "ApiProxy", "Call", "Rule", "call_of", "status_object"]

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?"
)
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True)
class Call:
    """What a request asks of the API server; empty strings where it says nothing."""

    verb: str
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def is_write(self) -> bool:
        """Tell whether it may change something."""
        return self.verb in _VERBS.values()


def call_of(request: web.Request) -> Call:
    """Return what a request asks for; of a path outside of the resources only the verb."""
    found = _PATH.fullmatch(request.path)
    verb = _VERBS.get(request.method, "get")
    if found is None:
        return Call(verb)
    if verb == "get" and not found["name"]:
        verb = "watch" if request.query.get("watch") in ("1", "true") else "list"
    parts = (found[part] or "" for part in ("resource", "namespace", "name", "subresource"))
    return Call(verb, *parts)


class ApiProxy(HttpProxy):
    """Forwards requests to the API server at ``server``, unless a rule answers them.

    Attributes:
        drop_every: each so-many-th event of the watches gets lost on its way; 0: none.
        lost_events: how they begin.
    """

    def __init__(self, server: str, ca: Path) -> None:
        super().__init__(server)
        self._ssl = ssl.create_default_context(cafile=str(ca))
        self._last: asyncio.Future[bytes] | None = None  # of the watches that are open
        self._events = 0
        self.drop_every = 0
        self.lost_events: list[str] = []

    async def __aenter__(self) -> Self:
        self._last = asyncio.get_running_loop().create_future()
        return await super().__aenter__()

    def end_watches(self, last: bytes = b"") -> None:
        """End all open watches, as when their time is over; with some last words."""
        assert self._last is not None
        self._last.set_result(last)
        self._last = asyncio.get_running_loop().create_future()

    def expire_watches(self) -> None:
        """End all open watches with the event 410, as when they are too far behind."""
        gone = status_object(410, "Expired", "too old resource version")
        self.end_watches(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")

    async def forward(
        self,
        request: web.Request,
        *,
        query: Mapping[str, str] | None = None,
        through: Callable[[Pieces], Pieces] | None = None,
    ) -> web.StreamResponse:
        """Pass a request on, and its answer back as it comes."""
        call = call_of(request)
        if call.verb == "watch":
            through = self._events_of
        return await super().forward(request, query=query, through=through)

    async def _events_of(self, pieces: Pieces) -> Pieces:
        """Yield the lines of a watch, without those that get lost, until it is ended."""
        last = self._last
        assert last is not None
        lines = _lines(pieces)
        following: asyncio.Task[bytes] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(lines))
                await asyncio.wait({last, following}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    yield last.result()
                    return
                try:
                    line = following.result()
                except StopAsyncIteration:
                    return
                if not self._gets_lost(line):
                    yield line
        finally:
            if following is not None:
                following.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration, aiohttp.ClientError):
                    await following
            await lines.aclose()

    def _gets_lost(self, line: bytes) -> bool:
        if not self.drop_every or b'"BOOKMARK"' in line[:40]:
            return False
        self._events += 1
        if self._events % self.drop_every:
            return False
        self.lost_events.append(line[:300].decode(errors="replace"))
        return True

    def _connector(self) -> aiohttp.BaseConnector:
        return aiohttp.TCPConnector(ssl=self._ssl, limit=0)

    async def _listen(self, runner: web.AppRunner) -> str:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _lines(pieces: Pieces) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def when(*verbs: str, resource: str = "", name: str = "") -> Callable[[web.Request], bool]:
    """Return whether a request has one of these verbs (``write``: any that changes something)."""

    def holds(request: web.Request) -> bool:
        call = call_of(request)
        return (
            (not verbs or call.verb in verbs or ("write" in verbs and call.is_write))
            and resource in ("", call.resource)
            and name in ("", call.name)
        )

    return holds
