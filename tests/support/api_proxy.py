"""An HTTP proxy before the API server.

It listens in plain HTTP on loopback and passes the caller's token on.
"""

import ssl
from pathlib import Path

import aiohttp
from aiohttp import web

from support.http_proxy import Answer, HttpProxy, Rule, status_object

__all__ = ["Answer", "ApiProxy", "Rule", "status_object"]


class ApiProxy(HttpProxy):
    """Forwards requests to the API server at ``server``, unless a rule answers them."""

    def __init__(self, server: str, ca: Path) -> None:
        super().__init__(server)
        self._ssl = ssl.create_default_context(cafile=str(ca))

    def _connector(self) -> aiohttp.BaseConnector:
        return aiohttp.TCPConnector(ssl=self._ssl, limit=0)

    async def _listen(self, runner: web.AppRunner) -> str:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"
