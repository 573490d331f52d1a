"""What Docker has of a container: its output, and its use of the machine.

Output is read by attaching, which gives bytes as they are written and as they are. What was written
before, or while nobody was attached, is in the log that Docker keeps (``record.py``).

Docker writes to whom it has attached before it writes to its log, and waits for a reader that does
not read (moby, ``pkg/broadcaster``, ``ioutils.BytesPipe``: once 1 MB is unread). When the program
ends it waits for two seconds more; what is still in the program's pipe then is lost
(``daemon/monitor.go``, ``StreamConfig.Wait``). What is read late shows that, and is said as a gap.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from weir_nodedaemon.engines.docker import objects
from weir_nodedaemon.engines.docker.client import DockerPart, Presence, container_path
from weir_nodedaemon.engines.docker.frames import FrameDecoder
from weir_nodedaemon.engines.docker.record import Record, overlap
from weir_nodedaemon.engines.docker.refusals import RefusedError, is_away, refusal
from weir_nodedaemon.engines.port import (
    BEGINNING,
    EngineUnavailableError,
    InstanceGoneError,
    InstanceState,
    InstanceUsage,
    LogChunk,
    LogPosition,
    ObservedInstance,
    Stream,
)

logger = logging.getLogger(__name__)

_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)
_INIT_OUTPUT_BYTES = 4096
_INIT_ANSWER_SECONDS = 5.0
_INIT_OUTPUT_SECONDS = 20.0  # for so long a log that does not come is asked for again
_SURE_SECONDS = 1.0  # an attach that takes no longer came before the start
_PAUSED_SECONDS = 1.0  # until a look whether it goes on
_ATTACHED = LogChunk(Stream.STDOUT, b"")
_GAP = LogChunk(Stream.STDOUT, b"", gap=True)
_RECORDS_AT_ONCE = 2
_JOIN_SECONDS = 2.0
_JOIN_AGAIN_SECONDS = 0.1
_ARRIVAL_SECONDS = 0.02
_JOIN_MOST_SECONDS = 5.0  # a program that prints much waits for it
_LATE_SECONDS = 1.0  # after its end a program's output is read by then
_LATE_BYTES = 1 << 19  # Docker waits for a reader when twice as many are unread
_LATE_STEP_SECONDS = 0.5
_LATE_STEPS = 600
_LIVE_BYTES = 1 << 20  # what is kept of a live stream until it is known where it begins


class _EndedError(Exception):
    """It is over already."""


class DockerLogs(DockerPart):
    """Output and usage of this host's containers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin as ``DockerPart``."""
        super().__init__(*args, **options)
        self._init_silent: dict[str, float] = {}  # since when what init wrote does not come
        self._presence = Presence(self._client)
        self._records = asyncio.Semaphore(_RECORDS_AT_ONCE)
        self._cut: dict[str, float] = {}  # since when nobody reads what a container writes

    async def follow(
        self, name: str, after: LogPosition = BEGINNING
    ) -> AsyncGenerator[LogChunk, None]:
        """Yield what the container writes after a position; see the port."""
        try:
            async with aclosing(self._follow(name, after)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except RefusedError as exc:
            if exc.status == 404 or (exc.status == 409 and "paused" not in str(exc)):
                raise InstanceGoneError(str(exc)) from exc
            if exc.status == 409:
                raise EngineUnavailableError(str(exc)) from exc
            raise refusal(exc) from exc
        except ValueError as exc:
            raise EngineUnavailableError(f"Docker's stream is broken: {exc}") from exc

    async def usage(self, name: str) -> InstanceUsage | None:
        """Return what a running container has used; None when it does not run."""
        seen = await self.inspect(name)
        if seen is None or seen.state not in _ALIVE:
            return None
        try:
            stats = await self._client.get(
                f"{container_path(name)}/stats", {"stream": "0", "one-shot": "1"}
            )
        except RefusedError as exc:
            if exc.status == 404:
                return None
            raise refusal(exc) from exc
        return objects.usage(stats)

    async def _follow(self, name: str, after: LogPosition) -> AsyncGenerator[LogChunk, None]:
        seen = await self._seen(name)
        while seen.state is InstanceState.PAUSED:  # Docker attaches nobody to it, and it is silent
            await asyncio.sleep(_PAUSED_SECONDS)
            seen = await self._seen(name)
        if not _is_over(seen):
            fresh = seen.state is InstanceState.CREATED and after.is_beginning
            try:
                async with aclosing(self._written(name, after, fresh=fresh)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except _EndedError:
                seen = await self._seen(name)
            else:
                return
        async with aclosing(self._kept(seen, after)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _seen(self, name: str) -> ObservedInstance:
        seen = await self.inspect(name)
        if seen is None:
            raise InstanceGoneError(f"no container {name}")
        if seen.state is InstanceState.UNKNOWN:
            raise EngineUnavailableError(f"Docker cannot show {name}")
        return seen

    async def _kept(
        self, seen: ObservedInstance, after: LogPosition
    ) -> AsyncGenerator[LogChunk, None]:
        """Yield what Docker has kept of a container that is over."""
        yield _ATTACHED
        async with self._records:
            record, whole = await self._record(seen.name)
        rest, unsure = record.after(after, whole=whole)
        if unsure:
            yield _GAP
        for chunk in rest:
            yield chunk
        cut = self._cut.get(seen.name)
        if cut is not None and (seen.finished_at is None or seen.finished_at.timestamp() > cut):
            yield _GAP  # it wrote while Docker was away, and ended before it was back

    async def _written(
        self, name: str, after: LogPosition, *, fresh: bool
    ) -> AsyncGenerator[LogChunk, None]:
        """Yield what a container writes; unless it is fresh, first what was missed.

        Raises:
            _EndedError: it had ended before it was attached; nothing was yielded.
        """
        presence = await self._presence.token()
        read = dict(after.came)
        async with AsyncExitStack() as joining:
            if not fresh:
                await joining.enter_async_context(self._records)
            began = time.monotonic()
            async with self._attached(name) as live:
                # Nothing ever comes, no end either, from one that ended a moment before.
                took_long = time.monotonic() - began > _SURE_SECONDS
                if (took_long or not fresh) and _is_over(await self._seen(name)):
                    raise _EndedError
                yield _ATTACHED
                try:
                    if not fresh:
                        missed = await self._missed(name, after, live)
                        await joining.aclose()
                        for chunk in missed:
                            read[chunk.stream] += len(chunk.data)
                            yield chunk
                    async for chunk in live:
                        read[chunk.stream] += len(chunk.data)
                        yield chunk
                    # A Docker that dies ends its streams as if they were over.
                    await self._presence.check(presence)
                except EngineUnavailableError:
                    self._cut.setdefault(name, live.over_at or time.time())
                    raise
                self._cut.pop(name, None)
        if await self._was_late(name, live):
            logger.warning("the last output of %s was read late, some may be lost", name)
            yield _GAP
        elif not fresh and after.exact:
            async with self._records:
                record, whole = await self._record(name)
            if whole and any(len(record.of(stream)) != read[stream] for stream in Stream):
                yield _GAP

    async def _was_late(self, name: str, live: "_Live") -> bool:
        """Tell whether Docker may have waited for us in vain when the program had ended."""
        if live.read_bytes < _LATE_BYTES:
            return False
        seen = await self.inspect(name)
        if seen is None or seen.finished_at is None:
            return False
        return live.read_after(seen.finished_at.timestamp() + _LATE_SECONDS) >= _LATE_BYTES

    async def _missed(self, name: str, after: LogPosition, live: "_Live") -> list[LogChunk]:
        """Return what was written after a position and before the live stream goes on."""
        pump = asyncio.create_task(live.pump())
        try:
            async with asyncio.timeout(_JOIN_MOST_SECONDS):
                deadline = asyncio.get_running_loop().time() + _JOIN_SECONDS
                while True:
                    await asyncio.sleep(_JOIN_AGAIN_SECONDS)  # Docker's log is a little behind
                    before = live.read_bytes
                    record, whole = await self._record(name)
                    await asyncio.sleep(_ARRIVAL_SECONDS)  # what is in the log was sent before
                    held = live.held()
                    same = overlap(record, held, quiet=live.read_bytes == before)
                    if same is not None or asyncio.get_running_loop().time() >= deadline:
                        break
        except TimeoutError:
            raise EngineUnavailableError(f"the log of {name} does not come") from None
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)  # a cut shows at the next read, too
        rest, unsure = record.after(after, whole=whole)
        if same is None:
            logger.info("where the output of %s goes on is not known", name)
            live.gap = True
        # In doubt, what may be in the log is rather left out than given twice.
        live.skip = same or {stream: len(data) for stream, data in held.items()}
        return [_GAP, *rest] if unsure else rest

    @asynccontextmanager
    async def _attached(self, name: str) -> "AsyncGenerator[_Live, None]":
        params = {"stream": "1", "stdout": "1", "stderr": "1"}
        async with self._client.stream(
            "POST", f"{container_path(name)}/attach", params=params
        ) as pieces:
            # Only a byte proves that Docker reads again what the program writes.
            yield _Live(pieces, on_first=lambda: self._cut.pop(name, None))

    async def _record(self, name: str) -> tuple[Record, bool]:
        """Return what Docker has kept of the output, and whether that is all there was.

        Few at a time (``_records``): each is in memory as a whole.

        Raises:
            RefusedError: Docker has no such log.
            EngineUnavailableError: it did not answer, or stood still in the middle.
            ValueError: what it answered is no log.
        """
        shown = await self._client.get(f"{container_path(name)}/json")
        record = Record()
        async with aclosing(self._output(name)) as pieces:
            async for piece in pieces:
                record.feed(piece)
        file_bytes = objects.log_file_bytes(shown)
        return record, file_bytes is None or record.file_bytes < file_bytes

    async def _output(self, name: str) -> AsyncGenerator[bytes, None]:
        """Yield the log that Docker keeps, from its beginning to now, in its own format."""
        params = {"stdout": "1", "stderr": "1", "follow": "0"}
        async with self._client.stream(
            "GET",
            f"{container_path(name)}/logs",
            params=params,
            silence_seconds=self._client.read_seconds,
        ) as pieces:
            async for piece in pieces:
                yield piece

    async def _init_failure(self, name: str) -> str:
        """Return why the container's init could not run the program; "": it did, or who knows.

        Raises:
            EngineUnavailableError: its log does not come now, and how it ended hangs on it. One
                whose log is broken, or does not come for long, is shown without.
        """
        output = b""
        seconds = min(_INIT_ANSWER_SECONDS, self._client.read_seconds)
        since = self._init_silent.setdefault(name, time.monotonic())
        decoder = FrameDecoder()
        try:
            async with asyncio.timeout(seconds), aclosing(self._output(name)) as pieces:
                async for piece in pieces:
                    output += b"".join(chunk.data for chunk in decoder.feed(piece))
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

    def _forget_gone(self, kept: Container[str]) -> None:
        """Forget what is known of containers that are gone."""
        self._cut = {name: since for name, since in self._cut.items() if name in kept}
        self._init_silent = {n: since for n, since in self._init_silent.items() if n in kept}


class _Live:
    """What a container writes while we are attached."""

    def __init__(self, pieces: AsyncIterator[bytes], on_first: Callable[[], object]) -> None:
        self.read_bytes = 0
        self.skip = dict.fromkeys(Stream, 0)  # of what comes first
        self.gap = False  # before what comes first
        self.over_at: float | None = None  # the time (of the epoch) when it ended
        self._on_first = on_first
        self._steps: deque[tuple[float, int]] = deque(maxlen=_LATE_STEPS)  # when, bytes before it
        self._pieces = pieces
        self._decoder = FrameDecoder()
        self._held: list[LogChunk] = []

    async def pump(self) -> None:
        """Read ahead, as far as there is room."""
        while self.read_bytes < _LIVE_BYTES:
            if (chunks := await self._next()) is None:
                return
            self._held += chunks

    def held(self) -> dict[Stream, bytes]:
        """Return what was read ahead."""
        return {
            stream: b"".join(chunk.data for chunk in self._held if chunk.stream is stream)
            for stream in Stream
        }

    def read_after(self, at: float) -> int:
        """Return how much was read after a time (of the epoch), or a little less."""
        return next((self.read_bytes - before for when, before in self._steps if when >= at), 0)

    async def __aiter__(self) -> AsyncGenerator[LogChunk, None]:
        if self.gap:
            yield _GAP
        chunks: list[LogChunk] | None = self._held
        while chunks is not None:
            for chunk in chunks:
                skip = self.skip[chunk.stream]
                self.skip[chunk.stream] = max(0, skip - len(chunk.data))
                if skip < len(chunk.data):
                    yield LogChunk(chunk.stream, chunk.data[skip:]) if skip else chunk
            chunks = await self._next()

    async def _next(self) -> list[LogChunk] | None:
        piece = await anext(self._pieces, None)
        now = time.time()
        if piece is None:
            self.over_at = now
            return None
        if not self.read_bytes:
            self._on_first()
        if not self._steps or not 0 <= now - self._steps[-1][0] < _LATE_STEP_SECONDS:
            self._steps.append((now, self.read_bytes))
        self.read_bytes += len(piece)
        return self._decoder.feed(piece)


def _is_over(seen: ObservedInstance) -> bool:
    return seen.state is not InstanceState.CREATED and seen.state not in _ALIVE
