"""The token that the facade shows to daemons: short-lived, for them alone, asked for once."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from weir_api.errors import UnavailableError
from weir_crds.names import DAEMON_AUDIENCE, SERVICE_ACCOUNT_API, SYSTEM_NAMESPACE
from weir_crds.times import parse_time
from weir_kube.errors import ApiError

logger = logging.getLogger(__name__)

_LIFETIME_SECONDS = 3600
_RENEW_BEFORE_SECONDS = 600.0
# A clock that differs from the API server's must not make us ask for each request.
_LEAST_SECONDS = 60.0


class TokenSource(Protocol):
    """Makes tokens (``weir_kube.api.Api`` does)."""

    async def token_request(
        self,
        service_account: str,
        namespace: str,
        audiences: Sequence[str] = (),
        expiration_seconds: int = 3600,
    ) -> dict[str, Any]:
        """Return ``token`` and ``expirationTimestamp``."""
        ...


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: float
    expires_at: float


class DaemonTokens:
    """Keeps one valid token; however many ask, the API server is asked once."""

    def __init__(
        self,
        source: TokenSource,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Ask for no token yet."""
        self._source = source
        self._clock = clock
        self._now = now
        self._token: _Token | None = None
        self._asking: asyncio.Task[_Token] | None = None

    async def get(self) -> str:
        """Return a token that holds for a while.

        Raises:
            UnavailableError: there is none, and none can be had now.
        """
        known, clock = self._token, self._clock()
        if known is not None and clock < known.renew_at:
            return known.text
        try:
            # Shared and shielded: one caller that gives up does not make the others begin anew.
            fresh = await asyncio.shield(self._ask())
        except ApiError as error:
            if known is not None and clock < known.expires_at:
                return known.text
            raise UnavailableError(
                f"no token for the hosts' daemons can be had now: {error}"
            ) from error
        return fresh.text

    def forget(self, token: str) -> None:
        """Drop a token that a daemon refused; a newer one stays."""
        if self._token is not None and self._token.text == token:
            self._token = None

    async def close(self) -> None:
        """Give up what is being asked for."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _ask(self) -> "asyncio.Task[_Token]":
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._request(), name="daemon-token")
            # Whoever waited may be gone by then.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._asking

    async def _request(self) -> _Token:
        begun = self._clock()
        answer = await self._source.token_request(
            SERVICE_ACCOUNT_API, SYSTEM_NAMESPACE, [DAEMON_AUDIENCE], _LIFETIME_SECONDS
        )
        left = (parse_time(answer["expirationTimestamp"]) - self._now()).total_seconds()
        left = min(max(left, _LEAST_SECONDS), _LIFETIME_SECONDS)
        renew_in = max(left - _RENEW_BEFORE_SECONDS, _LEAST_SECONDS / 2)
        self._token = _Token(answer["token"], begun + renew_in, begun + left)
        return self._token
