"""What Docker's error messages mean: give up, or try again. Pure.

Docker tells a registry's answers apart in words only, and they differ between its versions.
"""

import re


class RefusedError(Exception):
    """Docker answered with an error. Goes no further than the engine."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status beside Docker's words."""
        super().__init__(message)
        self.status = status


_REGISTRY_SAID_NO = (
    "access denied",
    "access to the resource is denied",
    "authentication required",
    "authorization failed",
    "does not exist",
    "invalid reference",
    "invalid repository name",
    "invalid tag",
    "manifest unknown",
    "name unknown",
    "no basic auth credentials",
    "no match for platform",
    "no matching manifest",
    "not found",
    "unauthorized",
    "unsupported manifest",
)
_WAIT = (
    "connection refused",
    "connection reset",
    "context canceled",
    "context deadline exceeded",
    "i/o timeout",
    "no space left",
    "resource temporarily unavailable",
    "shutting down",
    "timeout exceeded",
    "too many requests",
    "toomanyrequests",
    "transport is closing",
    "ttrpc: closed",
    "service unavailable",
    "code = unavailable",
)


_LEFTOVER = re.compile(
    r"id already in use|task [0-9a-f]{64}: already exists|failed to start shim: .*: file exists"
)


def may_pass(message: str) -> bool:
    """Tell whether the words speak of a state that may be over soon."""
    words = message.lower()
    return is_leftover(words) or any(part in words for part in _WAIT)


def is_leftover(message: str) -> bool:
    """Tell whether something of an earlier start is in the way, which Docker's death cut off."""
    return _LEFTOVER.search(message.lower()) is not None


def pull_is_hopeless(message: str, status: int | None = None) -> bool:
    """Tell whether no later pull of this image can succeed: unknown, denied, or a bad name.

    ``status`` is that of the HTTP answer; None: the message came amid the pull's progress.
    """
    if may_pass(message):
        return False
    if status in {400, 401, 403, 404}:
        return True
    words = message.lower()
    return any(part in words for part in _REGISTRY_SAID_NO)
