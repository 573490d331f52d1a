"""What the HTTPS port answers when it does not serve: the one place of that translation."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from weir_crds.errors import WeirError
from weir_kube.errors import ApiError
from weir_nodedaemon.engines.port import EngineUnavailableError
from weir_nodedaemon.logs import LogNotFoundError, LogStoreError, OutputLostError

logger = logging.getLogger(__name__)


class InvalidParameterError(WeirError):
    """A query parameter, path segment or header cannot be used; the message names it."""

    reason = "InvalidParameter"


class UnauthenticatedError(WeirError):
    """No token, or one that is not for this daemon."""

    reason = "Unauthorized"


class AccessDeniedError(WeirError):
    """The token's user may not do that."""

    reason = "Forbidden"


class ObjectNotFoundError(WeirError):
    """No such object is bound to this host."""

    reason = "NotFound"


class RunNotFoundError(WeirError):
    """The object has no such run."""

    reason = "RunNotFound"


class NotStartedError(WeirError):
    """The run has no output yet: its container has not started."""

    reason = "NotStarted"
    retry_after_seconds = 1.0


class NoOutputError(WeirError):
    """There is no output of that run, and there will be none."""

    reason = "NoOutput"


class TooManyStreamsError(WeirError):
    """As many streams are open as the daemon serves at a time, in all or to this caller."""

    reason = "TooManyStreams"
    retry_after_seconds = 2.0


class TooManyRequestsError(WeirError):
    """This address has asked too much of the API server."""

    reason = "TooManyRequests"
    retry_after_seconds = 2.0


class NotReadyError(WeirError):
    """The daemon has just started and does not know its objects yet."""

    reason = "NotReady"
    retry_after_seconds = 1.0


STATUS: dict[type[WeirError], int] = {
    InvalidParameterError: 400,
    UnauthenticatedError: 401,
    AccessDeniedError: 403,
    ObjectNotFoundError: 404,
    RunNotFoundError: 404,
    NoOutputError: 404,
    LogNotFoundError: 404,
    NotStartedError: 409,
    TooManyStreamsError: 429,
    TooManyRequestsError: 429,
    OutputLostError: 500,
    NotReadyError: 503,
    EngineUnavailableError: 503,
    LogStoreError: 503,
    ApiError: 503,  # the reviews could not be made: nobody is let in
}


def status_of(error: WeirError) -> int:
    """Return the HTTP status of an error, by the nearest of its classes."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


@web.middleware
async def error_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer every failure as ``{"reason": …, "message": …}``."""
    try:
        return await handler(request)
    except WeirError as error:
        status = status_of(error)
        if status >= 500:
            logger.warning(
                "refused path=%s status=%d reason=%s: %s",
                request.path,
                status,
                error.reason,
                error,
            )
        headers = {}
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return error_response(status, error.reason, str(error), headers)
    except web.HTTPException as error:
        reason = {404: "UnknownPath", 405: "MethodNotAllowed"}.get(error.status, "BadRequest")
        return error_response(error.status, reason, error.text or error.reason, {})


def error_response(status: int, reason: str, message: str, headers: dict[str, str]) -> web.Response:
    """Build the JSON answer."""
    return web.json_response({"reason": reason, "message": message}, status=status, headers=headers)
