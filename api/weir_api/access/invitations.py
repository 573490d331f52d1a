"""Invitations: made, listed, taken back, and used no oftener than they say."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from weir_api.access.accounts import INVITATION, Account, Token, Use, token_of, user_ref
from weir_api.access.bootstrap import Bootstrap
from weir_api.access.directory import Directory, Lookups
from weir_api.access.identity import Role
from weir_api.access.tokens import Tokens, new_secret, utc_now
from weir_api.errors import (
    AccessDeniedError,
    BadRequestError,
    StateConflictError,
    UnknownObjectError,
)
from weir_api.state.writer import Writer
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN
from weir_crds.times import now_rfc3339
from weir_kube.errors import AlreadyExistsError, NotFoundError
from weir_kube.store import Key, Object

# A whole course registers at once.
_TRIES = 30


class Invitations:
    """Keeps invitations.

    A use is written into the invitation before the User is made: of all who register at once with
    the last use, the API server lets one write. Who claimed a use and then lost the connection
    claims nothing new with the same username.
    """

    def __init__(
        self,
        directory: Directory,
        lookups: Lookups,
        writer: Writer,
        tokens: Tokens,
        bootstrap: Bootstrap,
        *,
        now: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        """Keep them as AccessTokens."""
        self._directory = directory
        self._lookups = lookups
        self._writer = writer
        self._tokens = tokens
        self._bootstrap = bootstrap
        self._now = now

    def list(self) -> list[Token]:
        """Return all invitations, newest first."""
        return self._directory.tokens_of_type(INVITATION)

    def is_valid(self, invitation: Token) -> bool:
        """Tell whether somebody may still register with it."""
        return not self._is_over(invitation) and len(invitation.used_by) < invitation.max_uses

    async def make(
        self, creator: Account | None, role: Role, max_uses: int, hours: float
    ) -> tuple[Token, str]:
        """Make an invitation; return it and its secret."""
        secret = new_secret()
        return await self._make(secret, creator, role, max_uses, hours), secret

    async def make_first(self, role: Role, max_uses: int, hours: float) -> tuple[Token, str]:
        """Make, by the admin secret, the one invitation to that role; asked again, return it.

        Raises:
            BadRequestError: more than one first administrator.
            AccessDeniedError: it was used already.
        """
        if role is Role.ADMIN and max_uses != 1:
            raise BadRequestError("the admin secret makes one administrator: max_usage must be 1")
        secret = self._bootstrap.invitation_secret(role)
        try:
            return await self._make(secret, None, role, max_uses, hours), secret
        except AlreadyExistsError:
            name = token_name(INVITATION, token_hash(secret))
            found = await self._fresh(name)
            if found is None or not self.is_valid(found):
                raise AccessDeniedError("that invitation was made and is used up") from None
            return found, secret

    async def take_back(self, number: int) -> None:
        """Delete an invitation by its id; raises UnknownObjectError."""
        found = next((one for one in self.list() if one.id == number), None)
        if found is None or not await self._tokens.end(found):
            raise UnknownObjectError("there is no such invitation")

    async def find(self, token: str, user: str, peer: str) -> Token:
        """Return the invitation that a token stands for, if that User may register with it.

        Raises:
            BadRequestError: there is none, or it has ended, or it is used up.
            StateConflictError: a User of that name registered with it before.
            SlowDownError: too many wrong guesses of the first administrator's secret from there.
        """
        first = self._bootstrap.registration_secret(token, peer)
        if first is not None:
            await self._ensure_first(first)
        name = token_name(INVITATION, token_hash(first if first is not None else token))
        found = self._directory.token(name)
        if found is None and await self._lookups.find(ACCESSTOKEN, name):
            found = self._directory.token(name)
        if found is None:
            raise _refusal()
        self._claimed(found, user)
        return found

    async def claim(self, invitation: Token, user: str) -> Token:
        """Write that a User registers with it; nothing new if that stands there already.

        Raises:
            BadRequestError: it has ended, or others were faster.
            StateConflictError: a User of that name registered with it before.
        """
        return await self._change(invitation, lambda current: self._claimed(current, user))

    async def confirm(self, invitation: Token, account: Account) -> None:
        """Write that the User was made: its name cannot come by this use again."""

        def confirmed(current: Token) -> Sequence[Use]:
            others = [use for use in current.used_by if use.user != account.name]
            return [*others, Use(account.name, account.uid)]

        await self._change(invitation, confirmed)

    async def give_back(self, invitation: Token, user: str) -> None:
        """Take a claim back whose username went to somebody who came another way."""

        def without(current: Token) -> Sequence[Use]:
            return [use for use in current.used_by if use != Use(user, None)]

        await self._change(invitation, without)

    def _claimed(self, invitation: Token, user: str) -> Sequence[Use]:
        """Return the uses with a claim of this User; raises as ``find`` does."""
        if self._is_over(invitation):
            raise _refusal()
        claim = invitation.use_of(user)
        if claim is not None and claim.uid is None:
            return invitation.used_by
        if len(invitation.used_by) >= invitation.max_uses:
            raise _refusal()
        if claim is not None:  # also when that User is gone since: one use is one use
            raise StateConflictError("that username was registered with this invitation")
        return [*invitation.used_by, Use(user, None)]

    async def _change(self, invitation: Token, decide: Callable[[Token], Sequence[Use]]) -> Token:
        def uses(obj: Object) -> dict[str, Any]:
            return {"usedBy": [_use(use) for use in decide(token_of(obj) or invitation)]}

        current = self._directory.token(invitation.name) or invitation
        try:
            obj = await self._writer.update(
                ACCESSTOKEN, current.obj, uses, status=True, tries=_TRIES
            )
        except NotFoundError:
            raise _refusal() from None
        return token_of(obj) or current

    async def _ensure_first(self, secret: str) -> None:
        if self._directory.token(token_name(INVITATION, token_hash(secret))) is not None:
            return
        try:
            # It never expires: it would be deleted, and could then be made once more.
            await self._make(secret, None, Role.ADMIN, 1, None)
        except AlreadyExistsError:
            await self._fresh(token_name(INVITATION, token_hash(secret)))

    async def _make(
        self, secret: str, creator: Account | None, role: Role, max_uses: int, hours: float | None
    ) -> Token:
        spec: dict[str, object] = {"role": role.value, "maxUses": max_uses}
        if hours is not None:
            spec["expiresAt"] = now_rfc3339(self._now() + dt.timedelta(hours=hours))
        if creator is not None:
            spec["createdBy"] = user_ref(creator)
        return await self._tokens.make(INVITATION, secret, spec)

    async def _fresh(self, name: str) -> Token | None:
        obj = await self._writer.fresh(ACCESSTOKEN, Key("", name))
        return None if obj is None else token_of(obj)

    def _is_over(self, invitation: Token) -> bool:
        return invitation.expires_at is not None and invitation.expires_at <= self._now()


def _use(use: Use) -> dict[str, str]:
    return {"user": use.user} if use.uid is None else {"user": use.user, "uid": use.uid}


def _refusal() -> BadRequestError:
    # One answer for all cases: it does not tell whether there ever was such an invitation.
    return BadRequestError("the invitation is unknown, expired or used up")
