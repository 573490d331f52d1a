"""The process: health server first, then the Lease, then kopf. The only door to kopf."""

import asyncio
import gc
import itertools
import logging
import random
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import kopf

from weir_crds.errors import WeirError
from weir_crds.kinds import HOST, TASK, Kind
from weir_crds.names import LEASE_OPERATOR
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.http import HealthServer
from weir_kube.lease import LeaseElector
from weir_kube.logging import setup_logging
from weir_operator import metrics
from weir_operator.controller import Controller
from weir_operator.settings import Settings, parse

logger = logging.getLogger(__name__)

_CLEANUP_SECONDS = 5.0


class EndlessBackoffs:
    """Delays between kopf's tries, without end; a finite list would end the process."""

    def __iter__(self) -> Iterator[float]:
        """Begin anew for each request: quickly at first, then about every two seconds."""
        for attempt in itertools.count():
            yield min(2.0, 0.1 * 2 ** min(attempt, 6)) * random.uniform(0.5, 1.0)  # noqa: S311


class NothingStored(kopf.DiffBaseStorage):
    """Keeps kopf from computing and comparing what it would store on our objects."""

    def build(self, **_: Any) -> Any:
        """Return nothing."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Return nothing."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


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
        if self._controller is None or not self._controller.primed.is_set():
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
        self._stage = "standby"
        if not await _first(stop, elector.acquire()):
            return
        metrics.LEADER.set(1)
        self._stage = "filling the caches"
        controller = self._controller = Controller(api, self._settings)
        deciding = asyncio.create_task(_decide(elector, controller), name="deciding")
        watching = asyncio.create_task(self._watch(api, controller), name="watching")
        try:
            await asyncio.wait({stop, deciding, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stage = "stopping"
            metrics.LEADER.set(0)
            await _end(deciding)
            await elector.release()
            await _end(watching)

    async def _watch(self, api: Api, controller: Controller) -> None:
        """Run kopf once the caches are full."""
        await controller.primed.wait()
        self._stage = "leading"
        await self._run_kopf(api, controller)

    async def _run_kopf(self, api: Api, controller: Controller) -> None:
        """Run kopf; it should never return, so whatever makes it do so is an error."""
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=_registry(api, controller),
            settings=kopf_settings(),
            standalone=True,
            clusterwide=True,
        )
        self._take_signals()  # kopf has just taken them for itself
        await kopf.run_tasks(tasks, ignored=ours)
        raise KopfEndedError("kopf returned")

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


class KopfEndedError(WeirError):
    """kopf came to an end, which it does with no word on some errors."""

    reason = "KopfEnded"


def kopf_settings() -> kopf.OperatorSettings:
    """Return how kopf is to behave: watch, hand over, write nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.persistence.diffbase_storage = NothingStored()
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = 30.0
    return settings


def _registry(api: Api, controller: Controller) -> kopf.OperatorRegistry:
    """Return kopf's handlers: an event only says which object to look at, never what to do.

    The parts they feed were made before kopf was started, because kopf cancels every task that
    was begun after itself.
    """
    registry = kopf.OperatorRegistry()
    logins = itertools.count()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        # The session looks its token up for each request. kopf never takes back credentials
        # that failed once, so that each login has to differ.
        attempt = next(logins)
        await asyncio.sleep(min(2.0, 0.2 * attempt))
        return kopf.AiohttpSession(
            server=api.server, aiohttp_session=api.session(), priority=attempt
        )

    def follow(kind: Kind) -> None:
        @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)
        async def changed(event: kopf.RawEvent, **_: Any) -> None:
            controller.took_event(kind, event["type"], dict(event["object"]))

    follow(TASK)
    follow(HOST)
    return registry


async def _decide(elector: LeaseElector, controller: Controller) -> None:
    """Decide and act for as long as the Lease is held."""
    async with asyncio.TaskGroup() as group:
        group.create_task(elector.hold(), name="lease")
        await controller.prime()
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


async def _end(task: asyncio.Task[None]) -> None:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the operator; returns the process's exit status."""
    settings = parse(sys.argv[1:] if argv is None else argv)
    # Every object read is a tree of dicts and no cycle: collecting as often as by default costs a
    # fifth of the processor time and frees nothing.
    gc.set_threshold(20_000, 20, 100)
    setup_logging(settings.log_level, settings.log_json)
    # kopf logs each retry and re-login by itself; its debug log has a line per event.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        return asyncio.run(Process(settings).run())
    except WeirError as exc:
        logger.error("%s", exc)  # noqa: TRY400 (it says what to do; the traceback does not)
        return 1
