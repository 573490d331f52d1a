"""An HTTP proxy before Docker's socket: a Docker that hangs, is cut, refuses, or is not there."""

from pathlib import Path

import aiohttp
from aiohttp import web

from support.http_proxy import HttpProxy


class DockerProxy(HttpProxy):
    """Listens at the socket ``path`` and forwards to the Docker at ``docker_host``.

    With ``hold`` it is a Docker that hangs: the socket accepts, and never answers. For that alone
    no other Docker is needed.
    """

    def __init__(self, path: Path, docker_host: str = "unix:///nowhere") -> None:
        super().__init__("http://docker")
        self._path = path
        self._target = docker_host.removeprefix("unix://")

    def _connector(self) -> aiohttp.BaseConnector:
        return aiohttp.UnixConnector(self._target, limit=0)

    async def _listen(self, runner: web.AppRunner) -> str:
        await web.UnixSite(runner, str(self._path)).start()
        return f"unix://{self._path}"
