"""Asks the hosts' daemons with tokens that a person may have: one for each host, short-lived."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from weir_cli.options import Options
from weir_cli.reads import deadline_seconds
from weir_crds.names import SERVICE_ACCOUNT_READER, SYSTEM_NAMESPACE
from weir_kube.api import Api
from weir_kube.daemon_tokens import DaemonTokens
from weir_kube.daemons import Daemons
from weir_kube.errors import ApiUnavailableError, ForbiddenError

_TOKEN_SECONDS = 600


@asynccontextmanager
async def open_daemons(api: Api, options: Options) -> AsyncIterator[Daemons]:
    """Yield a client of the daemons.

    Its methods raise ForbiddenError where the person may not have a token; the message says who
    grants it and how.
    """
    tokens = DaemonTokens(
        _ReaderTokens(api, deadline_seconds(options)),
        SERVICE_ACCOUNT_READER,
        lifetime_seconds=_TOKEN_SECONDS,
    )
    daemons = Daemons(tokens, user_agent="kubectl-weir")
    try:
        yield daemons
    finally:
        await daemons.close()


class _ReaderTokens:
    """Makes tokens within the person's ``--request-timeout``."""

    def __init__(self, api: Api, seconds: float) -> None:
        self._api = api
        self._seconds = seconds

    async def token_request(
        self,
        service_account: str,
        namespace: str,
        audiences: Sequence[str] = (),
        expiration_seconds: int = 3600,
    ) -> dict[str, Any]:
        """Return what the API server answers."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._api.token_request(
                    service_account, namespace, audiences, expiration_seconds
                )
        except TimeoutError as error:
            raise ApiUnavailableError("no answer before --request-timeout") from error
        except ForbiddenError as error:
            raise ForbiddenError(
                f"{error}\nReading logs and live figures needs the role weir-log-reader in"
                f" namespace {SYSTEM_NAMESPACE}; an administrator grants it with:\n"
                "  kubectl create rolebinding NAME --role=weir-log-reader --user=USER"
                f" -n {SYSTEM_NAMESPACE}",
                status=error.status,
            ) from error
