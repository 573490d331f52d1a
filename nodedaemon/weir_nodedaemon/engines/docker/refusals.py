"""What Docker's error messages mean: give up, or try again. Pure.

Docker tells a registry's answers apart in words only, and they differ between its versions.
"""

import re

from weir_nodedaemon.engines.port import EngineRefusedError, EngineUnavailableError, ImagePullError


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
# Docker, or the containerd below it, is going away or coming back.
_AWAY = (
    "code = unavailable",
    "connection refused",
    "connection reset",
    "context canceled",
    "context deadline exceeded",
    "service unavailable",
    "shutting down",
    "transport is closing",
    "ttrpc: closed",
)
# The machine, or a registry, has too much to do or too little room.
_BUSY = (
    "i/o timeout",
    "no space left",
    "requested cpus are not available",  # one went offline after the Task was bound
    "requested memory nodes are not available",
    "resource temporarily unavailable",
    "timeout exceeded",
    "too many requests",
    "toomanyrequests",
)
# The only words that Docker says with a status of 500 of which who wrote the spec is the cause. All
# others may be the machine's: they must not end a Task at the first try.
_USERS_FAULT = (
    "are you trying to mount a directory onto a file",
    "argument list too long",
    "bind source path does not exist",
    "because it is inside /proc",
    "could not select device driver",
    "executable file not found",
    "file name too long",
    "invalid mount config",
    "is not an absolute path",
    "minimum memory limit",
    "no command specified",
    "no such user",
    "no matching entries in passwd file",
    "not a directory",
    "too many levels of symbolic links",
    "unable to find user",
)
# What no image can be blamed for, in a pull.
_HOSTS_FAULT = (
    "cannot allocate memory",
    "disk quota exceeded",
    "input/output error",
    "no space left",
    "read-only file system",
    "too many open files",
)
_LEFTOVER = re.compile(
    r"id already in use|task [0-9a-f]{64}: already exists|failed to start shim: .*: file exists"
)


def refusal(exc: RefusedError) -> EngineUnavailableError | EngineRefusedError:
    """Return what a refusal is for the engine's callers: away, or not able to."""
    if is_away(exc.status, str(exc)):
        return EngineUnavailableError(f"Docker answered {exc.status}: {exc}")
    return EngineRefusedError(f"Docker answered {exc.status}: {exc}")


def is_away(status: int | None, message: str) -> bool:
    """Tell whether an answer says that Docker is no more, or not yet, at work."""
    return status == 503 or _has(message, _AWAY)


def is_users_fault(status: int, message: str) -> bool:
    """Tell whether a container cannot be had because of what its spec says: it is final."""
    if may_pass(message):
        return False
    return status in {400, 403, 404, 409} or _has(message, _USERS_FAULT)


def is_layer_limit(message: str) -> bool:
    """Tell whether Docker's storage cannot limit what a container writes."""
    return "storage-opt" in message.lower()  # each driver has words of its own around it


def may_pass(message: str) -> bool:
    """Tell whether the words speak of a state that may be over soon."""
    return is_leftover(message) or _has(message, _AWAY) or _has(message, _BUSY)


def is_leftover(message: str) -> bool:
    """Tell whether something of an earlier start is in the way, which Docker's death cut off."""
    return _LEFTOVER.search(message.lower()) is not None


def pull_failure(message: str, status: int | None = None) -> ImagePullError:
    """Return what Docker's words about a pull mean.

    ``status`` is that of the HTTP answer; None: the message came amid the pull's progress.
    """
    return ImagePullError(
        message,
        permanent=_is_hopeless(message, status),
        hosts_fault=_has(message, _HOSTS_FAULT),
    )


def _is_hopeless(message: str, status: int | None) -> bool:
    """Tell whether no later pull of this image can succeed: unknown, denied, or a bad name."""
    if may_pass(message) or _has(message, _HOSTS_FAULT):
        return False
    if status in {400, 401, 403, 404}:
        return True
    return _has(message, _REGISTRY_SAID_NO)


def _has(message: str, phrases: tuple[str, ...]) -> bool:
    words = message.lower()
    return any(phrase in words for phrase in phrases)
