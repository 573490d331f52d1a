"""Pulls of images in the background: one per image and login, shared by all who wait for it."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from weir_crds.errors import WeirError
from weir_kube.store import Key
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import BY_HOST_LOGIN, ImagePullError, Images, PullAccess
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.instances.identity import InstanceID

logger = logging.getLogger(__name__)

# Pauses between the attempts, in seconds; after the last attempt the failure is final.
RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0)
_ENGINE_AWAY_PAUSE = 5.0
_HOSTS_FAULT_PAUSE = 30.0
_AT_ONCE = 4


_Wanted = tuple[str, PullAccess]


@dataclass(frozen=True, slots=True)
class PullState:
    """How far the pull that somebody waits for is."""

    ready: bool = False
    failure: str | None = None  # final
    trouble: str | None = None  # of the last attempt; another one follows
    reason: str = ImagePullError.reason  # of the trouble
    waited_seconds: float = 0.0


@dataclass(slots=True)
class _Pull:
    """One pull under way."""

    waiters: dict[InstanceID, Key] = field(default_factory=dict)
    began: float = 0.0
    trouble: str | None = None
    reason: str = ImagePullError.reason
    task: asyncio.Task[None] | None = None


class Pulls:
    """Starts, shares, retries and cancels pulls; wakes those who wait when something changed."""

    def __init__(
        self,
        engine: Images,
        wake: Callable[[Key], None],
        *,
        pauses: tuple[float, ...] = RETRY_PAUSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pull with ``engine``.

        Args:
            engine: whose images.
            wake: called for each key that waits when something has changed.
            pauses: those between the attempts, in seconds.
            clock: seconds that only go forward.
        """
        self.breaker = Breaker(clock=clock)
        """Knows of failures that are the host's; they never end a pull."""
        self._engine = engine
        self._wake = wake
        self._pauses = pauses
        self._clock = clock
        self._pulls: dict[_Wanted, _Pull] = {}
        self._results: dict[InstanceID, PullState] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def state(self, run: InstanceID) -> PullState | None:
        """Return how the pull that this run waits for stands; None: it waits for none."""
        result = self._results.get(run)
        if result is not None:
            return result
        for pull in self._pulls.values():
            if run in pull.waiters:
                waited = self._clock() - pull.began
                return PullState(trouble=pull.trouble, reason=pull.reason, waited_seconds=waited)
        return None

    def want(
        self, image: str, run: InstanceID, key: Key, access: PullAccess = BY_HOST_LOGIN
    ) -> PullState:
        """Return how the pull for this run stands, starting it if need be. Never blocks."""
        known = self.state(run)
        if known is not None:
            return known
        wanted = (image, access)
        pull = self._pulls.get(wanted)
        if pull is None:
            pull = _Pull(began=self._clock())
            self._pulls[wanted] = pull
            pull.task = asyncio.create_task(self._run(wanted, pull), name=f"pull {image}")
        pull.waiters[run] = key
        return self.state(run) or PullState()

    def leave(self, run: InstanceID) -> None:
        """Take note that a run waits no more; a pull for which nobody waits is cancelled."""
        self._results.pop(run, None)
        for wanted, pull in list(self._pulls.items()):
            if pull.waiters.pop(run, None) is not None and not pull.waiters:
                del self._pulls[wanted]
                if pull.task is not None:
                    pull.task.cancel()

    async def probe(self) -> None:
        """Tell whether pulls may succeed: while some are tried again they tell it themselves.

        Raises:
            ImagePullError: they fail.
        """
        for pull in self._pulls.values():
            if pull.trouble is not None:
                raise ImagePullError(pull.trouble, permanent=False)

    async def close(self) -> None:
        """Cancel all pulls and wait until they have ended."""
        tasks = [pull.task for pull in self._pulls.values() if pull.task is not None]
        self._pulls.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, wanted: _Wanted, pull: _Pull) -> None:
        result = await self._attempts(*wanted, pull)
        if self._pulls.get(wanted) is pull:
            del self._pulls[wanted]
        for run, key in pull.waiters.items():
            self._results[run] = result
            self._wake(key)

    async def _attempts(self, image: str, access: PullAccess, pull: _Pull) -> PullState:
        pauses = list(self._pauses)
        while True:
            reason = ImagePullError.reason
            try:
                async with self._slots:
                    began = self._clock()
                    await self._engine.pull(image, access)
                self.breaker.succeeded()
                metrics.PULL_SECONDS.observe(self._clock() - began)
                metrics.PULLS.labels("pulled").inc()
                logger.info("pulled image=%s", image)
                return PullState(ready=True)
            except ImagePullError as exc:
                metrics.PULLS.labels("failed").inc()
                message, reason = str(exc), exc.reason
                if exc.hosts_fault:
                    self.breaker.failed(f"image {image}", message)
                    pause = _HOSTS_FAULT_PAUSE
                elif exc.permanent or not pauses:
                    logger.warning("pull failed for good image=%s: %s", image, message)
                    return PullState(failure=message)
                else:
                    pause = pauses.pop(0)
            except WeirError as exc:
                message, pause = str(exc), _ENGINE_AWAY_PAUSE
            except Exception as exc:
                logger.exception("pull failed unexpectedly image=%s", image)
                message = f"{type(exc).__name__}: {exc}"
                if not pauses:
                    return PullState(failure=message)
                pause = pauses.pop(0)
            logger.warning("pull failed, another try follows image=%s: %s", image, message)
            if pull.trouble != message:
                pull.trouble, pull.reason = message, reason
                for key in pull.waiters.values():
                    self._wake(key)
            await asyncio.sleep(pause)
