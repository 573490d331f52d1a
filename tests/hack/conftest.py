"""What the tests of the development control plane share."""

from collections.abc import Iterator

import pytest

from devcluster.state import State
from support.run import NewState


@pytest.fixture
def own_state(new_state: NewState) -> Iterator[State]:
    """A state directory of one test's own."""
    with new_state("hack") as state:
        yield state
