"""The sweep: deletes tokens that are void for good, and completes what a crash left half done."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from weir_api.access.accounts import INVITATION, Account, Token, account_of, is_holder
from weir_api.access.directory import Directory
from weir_api.access.invitations import Invitations
from weir_api.access.tokens import Tokens
from weir_api.errors import FacadeError
from weir_api.state.writer import Writer
from weir_crds.kinds import USER
from weir_kube.errors import ApiError
from weir_kube.store import Key

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 300.0
# Clocks differ; what has ended is void anyway.
_GRACE_SECONDS = 60.0


class Sweep:
    """Does on any replica, any number of times, what has no effect but tidiness."""

    def __init__(
        self,
        directory: Directory,
        writer: Writer,
        tokens: Tokens,
        invitations: Invitations,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; ``run`` does it."""
        self._directory = directory
        self._writer = writer
        self._tokens = tokens
        self._invitations = invitations
        self._clock = clock

    async def run(self) -> None:
        """Sweep every few minutes until cancelled; replicas do so at different times."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self.once()
            except (ApiError, FacadeError) as exc:
                logger.warning("tokens not swept: %s", exc)

    async def once(self) -> int:
        """Sweep, and return how many tokens were deleted.

        Raises:
            ApiError: the API server did not answer; the rest is left for the next time.
        """
        deleted = 0
        for token in self._directory.tokens:
            if await self._is_void(token):
                deleted += await self._tokens.end(token)
            elif token.type == INVITATION:
                await self._confirm_uses(token)
        if deleted:
            logger.info("swept tokens=%d", deleted)
        return deleted

    async def _is_void(self, token: Token) -> bool:
        if token.expires + _GRACE_SECONDS <= self._clock():
            return True
        if token.user is None:
            return False
        account = self._directory.holder(token)
        if account is not None and account.active:
            return False
        # The cache of Users may be behind that of tokens: ask before anything is deleted.
        obj = await self._writer.fresh(USER, Key("", token.user))
        now = account_of(obj) if obj is not None else None
        return now is None or not is_holder(now, token) or not now.active

    async def _confirm_uses(self, invitation: Token) -> None:
        for use in invitation.used_by:
            account = self._directory.account(use.user) if use.uid is None else None
            if account is not None and _came_by(account, invitation):
                await self._invitations.confirm(invitation, account)


def _came_by(account: Account, invitation: Token) -> bool:
    return account.invitation == invitation.name
