"""Logging in, and changing the password: whatever asks for one, and slows down who guesses."""

import asyncio
import logging
import unicodedata

from weir_api.access.accounts import SESSION, Account, account_of
from weir_api.access.directory import Directory, Lookups
from weir_api.access.passwords import Passwords
from weir_api.access.throttle import Throttle, peer_key
from weir_api.access.tokens import Tokens
from weir_api.errors import (
    AccessDeniedError,
    StateConflictError,
    UnauthenticatedError,
    UnavailableError,
)
from weir_api.state.writer import Writer
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_crds.user import user_name
from weir_kube.errors import ConflictError, NotFoundError

logger = logging.getLogger(__name__)

# People mistype; behind one address there may be a whole institute.
FREE_TRIES_PER_USER = 5
FREE_TRIES_PER_PEER = 50


class Logins:
    """Checks passwords."""

    def __init__(
        self,
        directory: Directory,
        lookups: Lookups,
        writer: Writer,
        passwords: Passwords,
        tokens: Tokens,
        *,
        by_user: Throttle,
        by_peer: Throttle,
    ) -> None:
        """Prepare.

        Args:
            directory: where users are.
            lookups: for those that it does not have yet.
            writer: writes new passwords.
            passwords: hashes and compares.
            tokens: ends sessions.
            by_user: counts failures by username.
            by_peer: counts failures by address.
        """
        self._directory = directory
        self._lookups = lookups
        self._writer = writer
        self._passwords = passwords
        self._tokens = tokens
        self._by_user = by_user
        self._by_peer = by_peer

    async def log_in(self, username: str, password: str, peer: str | None) -> Account:
        """Return whose username and password these are.

        Raises:
            UnauthenticatedError: nobody's.
            AccessDeniedError: the account is disabled, told only to who knows its password.
            SlowDownError: too many failures.
            UnavailableError: too many log in at once, or the account cannot be looked up.
        """
        name = user_name(canonical(username))
        account = await self._check(name, password, peer)
        if not account.active:
            logger.info("login refused user=%s: disabled", name)
            raise AccessDeniedError("the account is disabled")
        logger.info("login user=%s", name)
        return account

    async def log_out(self, secret: str) -> None:
        """End the session with that secret, if there is one."""
        name = token_name(SESSION, token_hash(secret))
        session = self._directory.token(name)
        if session is None and await self._lookups.find(ACCESSTOKEN, name):
            session = self._directory.token(name)
        if session is not None:
            await self._tokens.end(session)

    async def change_password(
        self, account: Account, old: str, new: str, peer: str | None
    ) -> Account:
        """Change a user's password, which voids all of their sessions; return the user.

        Args:
            account: whose.
            old: the password until now.
            new: the password from now on.
            peer: the caller's address.

        Raises:
            AccessDeniedError: ``old`` is not the password.
            SlowDownError: too many failures.
            StateConflictError: it was changed by somebody else meanwhile.
        """
        try:
            account = await self._check(account.name, old, peer)
        except UnauthenticatedError as exc:
            raise AccessDeniedError("the current password is another one") from exc
        hashed = await self._passwords.hash(new)
        try:
            obj = await self._writer.patch(
                USER, account.obj, {"spec": {"passwordHash": hashed}}, unchanged=True
            )
        except (ConflictError, NotFoundError) as exc:
            raise StateConflictError("the account was changed meanwhile; try again") from exc
        logger.info("password changed user=%s", account.name)
        await self._tokens.tidy_up(account, (SESSION,))
        return account_of(obj) or account

    async def _check(self, name: str, password: str, peer: str | None) -> Account:
        """Return the User of that name, as it was when this was its password; else raise."""
        address = peer_key(peer)
        self._by_peer.begin(address)
        self._by_user.begin(name)
        try:
            account = await self._with_password(name, password)
        except UnavailableError:  # nothing was compared
            self._by_peer.take_back(address)
            self._by_user.take_back(name)
            raise
        if account is None:
            raise UnauthenticatedError("unknown username or wrong password")
        self._by_peer.take_back(address)
        self._by_user.forgive(name)
        return account

    async def _with_password(self, name: str, password: str) -> Account | None:
        """Return the User of that name if that is its password; all else takes as long."""
        account = self._directory.account(name)
        if account is None:
            # At the same time, so that asking for it does not tell that it was not known.
            known, _ = await asyncio.gather(
                self._lookups.find(USER, name), self._passwords.verify(None, password)
            )
            account = self._directory.account(name) if known else None
            right = account is not None and await self._passwords.verify(
                account.password_hash, password
            )
        else:
            right = await self._passwords.verify(account.password_hash, password)
        if right:
            return account
        if account is not None:
            logger.info("login refused user=%s: wrong password", name)
        return None


def canonical(username: str) -> str:
    """Return a username in the one form that is kept, however the keyboard composed it."""
    return unicodedata.normalize("NFC", username)
