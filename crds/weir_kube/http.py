"""The plain HTTP server of a component: health for its supervisor, metrics for Prometheus."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from weir_kube.errors import ConfigError

Check = Callable[[], bool | str]


class HealthServer:
    """Serves ``/healthz`` (we live), ``/readyz`` (we do our work) and ``/metrics``."""

    def __init__(
        self,
        listen: str,
        checks: Mapping[str, Check],
        *,
        alive: Mapping[str, Check] | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Prepare.

        Args:
            listen: ``host:port``; port 0 takes a free one (see ``port``).
            checks: of ``/readyz``, by name. True: good. False, or words that say why: not.
            alive: of ``/healthz``, likewise; when one fails, a supervisor restarts us.
            registry: whose metrics to serve.

        Raises:
            ConfigError: ``listen`` is malformed.
        """
        self._host, self._port = parse_listen(listen)
        self._checks = checks
        self._alive = alive or {}
        self._registry = registry
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        await self.close()

    async def start(self) -> None:
        """Start listening.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as exc:
            await runner.cleanup()
            raise ConfigError(f"cannot listen on {self._host}:{self._port}: {exc}") from exc
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _answer(self._alive)

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _answer(self._checks)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


def parse_listen(listen: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; an empty host is every address.

    Raises:
        ConfigError: it is malformed.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{listen!r} is no address to listen on (such as 127.0.0.1:8081)")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104


def _answer(checks: Mapping[str, Check]) -> web.Response:
    """Answer as the API server's own health endpoints do: a line per check, 500 if one fails."""
    lines: list[str] = []
    good = True
    for name, check in checks.items():
        result = check()
        if result is True:
            lines.append(f"[+] {name} ok")
            continue
        good = False
        lines.append(f"[-] {name} failed: {result}" if result else f"[-] {name} failed")
    lines.append("ok" if good else "failed")
    return web.Response(text="\n".join(lines) + "\n", status=200 if good else 500)
