"""Users: made by registering, changed and deleted by an administrator."""

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from weir_api.access.accounts import API, SESSION, Account, account_of
from weir_api.access.directory import Directory
from weir_api.access.identity import Role
from weir_api.access.invitations import Invitations
from weir_api.access.logins import canonical
from weir_api.access.passwords import Passwords
from weir_api.access.tokens import Tokens, utc_now
from weir_api.access.turns import Turns
from weir_api.errors import (
    BadRequestError,
    FacadeError,
    StateConflictError,
    UnknownObjectError,
)
from weir_api.peers import neighbourhood
from weir_api.state.writer import Writer
from weir_crds.kinds import USER
from weir_crds.names import ANNOTATION_CREATED_AT, ANNOTATION_INVITATION
from weir_crds.times import now_rfc3339
from weir_crds.user import user_name
from weir_kube.errors import AlreadyExistsError, ApiError, NotFoundError
from weir_kube.store import Key

logger = logging.getLogger(__name__)


class Users:
    """Makes, changes and deletes Users."""

    def __init__(
        self,
        directory: Directory,
        writer: Writer,
        passwords: Passwords,
        tokens: Tokens,
        invitations: Invitations,
        *,
        turns: Turns,
        now: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        """Prepare.

        Args:
            directory: where users are.
            writer: writes them.
            passwords: hashes.
            tokens: ends theirs.
            invitations: who may register.
            turns: at hashing, the same as of logins: who registers keeps nobody from those.
            now: the time.
        """
        self._directory = directory
        self._writer = writer
        self._passwords = passwords
        self._tokens = tokens
        self._invitations = invitations
        self._turns = turns
        self._now = now

    def list(self) -> list[Account]:
        """Return all users, newest first."""
        return sorted(
            self._directory.accounts,
            key=lambda account: (account.created_at, account.name),
            reverse=True,
        )

    def get(self, number: int) -> Account:
        """Return a user by id; raises UnknownObjectError."""
        account = self._directory.account_by_id(number)
        if account is None:
            raise UnknownObjectError("there is no such user")
        return account

    async def register(
        self,
        token: str,
        username: str,
        password: str,
        display_name: str | None,
        peer: str,
    ) -> Account:
        """Make a User for who shows a valid invitation.

        Raises:
            BadRequestError: the invitation is unknown, expired or used up.
            StateConflictError: somebody has that username.
            SlowDownError: too many guesses of the first administrator's secret from that address,
                or its turn did not come in time.
            UnavailableError: too many register at once; no use is lost.
        """
        username = canonical(username)
        name = user_name(username)
        invitation = await self._invitations.find(token, name, peer)
        if self._directory.account(name) is not None:
            raise _taken()
        async with self._turns.turn(neighbourhood(peer)):
            hashed = await self._passwords.hash(password)
        invitation = await self._invitations.claim(invitation, name)
        spec: dict[str, Any] = {
            "displayName": display_name or username,
            "role": (invitation.role or Role.ANONY).value,
            "passwordHash": hashed,
        }
        if name != username:
            spec["username"] = username
        annotations = {
            ANNOTATION_CREATED_AT: now_rfc3339(self._now()),
            ANNOTATION_INVITATION: invitation.name,
        }
        body = {"metadata": {"name": name, "annotations": annotations}, "spec": spec}
        try:
            obj = await self._writer.create(USER, body)
        except AlreadyExistsError:
            await self._release(name, invitation.name)
            raise _taken() from None
        account = account_of(obj)
        assert account is not None, "made by the rules that it is read by"
        logger.info("registered user=%s role=%s", name, account.role)
        try:
            await self._invitations.confirm(invitation, account)
        except (ApiError, FacadeError) as exc:
            # The sweep does it later; until then the name is taken anyway.
            logger.warning("invitation=%s: use not confirmed: %s", invitation.name, exc)
        return account

    async def change(
        self,
        account: Account,
        *,
        by: int,
        display_name: str | None,
        role: str | None,
        active: bool | None,
        password: str | None = None,
    ) -> Account:
        """Change what is not None of a User.

        Disabling one ends their sessions and tokens, and so does a new password.

        Args:
            account: who is changed.
            by: id of who does it.
            display_name: name for people.
            role: what they may do.
            active: whether they may log in.
            password: the one from now on, say for who forgot it.

        Raises:
            BadRequestError: an unknown role, or what an administrator must not do to themselves.
            UnknownObjectError: they are gone.
        """
        spec: dict[str, Any] = {}
        if role is not None:
            if role not in [*Role]:
                raise BadRequestError(f"there is no role {role!r}")
            if by == account.id and role != account.role:
                raise BadRequestError("nobody takes a role from themselves")
            spec["role"] = role
        if active is not None:
            if by == account.id and not active:
                raise BadRequestError("nobody disables themselves")
            spec["active"] = active
        if display_name is not None:
            spec["displayName"] = display_name
        if password is not None:
            if by == account.id:
                raise BadRequestError("one's own password is changed by who knows the current one")
            spec["passwordHash"] = await self._passwords.hash(password)
        if not spec:
            return account
        try:
            obj = await self._writer.patch(USER, account.obj, {"spec": spec})
        except NotFoundError:
            raise UnknownObjectError("there is no such user") from None
        changed = account_of(obj) or account
        logger.info("changed user=%s fields=%s by=%d", account.name, sorted(spec), by)
        if not changed.active or password is not None:
            await self._tokens.tidy_up(changed, (SESSION, API))
        return changed

    async def delete(self, account: Account, *, by: int) -> None:
        """Delete a User; their sessions and tokens are void from then on, everywhere.

        Raises:
            BadRequestError: an administrator deletes themselves.
            UnknownObjectError: they are gone.
        """
        if by == account.id:
            raise BadRequestError("nobody deletes themselves")
        if not await self._writer.delete(USER, account.obj):
            raise UnknownObjectError("there is no such user")
        logger.info("deleted user=%s by=%d", account.name, by)
        await self._tokens.tidy_up(account, (SESSION, API))

    async def _release(self, name: str, invitation: str) -> None:
        """Give a use back whose username was taken by who came by no use of this invitation."""
        obj = await self._writer.fresh(USER, Key("", name))
        other = account_of(obj) if obj is not None else None
        token = self._directory.token(invitation)
        if other is not None and other.invitation != invitation and token is not None:
            await self._invitations.give_back(token, name)


def _taken() -> StateConflictError:
    return StateConflictError("that username is taken")
