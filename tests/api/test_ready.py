"""When a replica says that it is ready: it knows all, is not cut off, and does not end."""

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from weir_api import main
from weir_api.state.caches import Caches


@dataclass
class Known:
    has_synced: bool = True
    cut_off_seconds: float = 0.0


@pytest.mark.parametrize(
    ("known", "ends", "words"),
    [
        (Known(), False, None),
        (Known(cut_off_seconds=60), False, None),
        (Known(cut_off_seconds=61), False, "cut off from the API server for 61 s"),
        (Known(has_synced=False), False, "not all resources have been listed yet"),
        (Known(has_synced=False, cut_off_seconds=61), False, "not all resources"),
        (Known(), True, "the end is near"),
    ],
)
def test_readiness(known: Known, ends: bool, words: str | None) -> None:
    stopping = asyncio.Event()
    if ends:
        stopping.set()
    result = main._ready(cast(Caches, known), 60, stopping)
    assert result is True if words is None else words in str(result)
