"""Tokens for the hosts' daemons: short-lived, each good at one daemon and nowhere else."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from weir_crds.names import SYSTEM_NAMESPACE
from weir_crds.times import parse_time
from weir_kube.errors import ApiError

logger = logging.getLogger(__name__)

# Renewed when so much of its life is left.
_RENEW_PART = 1 / 6
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
    """Keeps a valid token per audience; however many ask, the API server is asked once."""

    def __init__(
        self,
        source: TokenSource,
        service_account: str,
        *,
        lifetime_seconds: int = 3600,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Ask for no token yet.

        Args:
            source: makes them.
            service_account: in the system namespace; whom they stand for.
            lifetime_seconds: of a token, as it is asked for.
            clock: monotonic seconds.
            now: the time.
        """
        self._source = source
        self._service_account = service_account
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._now = now
        self._tokens: dict[str, _Token] = {}
        self._dropped_at: dict[str, float] = {}
        self._requests: dict[str, asyncio.Task[_Token]] = {}

    async def get(self, audience: str) -> str:
        """Return a token for an audience that holds for a while.

        Raises:
            ApiError: there is none, and none can be had now.
        """
        known, clock = self._tokens.get(audience), self._clock()
        if known is not None and clock < known.renew_at:
            return known.text
        try:
            # Shared and shielded: one caller that gives up does not make the others begin anew.
            fresh = await asyncio.shield(self._request(audience))
        except ApiError as error:
            if known is None or clock >= known.expires_at:
                raise
            logger.debug("token for audience=%s not renewed yet: %s", audience, error)
            return known.text
        return fresh.text

    def forget(self, audience: str, token: str) -> bool:
        """Drop a token that its daemon refused; a newer one stays.

        Returns:
            Whether another one may do better. False: one was dropped less than a minute ago. A
            daemon that refuses all must not have the API server make one for each request.
        """
        known, clock = self._tokens.get(audience), self._clock()
        if known is None or known.text != token:
            return True
        if clock < self._dropped_at.get(audience, float("-inf")) + _LEAST_SECONDS:
            return False
        self._dropped_at[audience] = clock
        del self._tokens[audience]
        return True

    async def close(self) -> None:
        """Give up what is being asked for."""
        requests = [*self._requests.values()]
        for request in requests:
            request.cancel()
        if requests:
            await asyncio.wait(requests)

    def _request(self, audience: str) -> "asyncio.Task[_Token]":
        request = self._requests.get(audience)
        if request is None:
            request = asyncio.create_task(self._make(audience), name="daemon-token")
            self._requests[audience] = request
            request.add_done_callback(lambda done: self._requested(audience, done))
        return request

    def _requested(self, audience: str, request: "asyncio.Task[_Token]") -> None:
        del self._requests[audience]
        if not request.cancelled():
            request.exception()  # whoever waited for it may be gone by now

    async def _make(self, audience: str) -> _Token:
        begun, lifetime = self._clock(), self._lifetime_seconds
        answer = await self._source.token_request(
            self._service_account, SYSTEM_NAMESPACE, [audience], lifetime
        )
        left = (parse_time(answer["expirationTimestamp"]) - self._now()).total_seconds()
        left = min(max(left, _LEAST_SECONDS), lifetime)
        renew_in = max(left - lifetime * _RENEW_PART, _LEAST_SECONDS / 2)
        token = _Token(answer["token"], begun + renew_in, begun + left)
        self._tokens[audience] = token
        self._drop_expired()
        return token

    def _drop_expired(self) -> None:
        """Hosts go: what was for their daemons goes with its end."""
        now = self._clock()
        for audience in [name for name, one in self._tokens.items() if one.expires_at <= now]:
            del self._tokens[audience]
        recent = now - _LEAST_SECONDS
        self._dropped_at = {name: at for name, at in self._dropped_at.items() if at > recent}
