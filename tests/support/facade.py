"""Callers of the facade in tests that have no accounts: each says who it is in a header."""

from collections.abc import Callable, Iterable
from typing import Protocol

import aiohttp
from aiohttp import web

from weir_api.access.identity import ANONYMOUS, SYSTEM, Identity, Role
from weir_api.errors import UnavailableError
from weir_api.web.endpoint import Endpoint, SocketEndpoint
from weir_api.web.origin import Origins
from weir_api.web.validation import Limits

HEADER = "As"

CALLERS: dict[str, Identity] = {
    "system": SYSTEM,
    "anonymous": ANONYMOUS,
    "newcomer": Identity(10, "newcomer", Role.ANONY, user_name="newcomer"),
    "posing": Identity(16, "root id=0", Role.VIEWER, user_name="u-" + "0f" * 16),
    "viewer": Identity(11, "viewer", Role.VIEWER, user_name="viewer"),
    "user": Identity(12, "user", Role.USER, user_name="user"),
    "other": Identity(13, "other", Role.USER, user_name="other"),
    "operator": Identity(14, "operator", Role.OPERATOR, user_name="operator"),
    "admin": Identity(15, "admin", Role.ADMIN, user_name="admin"),
    "node": Identity(-1, "node", Role.ANONY, host="node"),
}


class ClientOf(Protocol):
    """Serves endpoints and returns a client of them (fixture ``client_of``)."""

    async def __call__(
        self,
        endpoints: Iterable[Endpoint],
        *,
        stale_seconds: Callable[[], float] = lambda: 0.0,
        ready: Callable[[], bool | str] = lambda: True,
        limits: Limits | None = None,
        origins: Origins | None = None,
        sockets: Iterable[SocketEndpoint] = (),
        recheck_seconds: float = 30.0,
    ) -> aiohttp.ClientSession: ...


def as_(caller: str) -> dict[str, str]:
    """Return the headers by which ``authenticate`` knows a caller; ``system`` needs none."""
    return {HEADER: caller}


async def authenticate(request: web.Request) -> Identity:
    """Believe what the header says; ``away`` stands for a credential that cannot be looked up."""
    caller = request.headers.get(HEADER, "system")
    if caller == "away":
        raise UnavailableError("accounts cannot be read now")
    return CALLERS[caller]
