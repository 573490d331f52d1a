"""Who sends a request: the session of a cookie, the holder of a bearer token, or nobody."""

import re
import time
from collections.abc import Callable
from hmac import compare_digest

from aiohttp import web

from weir_api.access.accounts import (
    API,
    NODE,
    SESSION,
    Token,
    identity_of,
    node_identity,
)
from weir_api.access.bootstrap import Bootstrap
from weir_api.access.directory import Directory, Lookups
from weir_api.access.identity import ANONYMOUS, SYSTEM, Identity
from weir_api.access.tokens import LastUsed, is_secret
from weir_api.errors import UnavailableError
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER

SESSION_COOKIE = "kohakuriver_session"

_BEARER = "bearer "
_SESSION = re.compile(rf"""(?:^|[;\s]){SESSION_COOKIE}="?([0-9a-f]{{64}})"?(?=[;\s]|$)""")


class Authenticator:
    """Tells who sends a request; nothing of it is kept between requests."""

    def __init__(
        self,
        directory: Directory,
        lookups: Lookups,
        last_used: LastUsed,
        bootstrap: Bootstrap,
        cut_off_seconds: Callable[[], float],
        *,
        max_stale_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Look callers up.

        Args:
            directory: all users and tokens.
            lookups: for those that it does not have yet.
            last_used: is told of API and node tokens.
            bootstrap: for who sets up the first administrator.
            cut_off_seconds: for how long nothing that was revoked meanwhile can be known of here.
            max_stale_seconds: when it is longer than this, no credential counts.
            clock: seconds since the epoch.
        """
        self._directory = directory
        self._lookups = lookups
        self._last_used = last_used
        self._bootstrap = bootstrap
        self._cut_off_seconds = cut_off_seconds
        self._max_stale_seconds = max_stale_seconds
        self._clock = clock

    async def __call__(self, request: web.Request) -> Identity:
        """Return who sends a request; the first of these that is valid: cookie, bearer token.

        Raises:
            SlowDownError: too many wrong bootstrap secrets.
            UnavailableError: the credential is not known here, and the API server cannot be asked;
                or it has been away for so long that no credential counts.
        """
        headers = request.headers
        if "X-Admin-Token" in headers and self._bootstrap.opens(request):
            return SYSTEM
        secret = session_secret(request)
        if secret is not None:
            identity = await self._holder(secret, (SESSION,))
            if identity is not None:
                return identity
        given = headers.get("Authorization")
        if given is not None and given[: len(_BEARER)].lower() == _BEARER:
            identity = await self._holder(given[len(_BEARER) :].strip(), (API, NODE))
            if identity is not None:
                return identity
        return ANONYMOUS

    async def _holder(self, secret: str, token_types: tuple[str, ...]) -> Identity | None:
        """Return whose secret this is; None: nobody's, or it is not valid any more."""
        if not is_secret(secret):
            return None
        if self._cut_off_seconds() > self._max_stale_seconds:
            raise UnavailableError("accounts cannot be read now, and have not been for a while")
        hashed = token_hash(secret)
        names = [token_name(token_type, hashed) for token_type in token_types]
        for name in names:
            token = self._directory.token(name)
            if token is not None:
                return await self._identity(token, hashed)
        for name in names:
            if await self._lookups.find(ACCESSTOKEN, name):
                token = self._directory.token(name)
                return None if token is None else await self._identity(token, hashed)
        return None

    async def _identity(self, token: Token, hashed: str) -> Identity | None:
        now = self._clock()
        if not compare_digest(token.hashed, hashed) or token.expires <= now:
            return None
        if token.host is not None:
            self._last_used.note(token, now)
            return node_identity(token)
        if token.user is None:
            return None
        account = self._directory.holder(token)
        # Another replica may have made the user, or changed the password, just now.
        if account is None and await self._lookups.find(USER, token.user):
            account = self._directory.holder(token)
        if account is None or not account.active:
            return None
        if token.type == API:
            self._last_used.note(token, now)
        return identity_of(account, token)


async def everyone_is_the_system(_: web.Request) -> Identity:
    """Authentication is off: who reaches us may do everything."""
    return SYSTEM


def session_secret(request: web.Request) -> str | None:
    """Return the secret in the session cookie; None: there is none that could be one.

    Other cookies are not looked at: to parse a header of nothing but small ones takes a hundred
    times as long as most requests, and anybody may send that.
    """
    given = request.headers.get("Cookie")
    found = None if given is None else _SESSION.search(given)
    return None if found is None else found[1]
