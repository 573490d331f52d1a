"""Follows what instances write into the store, each from before its start until its end.

An engine may hold up a program whose follower does not read. So a follower reads on while the disk
is slow, as far as there is room, and breaks off where it stands still. For such interruptions, or
when the disk is full, this daemon away, or the engine, there is what the engine keeps: following
goes on where it broke off. Nothing here holds up a verdict for long: output that cannot be had is
followed on, and the instance is kept until it is stored (``finish``).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge

from weir_crds.errors import WeirError
from weir_nodedaemon.engines.port import InstanceGoneError, LogChunk, LogPosition, Logs, Stream
from weir_nodedaemon.logs.disk import LogStoreError
from weir_nodedaemon.logs.run import LogSummary, RunWriter
from weir_nodedaemon.logs.store import LogStore

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

FOLLOWED = Gauge("weir_daemon_logs_followed", "Instances whose output is being followed.")
INTERRUPTED = Counter(
    "weir_daemon_log_interruptions", "Times that following output broke off, by reason.", ["reason"]
)
LOGS_LOST = Counter(
    "weir_daemon_logs_lost",
    "Runs whose output was not stored when they ended, by reason.",
    ["reason"],
)
LOGS_TRUNCATED = Counter(
    "weir_daemon_logs_truncated", "Runs that printed more than is stored: the newest is there."
)

_ATTACH_SECONDS = 2.0
_AHEAD_BYTES = 1 << 18  # read and not stored yet, of each instance
_STANDSTILL_SECONDS = 1.0  # Docker drops what is unread two seconds after a program has ended
_WITH_CALLER_SECONDS = 1.0  # most output is there by then
_STILL_SECONDS = 20.0  # without a byte of progress the end of a run waits no longer for its output
_SILENT_SECONDS = 3.0  # so long after the end of a run a stream that has not ended is given up
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class DiskStandsStillError(WeirError):
    """The disk of the state directory takes nothing for now."""

    reason = "DiskStandsStill"


class StreamSilentError(WeirError):
    """Nothing comes of an instance that has ended, and no end of its stream either."""

    reason = "StreamSilent"


@dataclass(frozen=True, slots=True)
class Output:
    """What a run printed; ``complete``: the instance has nothing more that could be stored."""

    summary: LogSummary
    complete: bool


class Collector:
    """Follows instances by uid and run; one follower for each."""

    def __init__(
        self,
        engine: Logs,
        store: LogStore,
        *,
        still_seconds: float = _STILL_SECONDS,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        """Follow nothing yet.

        Args:
            engine: where the instances are.
            store: where their output goes.
            still_seconds: how long the end of a run waits for output that makes no progress.
            silent_seconds: after how long it asks the engine anew for what there is.
        """
        self.store = store
        self._engine = engine
        self._still_seconds = still_seconds
        self._silent_seconds = silent_seconds
        self._followers: dict[tuple[str, int], _Follower] = {}
        self._finishing: dict[tuple[str, int], asyncio.Task[Output]] = {}

    async def begin(self, uid: str, run_id: int, name: str) -> None:
        """Follow an instance that is about to start.

        Returns when nothing that it writes is missed; if the engine is slow to get there, after two
        seconds: what was missed then is read from the engine's own log.
        """
        await self._drop(uid, run_id)  # of an earlier start, whose instance was perhaps removed
        follower = self.follow(uid, run_id, name)
        await asyncio.wait(
            [follower.attached, follower.task],
            timeout=_ATTACH_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )

    def follow(self, uid: str, run_id: int, name: str) -> "_Follower":
        """Follow an instance from where its output is stored, unless it is followed already."""
        known = self._followers.get((uid, run_id))
        if known is None or (known.task.done() and not known.complete):
            known = self._followers[uid, run_id] = _Follower(
                self._engine, self.store, uid, run_id, name
            )
        return known

    def follow_running(self, uid: str, run_id: int, name: str) -> "_Follower":
        """Follow an instance that runs, or is about to, though an end of it was seen before.

        Somebody may have started it again.
        """
        known = self._followers.get((uid, run_id))
        if known is not None and known.task.done():
            del self._followers[uid, run_id]
        return self.follow(uid, run_id, name)

    async def finish(self, uid: str, run_id: int, name: str) -> Output:
        """Return what a run printed that has ended; what is stored then is final, if complete.

        It waits for output only while there is progress. Never raises because of output.
        """
        stored = None
        if not self.store.is_written(uid, run_id):
            with suppress(WeirError, TimeoutError):
                stored = await self._in_time(self.store.summary(uid, run_id))
        if stored is not None:
            return Output(stored, complete=True)
        follower = self.follow(uid, run_id, name)
        await follower.wait(self._silent_seconds)
        # An engine that died in the instant of an end may leave its stream open for good.
        follower.ask_anew()
        await follower.wait(self._still_seconds)
        writer = follower.writer
        if writer is None or not follower.complete:
            LOGS_LOST.labels(follower.failure or "NoProgress").inc()
            logger.error("output is not stored yet instance=%s: %s", name, follower.failure)
            summary = writer.summary if writer else LogSummary(0, 0, truncated=True)
            return Output(replace(summary, truncated=True), complete=False)
        try:
            summary = await self._in_time(writer.finish())
        except TimeoutError:
            summary = writer.summary  # the files say the same without the note
        self._followers.pop((uid, run_id), None)
        if summary.truncated:
            LOGS_TRUNCATED.inc()
        return Output(summary, complete=True)

    async def finish_soon(
        self, uid: str, run_id: int, name: str, wake: Callable[[], None]
    ) -> Output | None:
        """As ``finish``, but return None where it takes long: call again when ``wake`` is called.

        Many runs whose output does not come must not keep a kill of another waiting.
        """
        task = self._finishing.get((uid, run_id))
        if task is None:
            finishing = self.finish(uid, run_id, name)
            task = self._finishing[uid, run_id] = asyncio.create_task(finishing, name=f"end {name}")
            await asyncio.wait({task}, timeout=_WITH_CALLER_SECONDS)
            if not task.done():
                task.add_done_callback(lambda _: wake())
        if not task.done():
            return None
        self._finishing.pop((uid, run_id), None)
        return task.result()

    async def removed(self, uid: str, run_id: int) -> None:
        """Follow an instance no more that was removed: what is stored is final, perhaps not all."""
        follower = await self._drop(uid, run_id)
        writer = follower.writer if follower is not None else None
        if writer is None or writer.position.is_beginning:
            return
        with suppress(WeirError, TimeoutError):
            await self._in_time(writer.append([LogChunk(Stream.STDOUT, b"", gap=True)]))
            await self._in_time(writer.finish())

    async def _drop(self, uid: str, run_id: int) -> "_Follower | None":
        follower = self._followers.pop((uid, run_id), None)
        if follower is not None:
            await follower.stop()
        return follower

    async def _in_time(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the disk as long as for output; raises TimeoutError, and the call goes on."""
        async with asyncio.timeout(self._still_seconds):
            return await asyncio.shield(asyncio.create_task(call))

    async def forget(self, uid: str) -> None:
        """Follow nothing of an object any more, and remove what is stored of it.

        Raises:
            LogStoreError: the disk failed.
        """
        await _cancel([self._finishing.pop(key) for key in list(self._finishing) if key[0] == uid])
        for key in [key for key in self._followers if key[0] == uid]:
            await self._drop(*key)
        await self.store.remove(uid)

    async def close(self) -> None:
        """Follow nothing any more; what was stored stays, and can be gone on with."""
        await _cancel(list(self._finishing.values()))
        followers, self._followers = self._followers, {}
        await asyncio.gather(*(follower.stop() for follower in followers.values()))


async def _cancel(tasks: Sequence[asyncio.Task[Output]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Follower:
    """The task that follows one instance.

    Attributes:
        attached: done when nothing more is missed.
        complete: all there will ever be is stored.
        failure: the reason why it is not.
        writer: where it goes; None: the store did not answer yet.
    """

    def __init__(self, engine: Logs, store: LogStore, uid: str, run_id: int, name: str) -> None:
        self.attached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.complete = False
        self.failure = ""
        self.writer: RunWriter | None = None
        self.progress = 0
        self._engine = engine
        self._store = store
        self._run = (uid, run_id)
        self._name = name
        self._hurry = asyncio.Event()  # try again now
        self._refused: asyncio.Future[None] | None = None  # of who waits: by the disk
        self._patience: asyncio.Timeout | None = None  # of who reads the engine's stream
        self.task = asyncio.create_task(self._follow(), name=f"output of {name}")

    async def wait(self, still_seconds: float) -> None:
        """Return when all is stored, there was no progress for so long, or the disk refuses it."""
        refused = self._refused = asyncio.get_running_loop().create_future()
        self._hurry.set()
        progress = -1
        while progress != self.progress and not self.task.done() and not refused.done():
            progress = self.progress
            await asyncio.wait(
                [self.task, refused],
                timeout=still_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )

    def ask_anew(self) -> None:
        """Give up the engine's stream, and follow on from where the output is stored."""
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.reschedule(0)

    async def stop(self) -> None:
        """End following."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        with FOLLOWED.track_inprogress():
            while not self.complete:
                before = self.progress
                try:
                    await self._copy()
                except WeirError as exc:
                    self._note(exc.reason, failures, str(exc))
                    if isinstance(exc, LogStoreError):
                        _resolve(self._refused)
                except Exception:
                    logger.exception("output cannot be followed instance=%s", self._name)
                    self._note("InternalError", failures, "see above")
                else:
                    continue
                failures = 0 if self.progress != before else failures + 1
                seconds = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                try:
                    async with asyncio.timeout(seconds):
                        await self._hurry.wait()
                except TimeoutError:
                    pass
                self._hurry.clear()

    async def _copy(self) -> None:
        """Store all that comes; raises WeirError when that breaks off, and all that came is stored.

        Where the disk refused it, less is: ``position`` of the writer says where to go on.
        """
        writer = self.writer = await self._store.writer(*self._run)
        ahead = _Ahead()
        reading = asyncio.create_task(self._read(writer.position, ahead), name=f"read {self._name}")
        try:
            while chunks := await ahead.take():
                await writer.append(chunks)
                self.progress += 1
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        reading.result()
        self.complete = True

    async def _read(self, after: LogPosition, ahead: "_Ahead") -> None:
        try:
            await self._read_stream(after, ahead)
        except InstanceGoneError:
            # Somebody removed it while nobody followed: whether it wrote more cannot be known.
            await ahead.put(LogChunk(Stream.STDOUT, b"", gap=True))
        except TimeoutError:
            raise StreamSilentError("the instance has ended, and its stream has not") from None
        finally:
            ahead.end()

    async def _read_stream(self, after: LogPosition, ahead: "_Ahead") -> None:
        try:
            async with (
                asyncio.timeout(None) as self._patience,
                aclosing(self._engine.follow(self._name, after)) as chunks,
            ):
                async for chunk in chunks:
                    self.failure = ""
                    _resolve(self.attached)
                    if chunk.data or chunk.gap:
                        await ahead.put(chunk)
        finally:
            self._patience = None

    def _note(self, reason: str, failures: int, message: str) -> None:
        self.failure = reason
        INTERRUPTED.labels(reason).inc()
        log = logger.info if failures else logger.warning
        log("following output broke off instance=%s: %s", self._name, message)


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


@dataclass(slots=True)
class _Ahead:
    """What was read and is not stored yet."""

    _chunks: list[LogChunk] = field(default_factory=list)
    _bytes: int = 0
    _ended: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, chunk: LogChunk) -> None:
        """Add what was read, and wait until there is room for more.

        Raises:
            DiskStandsStillError: there is none after a while; the chunk was added all the same.
        """
        self._chunks.append(chunk)
        self._bytes += len(chunk.data)
        self._changed.set()
        self._room.clear()
        if self._bytes >= _AHEAD_BYTES:
            try:
                async with asyncio.timeout(_STANDSTILL_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                raise DiskStandsStillError("output is not written") from None

    async def take(self) -> list[LogChunk]:
        """Return what is next, as soon as there is something; nothing: that was all."""
        while not self._chunks and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        chunks, self._chunks, self._bytes = self._chunks, [], 0
        self._room.set()
        return chunks

    def end(self) -> None:
        """Nothing more is read."""
        self._ended = True
        self._changed.set()
