"""Secrets are handed out here, and taken back: sessions, API tokens, node tokens; and when each was
last used."""

import asyncio
import datetime as dt
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weir_api.access.accounts import (
    API,
    NODE,
    SESSION,
    Account,
    Token,
    is_holder,
    token_of,
    user_ref,
)
from weir_api.access.directory import Directory, newest_first
from weir_api.access.identity import Role
from weir_api.errors import StateConflictError, UnavailableError
from weir_api.peers import neighbourhood
from weir_api.state.writer import Writer
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_crds.names import ANNOTATION_CREATED_AT
from weir_crds.times import now_rfc3339
from weir_kube.errors import ApiError

logger = logging.getLogger(__name__)

MAX_SESSIONS = 50
"""How many sessions a user has; a further login ends the oldest."""
MAX_API_TOKENS = 200
"""How many API tokens a user has."""
LAST_USED_SECONDS = 300.0
"""How often the last use of a token is written."""

_SECRET_BYTES = 32
_SECRET = re.compile("[0-9a-f]{64}")
_HINT = 8
_MAX_NAME = 100
_MAX_WAITING = 1000
_PAUSE_SECONDS = 0.05
_LEAST_SECONDS = 1.0  # between two uses that are told apart


def utc_now() -> dt.datetime:
    """Return the time."""
    return dt.datetime.now(dt.UTC)


class Tokens:
    """Makes and ends AccessTokens; a secret is known only to who calls the method that makes it."""

    def __init__(
        self, directory: Directory, writer: Writer, *, now: Callable[[], dt.datetime] = utc_now
    ) -> None:
        """Write with ``writer``."""
        self._directory = directory
        self._writer = writer
        self._now = now

    async def start_session(self, account: Account, hours: float, client: str = "") -> str:
        """Make a session of a user and return its secret; their oldest ones may end.

        Args:
            account: the user, as they were when their password was checked.
            hours: how long it lasts.
            client: what the user knows it again by in the list of their sessions: the address that
                it was begun from, a blank, and the program.
        """
        sessions = self._directory.tokens_of(account, (SESSION,))
        for session in sessions[MAX_SESSIONS - 1 :]:
            await self.end(session)
        secret = new_secret()
        client = client.encode("utf-8", "replace").decode()  # what a header held
        spec = {"displayName": client[:_MAX_NAME], "expiresAt": self._after(hours)}
        await self.make(SESSION, secret, spec, account)
        return secret

    async def make_api_token(
        self, account: Account, display_name: str, hours: float | None = None
    ) -> tuple[Token, str]:
        """Make an API token of a user; return it and its secret.

        Args:
            account: the user, as they were when they were authenticated.
            display_name: its name for people.
            hours: how long it lasts; None: until it or the password is given up.

        Raises:
            StateConflictError: they have as many as one may have.
        """
        if len(self._directory.tokens_of(account, (API,))) >= MAX_API_TOKENS:
            raise StateConflictError(f"there are {MAX_API_TOKENS} tokens already; delete some")
        secret, spec = new_secret(), {"displayName": display_name}
        if hours is not None:
            spec["expiresAt"] = self._after(hours)
        return await self.make(API, secret, spec, account), secret

    async def make_node_token(
        self, creator: Account, display_name: str, host: str, hours: float | None = None
    ) -> tuple[Token, str]:
        """Make a token by which a runner speaks for a host; return it and its secret."""
        secret = new_secret()
        spec = {"displayName": display_name, "hostName": host, "createdBy": user_ref(creator)}
        if hours is not None:
            spec["expiresAt"] = self._after(hours)
        return await self.make(NODE, secret, spec), secret

    async def make(
        self,
        token_type: str,
        secret: str,
        spec: Mapping[str, Any],
        account: Account | None = None,
    ) -> Token:
        """Make an AccessToken for a secret.

        Args:
            token_type: what it is good for.
            secret: 256 random bits; only its hash is written.
            spec: what there is to say beside type, hash and user.
            account: whose it is; it goes when the User goes, and is void once their password is
                another.

        Raises:
            AlreadyExistsError: there is one for this secret.
            ApiError: it could not be written.
        """
        hashed = token_hash(secret)
        metadata: dict[str, Any] = {
            "name": token_name(token_type, hashed),
            "annotations": {ANNOTATION_CREATED_AT: now_rfc3339(self._now())},
        }
        full = {"type": token_type, "tokenHash": hashed, "hint": secret[:_HINT], **spec}
        if account is not None:
            full["userRef"] = user_ref(account)
            if account.password_mark is not None:
                full["passwordMark"] = account.password_mark
            metadata["ownerReferences"] = [
                {
                    "apiVersion": USER.api_version,
                    "kind": USER.kind,
                    "name": account.name,
                    "uid": account.uid,
                }
            ]
        obj = await self._writer.create(ACCESSTOKEN, {"metadata": metadata, "spec": full})
        token = token_of(obj)
        if token is None:
            raise UnavailableError("the API server keeps tokens of another kind than ours")
        return token

    def visible_to(self, account: Account) -> list[Token]:
        """Return the API tokens of a user, and to an administrator all node tokens; newest first.

        These are also those that they may delete.
        """
        found = self._directory.tokens_of(account, (API,))
        if account.role is Role.ADMIN:
            found = newest_first([*found, *self._directory.tokens_of_type(NODE)])
        return found

    def sessions(self, account: Account) -> list[Token]:
        """Return a user's sessions that are valid, newest first."""
        now = self._now().timestamp()
        found = self._directory.tokens_of(account, (SESSION,))
        return [one for one in found if one.expires > now and is_holder(account, one)]

    def has_session_from(self, account: Account, peer: str) -> bool:
        """Tell whether a valid session of a user was begun in a peer's neighbourhood."""
        here = neighbourhood(peer)
        return any(
            neighbourhood(one.display_name.partition(" ")[0]) == here
            for one in self.sessions(account)
        )

    async def end(self, token: Token) -> bool:
        """Delete a token; False when it was gone already."""
        return await self._writer.delete(ACCESSTOKEN, token.obj)

    def _after(self, hours: float) -> str:
        return now_rfc3339(self._now() + dt.timedelta(hours=hours))

    async def tidy_up(self, account: Account, token_types: Iterable[str]) -> None:
        """Delete a user's tokens of these types, which are void already.

        What cannot be deleted now is left for the sweep.
        """
        try:
            for token in self._directory.tokens_of(account, token_types):
                await self.end(token)
        except ApiError as exc:
            logger.warning("user=%s: tokens not deleted yet: %s", account.name, exc)


class LastUsed:
    """Notes uses at no cost to the request; shown at once, they are written every five minutes."""

    def __init__(self, directory: Directory, writer: Writer) -> None:
        """Write with ``writer``; ``run`` does it."""
        self._directory = directory
        self._writer = writer
        self._waiting: dict[str, float] = {}
        self._wake = asyncio.Event()

    def note(self, token: Token, now: float) -> None:
        """Take a use at ``now``, in seconds since the epoch."""
        if now - token.last_used >= _LEAST_SECONDS:
            self._directory.note_use(token, now)
        if now - token.last_used_written < LAST_USED_SECONDS or token.name in self._waiting:
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
        if token is None or used - token.last_used_written < LAST_USED_SECONDS:
            return  # gone, or another replica was faster
        at = now_rfc3339(dt.datetime.fromtimestamp(used, dt.UTC))
        try:
            await self._writer.patch_status(ACCESSTOKEN, token.obj, {"lastUsedAt": at})
        except ApiError as exc:
            logger.debug("token=%s: last use not written: %s", name, exc)


def is_secret(text: str) -> bool:
    """Tell whether a text has the form of our secrets: 64 hexadecimal digits."""
    return _SECRET.fullmatch(text) is not None


def new_secret() -> str:
    """Return 256 random bits in hex."""
    return secrets.token_hex(_SECRET_BYTES)
