"""What a command may fail with, and how kubectl would say it."""

from weir_crds.errors import WeirError
from weir_kube.errors import ApiError, ConfigError, UnauthorizedError


class CommandError(WeirError):
    """Said to the person as ``error: …``."""

    reason = "CommandFailed"


class DaemonError(WeirError):
    """A host's daemon refused; ``reason`` and the message are its own words."""

    def __init__(self, host: str, reason: str, message: str) -> None:
        """Keep what the daemon said."""
        super().__init__(message)
        self.host = host
        self.said = reason


def told(error: WeirError) -> str:
    """Return the line that stderr gets."""
    match error:
        case DaemonError():
            return f"Error from host {error.host} ({error.said}): {error}"
        case UnauthorizedError():
            return "error: You must be logged in to the server (Unauthorized)"
        case ApiError(status=0):
            return f"Unable to connect to the server: {error}"
        case ApiError():
            return f"Error from server ({error.reason}): {error}"
        case ConfigError() | CommandError():
            return f"error: {error}"
        case _:
            return f"error: {error.reason}: {error}"
