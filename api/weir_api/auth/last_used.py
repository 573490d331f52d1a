"""When tokens were last used: written now and then, in the background."""

import asyncio
import datetime as dt
import logging

from weir_api.auth.accounts import Token
from weir_api.auth.directory import Directory
from weir_api.state.writer import Writer
from weir_crds.kinds import ACCESSTOKEN
from weir_crds.times import now_rfc3339
from weir_kube.errors import ApiError

logger = logging.getLogger(__name__)

EVERY_SECONDS = 300.0
_MAX_WAITING = 1000
_PAUSE_SECONDS = 0.05


class LastUsed:
    """Notes uses at no cost to the request, and writes one per token every five minutes."""

    def __init__(self, directory: Directory, writer: Writer) -> None:
        """Write with ``writer``; ``run`` does it."""
        self._directory = directory
        self._writer = writer
        self._waiting: dict[str, float] = {}
        self._wake = asyncio.Event()

    def note(self, token: Token, now: float) -> None:
        """Take a use at ``now``, in seconds since the epoch."""
        if now - token.last_used < EVERY_SECONDS or token.name in self._waiting:
            return
        if len(self._waiting) < _MAX_WAITING:  # else a later use will do
            self._waiting[token.name] = now
            self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for name in [*self._waiting]:
                await self._write(name, self._waiting[name])
                del self._waiting[name]
                await asyncio.sleep(_PAUSE_SECONDS)  # the first minute after a start is busy

    async def _write(self, name: str, used: float) -> None:
        token = self._directory.token(name)
        if token is None or used - token.last_used < EVERY_SECONDS:
            return  # gone, or another replica was faster
        at = now_rfc3339(dt.datetime.fromtimestamp(used, dt.UTC))
        try:
            await self._writer.patch_status(ACCESSTOKEN, token.obj, {"lastUsedAt": at})
        except ApiError as exc:
            logger.debug("token=%s: last use not written: %s", name, exc)
