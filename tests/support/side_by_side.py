"""How tests are shared out among the workers of pytest-xdist.

A file stays in one worker, and so do files that use something costly that is started for them: it
is then started once. The longest come first, so that none of them is what all wait for at the end.
"""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Files that stay together, in the order in which they begin; then each other file by itself.
UNITS = (
    "tests/faults/test_[a-c]*.py",
    "tests/e2e/test_[a-h]*.py",
    "tests/faults/test_[d-z]*.py",
    "tests/e2e/test_[i-z]*.py",
    "tests/operator/*.py",
    "tests/api/tasks/*.py",
    "tests/api/test_*.py",
    "tests/hack/test_demo.py",
    "tests/docs/*.py",
    "tests/bench/*.py",
    "tests/api/hostapi/test_accounts*.py",
)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each worker one unit after the other, in the order of ``begin_order``."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def unit(nodeid: str) -> str:
    """Return what a test stays together with: a pattern, or its file."""
    file = nodeid.partition("::")[0]
    return next((one for one in UNITS if fnmatchcase(file, one)), file)


def begin_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order in which workers shall begin with them."""

    def rank(item: pytest.Item) -> int:
        of = unit(item.nodeid)
        return UNITS.index(of) if of in UNITS else len(UNITS)

    return sorted(items, key=rank)


def make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Return the scheduler of a run."""
    config.option.loadscopereorder = False  # else by the number of tests, which tells little
    return Scheduling(config, log)
