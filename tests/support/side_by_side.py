"""How tests are shared out among the workers of pytest-xdist.

A file stays in one worker, and a folder with a control plane of its own does, too: what is costly
to start is then started once. The longest come first, so that no worker has to wait for the last.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Kept together, the longest first.
_FOLDERS = (
    "tests/faults",
    "tests/e2e",
    "tests/operator",
    "tests/api/tasks",
)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each worker one unit after the other, in the order of ``begin_order``."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def unit(nodeid: str) -> str:
    """Return what a test stays together with: its folder, or its file."""
    file = nodeid.partition("::")[0]
    return next((one for one in _FOLDERS if file.startswith(f"{one}/")), file)


def begin_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order in which workers shall begin with them."""

    def rank(item: pytest.Item) -> int:
        of = unit(item.nodeid)
        return _FOLDERS.index(of) if of in _FOLDERS else len(_FOLDERS)

    return sorted(items, key=rank)


def make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Return the scheduler of a run."""
    config.option.loadscopereorder = False  # else by the number of tests, which tells little
    return Scheduling(config, log)
