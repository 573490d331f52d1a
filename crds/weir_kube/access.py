"""How the API server is reached: its address, TLS, and a token that may change at any time."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from weir_kube.sockets import within_half_a_minute

logger = logging.getLogger(__name__)

# A rotated token file is noticed within this time; a refused token is looked up at once.
_RECHECK_SECONDS = 1.0


class Credentials(Protocol):
    """Where the value of the Authorization header comes from."""

    async def header(self) -> str | None:
        """Return the header's value as it should be now; None: anonymous."""
        ...

    async def refresh(self, refused: str | None) -> bool:
        """Look again after a 401; True when there is another value than the refused one."""
        ...


class StaticCredentials:
    """A header value that never changes; None sends none (anonymous, or a client certificate)."""

    def __init__(self, value: str | None) -> None:
        """Keep the value."""
        self._value = value

    async def header(self) -> str | None:
        """Return the value."""
        return self._value

    async def refresh(self, refused: str | None) -> bool:
        """There is never another."""
        return self._value != refused


class TokenFile:
    """A bearer token in a file that somebody else rewrites (kubelet, kubeconfig ``tokenFile``)."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep the path; the file is read when the token is first needed."""
        self._path = path
        self._clock = clock
        self._signature: tuple[int, int, int] | None = None
        self._value: str | None = None
        self._checked = float("-inf")

    async def header(self) -> str | None:
        """Return the token, reading the file again when it has changed."""
        now = self._clock()
        if now - self._checked >= _RECHECK_SECONDS:
            self._checked = now
            self._read(always=False)
        return self._value

    async def refresh(self, refused: str | None) -> bool:
        """Read the file again, whatever its times say."""
        self._checked = self._clock()
        self._read(always=True)
        return self._value != refused

    def _read(self, *, always: bool) -> None:
        """Take what the file holds; a file that is missing or half-written changes nothing."""
        try:
            stat = self._path.stat()
            signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if signature == self._signature and not always:
                return
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            logger.warning("cannot read the token file, the known token is kept: %s", exc)
            return
        if token:
            if self._value is not None and self._value != f"Bearer {token}":
                logger.info("took a new token from file=%s", self._path)
            self._signature = signature
            self._value = f"Bearer {token}"


class ExecCredentials:
    """A token from a kubeconfig's ``exec`` plugin, which is run again when the token is refused."""

    def __init__(self, value: str | None, run: Callable[[], Awaitable[str | None]]) -> None:
        """Keep the first value and the way to another."""
        self._value = value
        self._run = run
        self._running = asyncio.Lock()

    async def header(self) -> str | None:
        """Return the last value."""
        return self._value

    async def refresh(self, refused: str | None) -> bool:
        """Run the plugin, unless another request has just done so."""
        async with self._running:
            if self._value == refused:
                self._value = await self._run()
        return self._value != refused


@dataclass(frozen=True, slots=True)
class Access:
    """All that is needed to open connections to one API server as one identity."""

    server: str
    credentials: Credentials
    ssl_context: ssl.SSLContext | None = None
    tls_server_name: str | None = None
    proxy: str | None = None  # only what the kubeconfig names; the environment is not asked
    namespace: str = "default"
    user_agent: str = "weir"
    connections: int = 64  # for requests at once; watches have their own

    def session(
        self, *, connections: int, middlewares: Sequence[aiohttp.ClientMiddlewareType] = ()
    ) -> aiohttp.ClientSession:
        """Open a pool of at most so many connections (0: no limit); no authentication in it."""
        connector = aiohttp.TCPConnector(
            limit=connections,
            ssl=self.ssl_context if self.ssl_context is not None else True,
            socket_factory=within_half_a_minute,
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            proxy=self.proxy,
            # Compressing long lists would cost the API server more than it saves us.
            headers={"User-Agent": self.user_agent, "Accept-Encoding": "identity"},
            middlewares=middlewares,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=2**18,
        )
