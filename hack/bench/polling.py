"""Wait for the world with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable

import docker

from weir_crds.names import LABEL_HOST

DEADLINE_SECONDS = 900.0


async def until(reached: Callable[[], Awaitable[bool]], every_seconds: float) -> None:
    """Look again and again until it is so.

    Raises:
        TimeoutError: it was not within ``DEADLINE_SECONDS``.
    """
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await reached():  # noqa: ASYNC110 (other processes set no Event of ours)
            await asyncio.sleep(every_seconds)


async def until_no_container(client: docker.APIClient, host: str) -> None:
    """Wait until a daemon has removed all that it ran."""
    filters = {"label": f"{LABEL_HOST}={host}"}

    async def none_left() -> bool:
        return not await asyncio.to_thread(client.containers, all=True, filters=filters)

    await until(none_left, 0.05)
