"""What a command may fail with, and how kubectl would say it."""

from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.errors import WeirError
from weir_kube.errors import (
    ApiError,
    ConfigError,
    DaemonBrokeOffError,
    DaemonRefusedError,
    DaemonUnavailableError,
    UnauthorizedError,
)


class CommandError(WeirError):
    """Said to the person as ``error: …``."""

    reason = "CommandFailed"


def told(error: WeirError) -> str:
    """Return the line that stderr gets."""
    match error:
        case DaemonRefusedError():
            return f"Error from host {error.host} ({error.said}): {error.message}"
        case DaemonBrokeOffError():
            return f"error: {error}: what was printed above is not all of it"
        case UnauthorizedError():
            return "error: You must be logged in to the server (Unauthorized)"
        case ApiError(status=0):
            return f"Unable to connect to the server: {error}"
        case ApiError():
            return f"Error from server ({error.reason}): {error}"
        case ConfigError() | CommandError() | DaemonUnavailableError() | NotContactedError():
            return f"error: {error}"
        case _:
            return f"error: {error.reason}: {error}"
