"""A node daemon over fakes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.daemon_rig import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """One host with four cores; its daemon is not started yet."""
    async with Rig(tmp_path) as made:
        yield made
