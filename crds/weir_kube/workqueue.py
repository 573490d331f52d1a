"""A queue of keys to reconcile: each once, never twice at a time, again after a failure."""

import asyncio
import datetime as dt
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from weir_crds.errors import WeirError
from weir_kube.backoff import exponential
from weir_kube.metrics import QUEUE_DEPTH, QUEUE_RETRIES, QUEUE_WAIT, QUEUE_WORK

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
Worker = Callable[[K], Awaitable[float | dt.timedelta | None]]

# Work that waits for nothing never lets go of the event loop by itself: after a start with many
# thousand keys, leases and probes would have to wait for the last of them.
_LOOP_SHARE_SECONDS = 0.01


class WorkQueue(Generic[K]):
    """Keys that wait for a worker, with the semantics of client-go's workqueue.

    A key that is added while it waits is there once; one that is added while a worker has it runs
    again afterwards; no key runs twice at a time. All methods belong to one event loop.

    Keys that failed have half of the workers at most: what fails slowly keeps no other key.
    """

    def __init__(self, name: str, base_backoff: float = 0.2, max_backoff: float = 30.0) -> None:
        """Make an empty queue.

        Args:
            name: its label in the metrics.
            base_backoff: seconds to wait after a key's first failure; doubled by each further one.
            max_backoff: seconds to wait at most.
        """
        self.name = name
        self._base_backoff = base_backoff
        self._max_backoff = max_backoff
        self._ready: deque[K] = deque()
        self._tokens = asyncio.Semaphore(0)  # one for each ready key; at shutdown, one per worker
        self._dirty: dict[K, float] = {}  # to be processed, and since when
        self._processing: set[K] = set()
        self._retries = 0  # how many of those have failed before
        self._parked: deque[K] = deque()  # have failed before, and wait for one of those to end
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._shutting_down = False
        self._workers = 0
        self._turn_began: float | None = None  # when we got the event loop's present turn
        QUEUE_DEPTH.labels(name).set_function(self.__len__)
        self._wait = QUEUE_WAIT.labels(name)
        self._work = QUEUE_WORK.labels(name)

    def __len__(self) -> int:
        """Return how many keys wait for a worker; delayed ones do not count."""
        return len(self._ready) + len(self._parked)

    def add(self, key: K) -> None:
        """Have a key processed as soon as a worker is free."""
        if self._shutting_down or key in self._dirty:
            return
        self._dirty[key] = time.monotonic()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key processed in so many seconds, or earlier when it was to be already."""
        if self._shutting_down:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def failures(self, key: K) -> int:
        """Return how often in a row a key has failed."""
        return self._failures.get(key, 0)

    def shutdown(self) -> None:
        """Take nothing more; ``run`` returns when the keys that wait have been processed."""
        if self._shutting_down:
            return
        self._shutting_down = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for _ in range(self._workers):
            self._tokens.release()

    async def run(self, worker: Worker[K], workers: int = 1) -> None:
        """Process keys until ``shutdown``, so many at a time.

        ``worker`` returns when to look at the key again (seconds, timedelta or None). When it
        raises, the key comes again: after a WeirError's ``retry_after_seconds``, else after an
        exponential back-off.

        Raises:
            WeirError: a worker raised one that is ``fatal`` (in a group).
        """
        self._workers += workers
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(workers):
                    group.create_task(self._run_worker(worker), name=f"{self.name}-{number}")
        finally:
            self._workers -= workers

    async def _run_worker(self, worker: Worker[K]) -> None:
        while not (self._shutting_down and not self._ready):
            await self._tokens.acquire()
            if not self._ready:
                continue  # a token of shutdown
            key = self._ready.popleft()
            is_retry = self.failures(key) > 0
            if is_retry and self._retries >= max(1, self._workers // 2):
                self._parked.append(key)
                continue
            self._retries += is_retry
            started = time.monotonic()
            self._wait.observe(started - self._dirty.pop(key))
            self._processing.add(key)
            try:
                await self._process(worker, key)
            finally:
                self._work.observe(time.monotonic() - started)
                self._processing.discard(key)
                self._retries -= is_retry
                if is_retry and self._parked:
                    self._push(self._parked.popleft())
                if key in self._dirty:
                    self._push(key)
            if self._has_had_its_share():
                await asyncio.sleep(0)

    def _has_had_its_share(self) -> bool:
        """Tell whether our workers together have kept the event loop for long enough."""
        now = time.monotonic()
        if self._turn_began is None:
            self._turn_began = now
            asyncio.get_running_loop().call_soon(self._begin_turn)
        return now - self._turn_began >= _LOOP_SHARE_SECONDS

    def _begin_turn(self) -> None:
        self._turn_began = None

    async def _process(self, worker: Worker[K], key: K) -> None:
        try:
            again = await worker(key)
        except WeirError as exc:
            if exc.fatal:
                raise
            self._failures[key] = self.failures(key) + 1
            delay = exc.retry_after_seconds
            if delay is None:
                delay = self._backoff(key)
            QUEUE_RETRIES.labels(self.name, exc.reason).inc()
            logger.warning(
                "queue=%s key=%s: %s: %s; again in %.1f s", self.name, key, exc.reason, exc, delay
            )
            self.add_after(key, delay)
        except Exception:
            self._failures[key] = self.failures(key) + 1
            delay = self._backoff(key)
            QUEUE_RETRIES.labels(self.name, WeirError.reason).inc()
            logger.exception("queue=%s key=%s failed; again in %.1f s", self.name, key, delay)
            self.add_after(key, delay)
        else:
            self._failures.pop(key, None)
            if again is not None:
                seconds = again.total_seconds() if isinstance(again, dt.timedelta) else again
                self.add_after(key, seconds)

    def _backoff(self, key: K) -> float:
        return exponential(self.failures(key), self._base_backoff, self._max_backoff)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._tokens.release()
