"""Logging in, and changing the password: whatever asks for one, and slows down who guesses."""

import asyncio
import logging
import unicodedata

from weir_api.access.accounts import API, SESSION, Account, account_of
from weir_api.access.directory import Directory, Lookups
from weir_api.access.passwords import Passwords
from weir_api.access.throttle import Throttle
from weir_api.access.tokens import Tokens
from weir_api.access.turns import Turns
from weir_api.errors import (
    AccessDeniedError,
    StateConflictError,
    UnauthenticatedError,
)
from weir_api.peers import neighbourhood
from weir_api.state.writer import Writer
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_crds.user import user_name
from weir_kube.errors import ConflictError, NotFoundError

logger = logging.getLogger(__name__)

FREE_TRIES = 5
"""People mistype."""


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
        turns: Turns,
        throttle: Throttle,
    ) -> None:
        """Prepare.

        Args:
            directory: where users are.
            lookups: for those that it does not have yet.
            writer: writes new passwords.
            passwords: hashes and compares.
            tokens: ends sessions.
            turns: at hashing, which costs time; taken by who is known at an address, and by the
                others there together.
            throttle: counts failures by username and address together: who guesses from elsewhere
                locks nobody out, nor does who makes names up lock out their neighbours.
        """
        self._directory = directory
        self._lookups = lookups
        self._writer = writer
        self._passwords = passwords
        self._tokens = tokens
        self._throttle = throttle
        self._turns = turns

    async def log_in(self, username: str, password: str, peer: str) -> Account:
        """Return whose username and password these are.

        Raises:
            UnauthenticatedError: nobody's.
            AccessDeniedError: the account is disabled, told only to who knows its password.
            SlowDownError: too many failures with that username from that address, or its turn did
                not come in time.
            UnavailableError: too many log in at once, or the account cannot be looked up.
        """
        name = user_name(canonical(username))
        key = ("login", name, neighbourhood(peer))
        account = await self._check(name, password, self._source_of(name, peer), key)
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
        self, account: Account, old: str, new: str, *, token_name: str
    ) -> Account:
        """Change a user's password, which voids all of their sessions and tokens; return the user.

        Args:
            account: whose.
            old: the password until now.
            new: the password from now on.
            token_name: of the caller's credential. Failures and turns count by it: who has logged
                in is not kept from this by who has not, wherever they are.

        Raises:
            AccessDeniedError: ``old`` is not the password.
            SlowDownError: too many failures.
            StateConflictError: it was changed by somebody else meanwhile.
        """
        try:
            account = await self._check(account.name, old, token_name, ("password", token_name))
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
        await self._tokens.tidy_up(account, (SESSION, API))
        return account_of(obj) or account

    def _source_of(self, name: str, peer: str) -> str:
        """Return whose turns a login takes: those of its address, which its neighbours wait for,
        too; or, of who has logged in from there before, their own.

        So a flood of other names from one address keeps nobody out who is known there. It tells no
        stranger which names there are, only neighbours who was there before them.
        """
        account, here = self._directory.account(name), neighbourhood(peer)
        if account is not None and self._tokens.has_session_from(account, peer):
            return f"{here} {name}"
        return here

    async def _check(
        self, name: str, password: str, source: str, throttle_key: tuple[str, ...]
    ) -> Account:
        """Return the User of that name, as it was when this was its password; else raise."""
        async with self._turns.turn(source) as turn:
            with self._throttle.attempt(*throttle_key) as attempt:
                account = await self._with_password(name, password)
                attempt.succeeded = account is not None
            turn.in_vain = account is None
        if account is None:
            raise UnauthenticatedError("unknown username or wrong password")
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
