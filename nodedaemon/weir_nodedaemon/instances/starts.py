"""Starts of instances: when one may begin, what comes of it, and how often it is tried.

A start may take the engine long, and it answers nothing about the instance meanwhile. So it runs
beside the workers that reconcile, and no start keeps a kill waiting.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from weir_kube.backoff import exponential
from weir_nodedaemon.engines.port import CreateRefusedError, EngineRefusedError
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.instances.engines import Engine, Engines
from weir_nodedaemon.instances.holdings import Claim, Holdings
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.shared_pool import CoresInUseError, SharedPool

logger = logging.getLogger(__name__)

TRIES = 5
"""So often a start is tried that the engine refuses for reasons unknown."""
_RETRY_SECONDS = 1.0
_RETRY_MAX_SECONDS = 30.0
_CORES_RETRY = dt.timedelta(seconds=5)
_AT_ONCE = 16
_WITH_A_WORKER_SECONDS = 1.0  # most are done by then, and cost no second look
_REPORT_WAIT_AFTER_SECONDS = 2.0  # a state that lasts less is not worth a write


@dataclass(frozen=True, slots=True)
class StartResult:
    """What came of a start: it runs, or it waits.

    Attributes:
        started: it runs.
        in_use: what of the host it waits for, once that takes a while.
        refused: the engine's words why the last try failed; another follows.
        lacking: what of its claim the host does not have (any more): it can never start here.
        requeue_after: when to come again; None: something will wake the key.
    """

    started: bool = False
    in_use: str = ""
    refused: str = ""
    lacking: str = ""
    requeue_after: dt.timedelta | None = None


@dataclass(slots=True)
class _Wait:
    """A start that waits for others to give back what it needs."""

    wake: Callable[[], None]
    since: float


@dataclass(slots=True)
class _Refusal:
    """A start that the engine refused, and that is tried again at its time, not when woken."""

    tries: int = 0
    message: str = ""
    again_at: float = 0.0


class Starts:
    """Starts instances of any kind, and remembers for which something is under way."""

    def __init__(
        self,
        engines: Engines,
        holdings: Holdings,
        shared_pool: SharedPool,
        breaker: Breaker,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these; ``clock`` tells seconds, for waits."""
        self._engines = engines
        self._holdings = holdings
        self._shared_pool = shared_pool
        self._breaker = breaker
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[InstanceID, asyncio.Task[None]] = {}
        self._waiting: dict[InstanceID, _Wait] = {}
        self._refusals: dict[InstanceID, _Refusal] = {}

    def is_under_way(self, id: InstanceID) -> bool:
        """Tell whether the engine is at work on a start: it says nothing of the instance yet."""
        task = self._under_way.get(id)
        return task is not None and not task.done()

    def is_assumed(self, id: InstanceID) -> bool:
        """Tell whether a start holds something that no observation shows yet."""
        return self._holdings.is_assumed(id.name)

    async def start(
        self,
        id: InstanceID,
        claim: Claim,
        engine: Engine,
        wake: Callable[[], None],
        begin: Callable[[], Awaitable[None]],
    ) -> StartResult:
        """Begin a start, or go on with it.

        Args:
            id: which instance.
            claim: what it needs for itself.
            engine: what it runs on.
            wake: called when there is something new.
            begin: creates and starts it, on the shared pool's cores as they are then.

        Raises:
            CreateRefusedError: it cannot be had; final.
            WeirError: whatever else ``begin`` raised; it may have been started all the same.
        """
        if id not in self._under_way:
            lacking = self._holdings.lacking(claim)
            if lacking:
                return StartResult(lacking=lacking)
            left = self._pause_left(id)
            if left is not None:
                return left
            refusal = self._holdings.assume(id.name, claim, self._engines.instances)
            if refusal is not None:
                return self._wait(id, refusal, wake)
            self._waiting.pop(id, None)
            has_slot = not self._slots.locked()
            task = asyncio.create_task(self._run(claim, engine, begin), name=f"start {id.name}")
            self._under_way[id] = task
            if has_slot:
                await asyncio.wait({task}, timeout=_WITH_A_WORKER_SECONDS)
            if not task.done():
                task.add_done_callback(lambda _: wake())
        task = self._under_way[id]
        if not task.done():
            return StartResult()
        del self._under_way[id]
        try:
            task.result()
        except EngineRefusedError as exc:
            engine.resync()  # does the machine still have what was claimed?
            return self._refused(id, str(exc))
        except CoresInUseError as exc:
            self._holdings.release(id.name)
            return StartResult(in_use=str(exc), requeue_after=_CORES_RETRY)
        self._refusals.pop(id, None)
        self._breaker.succeeded()
        return StartResult(started=True)

    def release(self, id: InstanceID) -> None:
        """Give back what a start assumed; doing it twice is no error.

        While the engine is at work on it, nothing is: that happens when it is done.
        """
        self._waiting.pop(id, None)
        self._refusals.pop(id, None)
        task = self._under_way.get(id)
        if task is not None and not task.done():
            task.add_done_callback(lambda _: self._release(id))
        else:
            self._release(id)

    def wake_waiting(self) -> None:
        """Look again at every start that waits: what it needs may be free now."""
        for wait in list(self._waiting.values()):
            wait.wake()

    async def close(self) -> None:
        """Give up all starts that are under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self, claim: Claim, engine: Engine, begin: Callable[[], Awaitable[None]]
    ) -> None:
        async with self._slots:
            await self._shared_pool.vacate(claim.cpus, engine)
            await begin()

    def _release(self, id: InstanceID) -> None:
        task = self._under_way.get(id)
        if task is not None and task.done():
            del self._under_way[id]
            if not task.cancelled():
                task.exception()  # nobody asks for it any more
        if self._holdings.release(id.name):
            self.wake_waiting()

    def _refused(self, id: InstanceID, message: str) -> StartResult:
        """Take note of a refusal that may be the host's fault; the last one is final.

        While starts fail whatever they are of, none is: the host is sick, and not the spec.
        """
        refusal = self._refusals.setdefault(id, _Refusal())
        refusal.tries += 1
        self._breaker.failed(id.name, message)
        if refusal.tries >= TRIES and not self._breaker.trouble:
            raise CreateRefusedError(f"{message} ({TRIES} tries)")
        self._holdings.release(id.name)
        self.wake_waiting()
        seconds = exponential(refusal.tries, _RETRY_SECONDS, _RETRY_MAX_SECONDS)
        refusal.message, refusal.again_at = message, self._clock() + seconds
        logger.warning("start refused instance=%s again in %.1f s: %s", id.name, seconds, message)
        return StartResult(refused=message, requeue_after=dt.timedelta(seconds=seconds))

    def _pause_left(self, id: InstanceID) -> StartResult | None:
        """Return what holds until a refused start may be tried again; None: now."""
        refusal = self._refusals.get(id)
        left = refusal.again_at - self._clock() if refusal is not None else 0.0
        if refusal is None or left <= 0:
            return None
        return StartResult(refused=refusal.message, requeue_after=dt.timedelta(seconds=left))

    def _wait(self, id: InstanceID, refusal: str, wake: Callable[[], None]) -> StartResult:
        """Let the key come back when something is given back; say so once it takes a while."""
        wait = self._waiting.setdefault(id, _Wait(wake, self._clock()))
        left = _REPORT_WAIT_AFTER_SECONDS - (self._clock() - wait.since)
        if left > 0:
            return StartResult(requeue_after=dt.timedelta(seconds=left))
        return StartResult(in_use=refusal)
