"""Each answer of the API server has its type, and each type its reason."""

import pytest

from weir_kube import errors
from weir_kube.errors import ApiError, error_of


def subclasses(cls: type[ApiError]) -> list[type[ApiError]]:
    return [cls] + [deeper for sub in cls.__subclasses__() for deeper in subclasses(sub)]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadRequest", errors.InvalidObjectError),
        (401, "Unauthorized", errors.UnauthorizedError),
        (403, "Forbidden", errors.ForbiddenError),
        (404, "NotFound", errors.NotFoundError),
        (409, "Conflict", errors.ConflictError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (410, "Expired", errors.GoneError),
        (418, "", errors.ApiError),
        (422, "Invalid", errors.InvalidObjectError),
        (429, "TooManyRequests", errors.TooManyRequestsError),
        (500, "InternalError", errors.ApiUnavailableError),
        (503, "ServiceUnavailable", errors.ApiUnavailableError),
        (504, "Timeout", errors.ApiUnavailableError),
    ],
)
def test_error_of(status: int, reason: str, expected: type[ApiError]) -> None:
    error = error_of(status, {"reason": reason, "message": "words", "details": {"name": "x"}})
    assert type(error) is expected
    assert (str(error), error.status, error.details) == ("words", status, {"name": "x"})


def test_an_answer_without_a_body_still_says_its_status() -> None:
    assert "502" in str(error_of(502, {}))
    assert error_of(429, {}).retry_after_seconds == 1.0
    assert error_of(429, {}, retry_after_seconds=0.0).retry_after_seconds == 0.0


def test_each_type_has_a_reason_of_its_own() -> None:
    reasons = [cls.reason for cls in subclasses(ApiError)]
    assert len(reasons) == len(set(reasons))
