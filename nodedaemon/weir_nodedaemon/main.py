"""The node daemon's process: its command line, its state directory, a clean end."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from weir_crds.errors import WeirError
from weir_kube.logging import setup_logging
from weir_kube.process import causes
from weir_nodedaemon import settings
from weir_nodedaemon.settings import Settings
from weir_nodedaemon.wiring import serve

logger = logging.getLogger(__name__)


class StateDirError(WeirError):
    """The state directory cannot be used, or another daemon uses it."""

    reason = "StateDirInUse"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit status."""
    chosen = settings.parse(sys.argv[1:] if argv is None else argv)
    setup_logging(chosen.log_level, chosen.log_json)
    status = 0
    try:
        with locked(chosen.state_dir):
            asyncio.run(run(chosen))
    except* (WeirError, OSError) as group:  # an address in use, say
        status = 1
        for exc in causes(group):
            logger.error("stopped: %s", exc)  # noqa: TRY400
    return status


async def run(chosen: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    working = asyncio.create_task(serve(chosen))
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        working.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        if not stopped:
            raise
        logger.info("stopped; containers keep running")


@contextlib.contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the state directory, making it if need be: two daemons must not share one.

    Raises:
        StateDirError: another daemon holds it, or it cannot be made.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StateDirError(f"cannot use {state_dir}: {exc}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise StateDirError(f"another node daemon uses {state_dir}") from exc
    finally:
        os.close(lock)
