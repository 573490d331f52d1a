"""All that a run printed, be it in the engine, in the archive, or moving over just now."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from weir_crds.names import container_name
from weir_nodedaemon.engines.port import (
    InstanceGoneError,
    InstanceState,
    LogChunk,
    ObservedInstance,
)
from weir_nodedaemon.logs import LogStore, closing, skip_bytes
from weir_nodedaemon.server.errors import NotStartedError, OutputLostError

logger = logging.getLogger(__name__)

_WINDOW_BYTES = 1024
# Longer than the engine needs to show that a container whose output is over has ended.
_SETTLE_SECONDS = 5.0
_POLL_SECONDS = 0.05


class LogSource(Protocol):
    """What is read of a ``ContainerEngine``."""

    async def inspect(self, name: str) -> ObservedInstance | None:
        """Return one container of this host, or None."""
        ...

    def logs(self, name: str, *, follow: bool = False) -> AsyncIterator[LogChunk]:
        """Yield the container's output from its beginning; with follow until it ends."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one Task."""

    uid: str
    run_id: int

    @property
    def container(self) -> str:
        """The name of its container."""
        return container_name(self.uid, self.run_id)

    def __str__(self) -> str:
        """Return uid and run for messages."""
        return f"run {self.run_id} of {self.uid}"


class _Seen:
    """How far a reader has come: a position, and the last bytes before it to know it again."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.window = b""

    def add(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self.window = (self.window + data[-_WINDOW_BYTES:])[-_WINDOW_BYTES:]


async def read_run(
    engine: LogSource, logs: LogStore, run: Run, *, follow: bool
) -> AsyncIterator[LogChunk]:
    """Yield all output of a run from its beginning; with ``follow`` until the run has ended.

    While the container is there it is read from the engine; when the container goes meanwhile,
    reading goes on in the archive, which is complete before any container is removed.

    Raises:
        InstanceGoneError: neither a container nor an archive was there.
        NotStartedError: the container has not been started yet.
        OutputLostError: the rest is not to be had; what was yielded is not all.
        EngineUnavailableError: the engine failed; what was yielded may not be all.
    """
    if logs.summary(run.uid, run.run_id) is None:
        seen = _Seen()
        async with closing(_live(engine, logs, run, seen, follow=follow)) as live:
            async for chunk in live:
                yield chunk
        if logs.summary(run.uid, run.run_id) is None:
            return
        rest = skip_bytes(
            logs.read(run.uid, run.run_id), await _position_in_archive(logs, run, seen)
        )
    else:
        rest = logs.read(run.uid, run.run_id)
    async with closing(rest):
        async for chunk in rest:
            yield chunk


async def _live(
    engine: LogSource, logs: LogStore, run: Run, seen: _Seen, *, follow: bool
) -> AsyncIterator[LogChunk]:
    """Yield what the engine gives; return when that was all or the archive has the rest."""
    observed = await engine.inspect(run.container)
    if observed is not None and observed.state is InstanceState.CREATED:
        raise NotStartedError(f"{run} has no output yet: its container has not started")
    broken: InstanceGoneError | None = None
    try:
        async with closing(engine.logs(run.container, follow=follow)) as chunks:
            async for chunk in chunks:
                seen.add(chunk.data)
                yield chunk
    except InstanceGoneError as error:
        broken = error
    # An engine may also end the output of a container that is being removed as if it were whole.
    for _ in range(round(_SETTLE_SECONDS / _POLL_SECONDS)):
        observed = await engine.inspect(run.container)
        if logs.summary(run.uid, run.run_id) is not None:
            return
        if observed is None:
            if seen.size_bytes == 0 and broken is not None:
                raise broken
            raise OutputLostError(f"the container of {run} was removed, its output not archived")
        over = observed.state is InstanceState.EXITED or not follow
        if broken is None and over and observed.state is not InstanceState.REMOVING:
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise OutputLostError(f"the engine ended the output of {run}, but not the container")


async def _position_in_archive(logs: LogStore, run: Run, seen: _Seen) -> int:
    """Return how many bytes of the archive were seen already.

    Both were read from the same engine's log, so positions agree, unless the engine dropped its
    oldest output between the two; then the last bytes seen are searched for.
    """
    if seen.size_bytes == 0:
        return 0
    window = seen.window
    expected = seen.size_bytes - await logs.dropped_bytes(run.uid, run.run_id)
    base, carried = 0, b""  # ``carried`` begins at byte ``base`` of the archive
    found: int | None = None
    async with closing(logs.read(run.uid, run.run_id)) as chunks:
        async for chunk in chunks:
            block = carried + chunk.data
            end = expected - base
            if len(window) <= end <= len(block) and block[end - len(window) : end] == window:
                return expected
            at = block.rfind(window)
            if at >= 0:
                found = base + at + len(window)
            keep = min(len(block), len(window) - 1)
            base, carried = base + len(block) - keep, block[len(block) - keep :]
    if found is None:
        raise OutputLostError(f"{run} printed more than is kept while it was read")
    logger.info("output of %s moved within the archive, going on at byte=%d", run, found)
    return found
