"""The facade's process: settings, wiring, a clean end."""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Sequence

from prometheus_client import Gauge

from weir_api import settings
from weir_api.access.passwords import hash_password_command
from weir_api.composition import Work, compose
from weir_api.listeners import run_listeners
from weir_api.settings import InvalidSettingsError, Settings
from weir_api.state.caches import Caches
from weir_crds.errors import WeirError
from weir_kube.connect import connect
from weir_kube.http import HealthServer
from weir_kube.logging import setup_logging
from weir_kube.process import causes, version

logger = logging.getLogger(__name__)

# Requests under way may go on for so long; what is left then is cancelled.
_DRAIN_SECONDS = 20.0
_AGE_SECONDS = 1.0
_STALE_SECONDS = Gauge(
    "weir_http_stale_seconds", "For how long the caches have not followed the API server."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the facade until SIGTERM or SIGINT; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["hash-password"]:
        return hash_password_command()
    try:
        chosen = settings.parse(words)
    except InvalidSettingsError as exc:
        sys.stderr.write(f"weir_api: {exc}\n")
        return 2
    setup_logging(chosen.log_level, chosen.log_json)
    status = 0
    try:
        asyncio.run(run(chosen))
    except* (WeirError, OSError) as group:  # an address in use, say
        status = 1
        for cause in causes(group):
            logger.error("stopped: %s", cause)  # noqa: TRY400
    return status


async def run(chosen: Settings) -> None:
    """Run until SIGTERM or SIGINT; a second one does not wait for requests under way."""
    stopping = asyncio.Event()
    working = asyncio.create_task(serve(chosen, stopping))
    loop = asyncio.get_running_loop()
    at_once = False

    def stop() -> None:
        nonlocal at_once
        if stopping.is_set():
            at_once = True
            working.cancel()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        if not at_once:
            raise
    logger.info("stopped")


async def serve(chosen: Settings, stopping: asyncio.Event) -> None:
    """Fill the caches, then serve, until ``stopping`` is set; then let requests end."""
    async with contextlib.AsyncExitStack() as stack:
        api = await connect(chosen.kubeconfig, user_agent=f"weir-api/{version()}")
        await stack.enter_async_context(api)
        caches = Caches(api)
        ready = functools.partial(_ready, caches, chosen.max_stale_seconds, stopping)
        parts = compose(chosen, api, caches, stack, ready)
        health = HealthServer(chosen.metrics_listen, {"caches": ready})
        await stack.enter_async_context(health)
        async with asyncio.TaskGroup() as group:
            own: tuple[Work, ...] = (caches.run, functools.partial(_watch_age, caches))
            background = [group.create_task(work()) for work in (*own, *parts.background)]
            # Before, an empty cache would tell that there is nothing.
            await _first_of(caches.synced(), stopping.wait())
            if not stopping.is_set():
                # What is in the caches now stays there: no need to look through it for garbage.
                gc.collect()
                gc.freeze()
                await run_listeners(parts.listeners, stopping, _DRAIN_SECONDS)
            for task in background:
                task.cancel()


def _ready(caches: Caches, max_stale_seconds: float, stopping: asyncio.Event) -> bool | str:
    if stopping.is_set():
        return "the end is near"
    if caches.has_synced and caches.cut_off_seconds > max_stale_seconds:
        return f"cut off from the API server for {caches.cut_off_seconds:.0f} s"
    return caches.has_synced or "not all resources have been listed yet"


async def _watch_age(caches: Caches) -> None:
    """Ask for the caches' age, so that it is known from when on they were left behind."""
    while True:
        _STALE_SECONDS.set(caches.stale_seconds)
        await asyncio.sleep(_AGE_SECONDS)


async def _first_of(*awaitables: Awaitable[object]) -> None:
    """Wait until one of them is done, and drop the others."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
