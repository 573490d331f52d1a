"""What ends the facade, and how fast: the first signal lets requests end, a second one does not."""

import asyncio
import os
import signal

import pytest

from weir_api import main, settings
from weir_api.settings import Settings


async def test_a_second_signal_does_not_wait_for_requests_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serving = asyncio.Event()

    async def serve(_: Settings, stopping: asyncio.Event) -> None:
        serving.set()
        await stopping.wait()
        stopped.set()
        await asyncio.sleep(3600)  # as long as the longest request

    stopped = asyncio.Event()
    monkeypatch.setattr(main, "serve", serve)
    ends = asyncio.create_task(main.run(settings.parse([], {})))
    await asyncio.wait_for(serving.wait(), 60)

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(stopped.wait(), 60)
    assert not ends.done()
    os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(ends, 60)
