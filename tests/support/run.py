"""One run of the tests, in one process or several side by side: its folder, and what it leaves.

The process that was started by hand (the main one) makes the folder and removes it. Workers find it
by the environment, which all processes of the run inherit: that tells them from any others.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from devcluster import dockerd
from devcluster.state import State, locked, locked_directory
from support.leftovers import RUN_ENV, leftovers, remember

_WORKER_ENV = "PYTEST_XDIST_WORKER"  # gw0, gw1, …; pytest-xdist sets it
# Short, because unix sockets are made below it.
_PREFIX = Path("/tmp/weir-test-")
_GONE_SECONDS = 30.0

NewState = Callable[..., AbstractContextManager[State]]


def begin_run(keep_logs: Callable[[], Path | None]) -> Callable[[], list[str]]:
    """Make the folder of a run, after removing those of runs that were killed.

    Args:
        keep_logs: asked at the end: where the logs of all processes are to be kept, if at all.

    Returns:
        What ends the run: it removes the folder, and returns what else is left on the machine.
    """
    dockerd.sweep(_PREFIX)
    root = Path(tempfile.mkdtemp(prefix=_PREFIX.name, dir=_PREFIX.parent))
    held = ExitStack()
    held.enter_context(locked_directory(root))
    os.environ[RUN_ENV] = str(root)

    def end() -> list[str]:
        with held:
            left = _left(root)
            kept, logs = keep_logs(), _logs(root)
            if kept is not None and logs.exists():
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(logs, kept)
            dockerd.remove_all(root)
            return left

    return end


def _left(root: Path) -> list[str]:
    """Return what is left of a run, after giving it the time to go."""
    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        left = leftovers(root)
        left += [
            f"folder {path}" for path in root.iterdir() if path.is_dir() and path != _logs(root)
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


@contextmanager
def new_state(word: str, tidy_up: Callable[[State], None] = lambda _: None) -> Iterator[State]:
    """Make a state directory, held until the end; nothing of it is left but the logs of the run.

    Args:
        word: tells its folder from others.
        tidy_up: called at the end, before the folder goes.
    """
    root = Path(os.environ[RUN_ENV])
    worker = os.environ.get(_WORKER_ENV, "main")
    state = State(Path(tempfile.mkdtemp(prefix=f"{worker}-{word}-", dir=root)))
    remember(root, state)
    with locked(state):
        try:
            yield state
        finally:
            tidy_up(state)
            _logs(root).mkdir(exist_ok=True)
            shutil.move(state.log, _logs(root) / state.root.name)
            shutil.rmtree(state.root)


def _logs(root: Path) -> Path:
    return root / "logs"
