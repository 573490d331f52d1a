"""What the facade answers when it does not serve: the one place of that translation."""

from collections.abc import Mapping, Sequence
from typing import Any

from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.errors import WeirError
from weir_kube.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    DaemonRefusedError,
    DaemonUnavailableError,
    ForbiddenError,
    InvalidObjectError,
    NotFoundError,
    TooManyRequestsError,
)


class FacadeError(WeirError):
    """A request cannot be served as asked; ``str()`` is for the caller."""

    reason = "Refused"


class BadRequestError(FacadeError):
    """The request contradicts itself, or asks for what does not exist in this API (400)."""

    reason = "BadRequest"


class UnauthenticatedError(FacadeError):
    """No valid credential (401)."""

    reason = "Unauthorized"


class AccessDeniedError(FacadeError):
    """The caller may not do that (403)."""

    reason = "Forbidden"


class UnknownObjectError(FacadeError):
    """There is no such thing, or none that the caller may know of (404)."""

    reason = "NotFound"


class StateConflictError(FacadeError):
    """It is not in a state in which that can be done (409)."""

    reason = "Conflict"


class InvalidRequestError(FacadeError):
    """Parameters or body do not have the shape that the API asks for (422).

    Attributes:
        details: one mapping per fault, as pydantic tells them: type, loc, msg, input, ctx.
    """

    reason = "InvalidRequest"

    def __init__(self, details: Sequence[Mapping[str, Any]]) -> None:
        """Keep the faults."""
        super().__init__("; ".join(str(detail.get("msg", "")) for detail in details))
        self.details = [dict(detail) for detail in details]


class BodyTooLargeError(FacadeError):
    """The body is larger than any that makes sense here (413)."""

    reason = "RequestEntityTooLarge"


class SlowBodyError(FacadeError):
    """The body did not come in time (408)."""

    reason = "RequestTimeout"


class SlowDownError(FacadeError):
    """Too many tries; wait (429)."""

    reason = "TooManyRequests"
    retry_after_seconds = 1.0


class NowhereError(FacadeError):
    """No host can ever run it (503)."""

    reason = "Unschedulable"


class UnavailableError(FacadeError):
    """What is needed to answer cannot be reached now (503)."""

    reason = "Unavailable"
    retry_after_seconds = 2.0


class DisabledError(FacadeError):
    """That part of the API is switched off (503)."""

    reason = "Disabled"


STATUS: dict[type[WeirError], int] = {
    BadRequestError: 400,
    UnauthenticatedError: 401,
    AccessDeniedError: 403,
    UnknownObjectError: 404,
    NotFoundError: 404,
    SlowBodyError: 408,
    StateConflictError: 409,
    AlreadyExistsError: 409,
    ConflictError: 409,
    BodyTooLargeError: 413,
    InvalidRequestError: 422,
    InvalidObjectError: 422,
    SlowDownError: 429,
    TooManyRequestsError: 503,  # it is the API server that is busy, not the caller
    NowhereError: 503,
    UnavailableError: 503,
    DaemonUnavailableError: 503,
    DaemonRefusedError: 503,
    NotContactedError: 503,
    DisabledError: 503,
    ApiError: 503,
}


def status_of(error: WeirError) -> int:
    """Return the HTTP status of an error, by the nearest of its classes."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def shown_error(error: WeirError) -> WeirError:
    """Return an error as clients may see it.

    Where our API server is, who we are there, and how we fail with it, is nobody's to know: the log
    has it.
    """
    if not isinstance(error, ApiError) or status_of(error) != 503:
        return error
    words = "the cluster cannot be reached now; try again"
    if isinstance(error, TooManyRequestsError):
        words = "the cluster is busy; try again"
    elif isinstance(error, ForbiddenError):
        words = "the cluster does not let the facade do that"
    return UnavailableError(words)
