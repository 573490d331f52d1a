"""What Docker has of a container: its output, and its use of the machine."""

import asyncio
import time
from collections.abc import AsyncGenerator, Container
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from weir_nodedaemon.engines.docker import objects
from weir_nodedaemon.engines.docker.client import DockerPart
from weir_nodedaemon.engines.docker.frames import FrameDecoder, skip
from weir_nodedaemon.engines.docker.refusals import RefusedError, is_away, refusal
from weir_nodedaemon.engines.port import (
    EngineUnavailableError,
    InstanceGoneError,
    InstanceState,
    InstanceUsage,
    LogChunk,
)

_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)
_INIT_OUTPUT_BYTES = 4096
_INIT_ANSWER_SECONDS = 5.0
_INIT_OUTPUT_SECONDS = 20.0  # for so long a log that does not come is asked for again


class DockerLogs(DockerPart):
    """Output and usage of this host's containers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin as ``DockerPart``."""
        super().__init__(*args, **options)
        self._init_silent: dict[str, float] = {}  # since when what init wrote does not come

    async def logs(self, name: str, *, follow: bool = False) -> AsyncGenerator[LogChunk, None]:
        """Yield the container's output from its beginning; with follow until it ends."""
        if await self.inspect(name) is None:
            raise InstanceGoneError(f"no container {name}")
        read = 0
        try:
            async with aclosing(self._output(name, follow=follow)) as chunks:
                async for chunk in chunks:
                    read += len(chunk.data)
                    yield chunk
            if follow:
                # A follower in Docker 20.10 may end before it has read what was written last.
                async with aclosing(self._output(name)) as chunks:
                    async for chunk in skip(chunks, read):
                        yield chunk
        except RefusedError as exc:
            if exc.status not in (404, 409):
                raise refusal(exc) from exc
            if not read:
                raise InstanceGoneError(str(exc)) from exc

    async def usage(self, name: str) -> InstanceUsage | None:
        """Return what a running container has used; None when it does not run."""
        seen = await self.inspect(name)
        if seen is None or seen.state not in _ALIVE:
            return None
        try:
            path = f"/containers/{quote(name, safe='')}/stats"
            stats = await self._client.get(path, {"stream": "0", "one-shot": "1"})
        except RefusedError as exc:
            if exc.status == 404:
                return None
            raise refusal(exc) from exc
        return objects.usage(stats)

    async def _output(self, name: str, *, follow: bool = False) -> AsyncGenerator[LogChunk, None]:
        decoder = FrameDecoder()
        params = {"stdout": "1", "stderr": "1", "follow": "1" if follow else "0"}
        path = f"/containers/{quote(name, safe='')}/logs"
        # What was written is read without a pause; a program that is followed may be silent.
        silence = None if follow else self._client.read_seconds
        async with self._client.stream("GET", path, params=params, silence_seconds=silence) as data:
            async for piece in data:
                for chunk in decoder.feed(piece):
                    yield chunk

    async def _init_failure(self, name: str) -> str:
        """Return why the container's init could not run the program; "": it did, or who knows.

        Raises:
            EngineUnavailableError: its log does not come now, and how it ended hangs on it. One
                whose log is broken, or does not come for long, is shown without.
        """
        output = b""
        seconds = min(_INIT_ANSWER_SECONDS, self._client.read_seconds)
        since = self._init_silent.setdefault(name, time.monotonic())
        try:
            async with asyncio.timeout(seconds), aclosing(self._output(name)) as chunks:
                async for chunk in chunks:
                    output += chunk.data
                    if len(output) > _INIT_OUTPUT_BYTES:
                        break
        except ValueError:
            return ""
        except (RefusedError, EngineUnavailableError, TimeoutError) as exc:
            broken = isinstance(exc, RefusedError) and not is_away(exc.status, str(exc))
            if broken or time.monotonic() - since >= _INIT_OUTPUT_SECONDS:
                return ""
            raise EngineUnavailableError(f"the log of {name} does not come: {exc!r}") from exc
        self._init_silent.pop(name, None)
        return objects.init_failure(output)

    def _forget_init_output(self, kept: Container[str]) -> None:
        """Forget what is known of containers that are gone."""
        self._init_silent = {n: since for n, since in self._init_silent.items() if n in kept}
