"""The process: health server first, then the Lease, then all else."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from weir_crds.errors import WeirError
from weir_crds.names import LEASE_OPERATOR
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.http import HealthServer
from weir_kube.lease import LeaseElector
from weir_kube.logging import setup_logging
from weir_operator import metrics
from weir_operator.controller import Controller
from weir_operator.kopf_source import KopfSource
from weir_operator.settings import Settings, parse
from weir_operator.wiring import Operator

logger = logging.getLogger(__name__)

_CLEANUP_SECONDS = 5.0


class Process:
    """One run of the operator, from the first byte of ``/healthz`` to its exit status."""

    def __init__(self, settings: Settings) -> None:
        """Prepare."""
        self._settings = settings
        self._stop = asyncio.Event()
        self._stage = "starting"
        self._elector: LeaseElector | None = None
        self._controller: Controller | None = None

    async def run(self) -> int:
        """Serve until a signal (0), or until something ends that should not (1)."""
        self._take_signals()
        checks = {"leader or standby": self._check_ready}
        async with (
            HealthServer(self._settings.listen, checks) as health,
            await connect(self._settings.kubeconfig, user_agent="weir-operator") as api,
        ):
            logger.info("health and metrics on port=%d", health.port)
            stop = asyncio.create_task(self._stop.wait(), name="stop signal")
            await self._lead(api, stop)
        return 0 if stop.done() else 1

    def _check_ready(self) -> bool | str:
        if self._stage == "standby":
            return True
        if self._controller is None or not self._controller.has_synced:
            return self._stage
        if self._elector is None or not self._elector.is_held:
            return "the Lease is not held"
        return True

    async def _lead(self, api: Api, stop: asyncio.Task[bool]) -> None:
        """Wait for the Lease, then work until anything ends.

        At the end the deciding stops first, then the Lease goes, and kopf, which is slow to stop,
        last: whoever waits for the Lease need not wait for kopf.
        """
        elector = self._elector = LeaseElector(
            api, self._settings.system_namespace, LEASE_OPERATOR, self._settings.identity
        )
        metrics.LEADER.set_function(lambda: elector.is_held)
        self._stage = "standby"
        if not await _first(stop, elector.acquire()):
            return
        self._stage = "filling the caches"
        leading = api.writing_while(lambda: elector.is_held)
        source = KopfSource(leading, on_started=self._take_signals)
        controller = self._controller = Operator(leading, self._settings, source).controller
        deciding = asyncio.create_task(_decide(elector, controller), name="deciding")
        watching = asyncio.create_task(source.run(), name="watching")
        try:
            await asyncio.wait({stop, deciding, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stage = "stopping"
            await _end(deciding)
            await elector.release()
            await _end(watching)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


async def _decide(elector: LeaseElector, controller: Controller) -> None:
    """Decide and act for as long as the Lease is held."""
    async with asyncio.TaskGroup() as group:
        group.create_task(elector.hold(), name="lease")
        await controller.synced()
        group.create_task(controller.run(), name="controller")


async def _first(stop: asyncio.Task[bool], work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless ``stop`` comes first; tell whether it was done."""
    task = asyncio.create_task(work)
    await asyncio.wait({stop, task}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        await _end(task)
        return False
    await task
    return True


async def _end(task: asyncio.Task[Any]) -> None:
    """End a task that may have ended by itself, and log why it did."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=_CLEANUP_SECONDS)
    if not done:
        logger.warning("%s did not stop within %.0f s", task.get_name(), _CLEANUP_SECONDS)
    elif not task.cancelled() and (exc := task.exception()) is not None:
        _log_end(task.get_name(), exc)


def _log_end(what: str, exc: BaseException) -> None:
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            _log_end(what, inner)
    elif isinstance(exc, WeirError):
        logger.error("%s ended: %s: %s", what, exc.reason, exc)
    else:
        logger.error("%s failed", what, exc_info=exc)


def tune_garbage_collection() -> None:
    """Collect what is new often, which takes milliseconds, and what is old almost never.

    Every object read is a tree of dicts and no cycle, so a collection frees next to nothing. By
    default it costs a fifth of the processor time, and one of everything half a second. What counts
    as new is what was made less what was freed, of whatever age: where as much ends as begins that
    stays small while much new gathers, so that a larger number would make for a long pause.
    """
    gc.set_threshold(200, 10_000, 10)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the operator; returns the process's exit status."""
    settings = parse(sys.argv[1:] if argv is None else argv)
    tune_garbage_collection()
    setup_logging(settings.log_level, settings.log_json)
    # kopf logs each retry and re-login by itself; its debug log has a line per event.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        return asyncio.run(Process(settings).run())
    except WeirError as exc:
        logger.error("%s", exc)  # noqa: TRY400 (it says what to do; the traceback does not)
        return 1
