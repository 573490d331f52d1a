"""Gets the token that daemons accept: short-lived, and worthless at the API server."""

import asyncio

from weir_cli.options import Options
from weir_cli.reads import deadline_seconds
from weir_crds.names import DAEMON_AUDIENCE, SERVICE_ACCOUNT_READER, SYSTEM_NAMESPACE
from weir_kube.api import Api
from weir_kube.errors import ApiUnavailableError, ForbiddenError

_TOKEN_SECONDS = 600


async def daemon_token(api: Api, options: Options) -> str:
    """Return a token for all daemons.

    Raises:
        ForbiddenError: the person may not have one; the message says who grants it and how.
    """
    request = api.token_request(
        SERVICE_ACCOUNT_READER, SYSTEM_NAMESPACE, [DAEMON_AUDIENCE], _TOKEN_SECONDS
    )
    try:
        async with asyncio.timeout(deadline_seconds(options)):
            token: str = (await request)["token"]
            return token
    except TimeoutError as error:
        raise ApiUnavailableError("no answer before --request-timeout") from error
    except ForbiddenError as error:
        raise ForbiddenError(
            f"{error}\nReading logs and live figures needs the role weir-log-reader in namespace"
            f" {SYSTEM_NAMESPACE}; an administrator grants it with:\n"
            "  kubectl create rolebinding NAME --role=weir-log-reader --user=USER"
            f" -n {SYSTEM_NAMESPACE}",
            status=error.status,
        ) from error
