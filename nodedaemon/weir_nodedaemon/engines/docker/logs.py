"""What Docker has of a container: its output, and its use of the machine."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

from weir_nodedaemon.engines.docker import objects
from weir_nodedaemon.engines.docker.client import DockerPart
from weir_nodedaemon.engines.docker.frames import FrameDecoder, skip
from weir_nodedaemon.engines.docker.refusals import RefusedError, refusal
from weir_nodedaemon.engines.port import (
    InstanceGoneError,
    InstanceState,
    InstanceUsage,
    LogChunk,
)

_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)


class DockerLogs(DockerPart):
    """Output and usage of this host's containers."""

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
