"""What the API server and the hosts' daemons can answer, as exceptions."""

from collections.abc import Mapping
from typing import Any

from weir_crds.errors import WeirError


class ApiError(WeirError):
    """The API server refused a request, or was not reached.

    Attributes:
        status: the HTTP status; 0 when no answer came.
        message: the API server's own words.
        details: the ``details`` of its Status object (name, kind, causes).
    """

    reason = "ApiError"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep what is known."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.details: Mapping[str, Any] = details or {}
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class NotFoundError(ApiError):
    """There is no such object (404)."""

    reason = "NotFound"


class ConflictError(ApiError):
    """The object is no longer what the write was decided on (409)."""

    reason = "Conflict"


class AlreadyExistsError(ApiError):
    """An object of that name is there already (409 on create)."""

    reason = "AlreadyExists"


class GoneError(ApiError):
    """The resourceVersion is too old to go on from: list again (410)."""

    reason = "Expired"


class UnauthorizedError(ApiError):
    """The API server does not know our token (401)."""

    reason = "Unauthorized"


class ForbiddenError(ApiError):
    """We may not do that (403): a missing role, or a namespace that is going away."""

    reason = "Forbidden"


class InvalidObjectError(ApiError):
    """Schema, CEL rule or admission policy refused the object (400, 422)."""

    reason = "InvalidObject"


class TooManyRequestsError(ApiError):
    """The API server asks us to slow down (429)."""

    reason = "TooManyRequests"
    retry_after_seconds = 1.0


class ApiUnavailableError(ApiError):
    """No answer before the deadline, no connection, or a failure of the server itself (5xx)."""

    reason = "ApiUnavailable"


UNANSWERED = (ApiUnavailableError, TooManyRequestsError, UnauthorizedError)
"""Nothing was decided, or nobody knows: the same request may be made again."""


class NotLeadingError(ApiError):
    """A write was not sent, because another process may lead by now."""

    reason = "NotLeading"


class ConfigError(WeirError):
    """No usable kubeconfig or service account."""

    reason = "InvalidConfig"


class DaemonUnavailableError(WeirError):
    """A host's daemon is not reached, is not who it should be, or is too slow."""

    reason = "DaemonUnavailable"
    retry_after_seconds = 2.0


class DaemonBrokeOffError(DaemonUnavailableError):
    """A host's daemon broke off in the middle of its answer: what came is not all of it."""

    reason = "DaemonBrokeOff"


class DaemonRefusedError(WeirError):
    """A host's daemon was reached and did not give what was asked for.

    Attributes:
        host: name of the Host.
        daemon_reason: the daemon's own reason, such as ``NotStarted``.
        message: the daemon's own explanation.
        status: the HTTP status that the daemon answered with.
    """

    reason = "DaemonRefused"
    retry_after_seconds = 2.0

    def __init__(self, host: str, daemon_reason: str, message: str, status: int) -> None:
        """Keep what it said."""
        super().__init__(f"the daemon of host {host}: {message}")
        self.host = host
        self.daemon_reason = daemon_reason
        self.message = message
        self.status = status


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidObjectError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidObjectError,
    429: TooManyRequestsError,
}


def error_of(
    status: int, body: Mapping[str, Any], *, retry_after_seconds: float | None = None
) -> ApiError:
    """Return the exception that an HTTP status and a Status object (or ``{}``) mean."""
    if status == 409 and body.get("reason") == "AlreadyExists":
        kind: type[ApiError] = AlreadyExistsError
    else:
        kind = _BY_STATUS.get(status, ApiUnavailableError if status >= 500 else ApiError)
    details = body.get("details") or {}
    return kind(
        str(body.get("message") or f"the API server answered with status {status}"),
        status=status,
        details=details,
        retry_after_seconds=retry_after_seconds,
    )
