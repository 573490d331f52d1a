"""What the tests of the development control plane share."""

import tempfile
from pathlib import Path

import pytest

from devcluster.state import State


@pytest.fixture
def own_state(state: State) -> State:
    """A state directory of one test's own."""
    own = State(Path(tempfile.mkdtemp(dir=state.root)))
    own.create()
    return own
