"""What the tests of the development control plane share."""

from collections.abc import Iterator

import pytest

from devcluster.state import State
from support.run import new_state


@pytest.fixture
def own_state() -> Iterator[State]:
    """A state directory of one test's own."""
    with new_state("hack") as state:
        yield state
