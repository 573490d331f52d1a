"""What a command may fail with, and how kubectl would say it."""

from weir_cli.kubectl import KubectlError
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.errors import WeirError
from weir_kube.errors import DaemonBrokeOffError, DaemonRefusedError, DaemonUnavailableError


class CommandError(WeirError):
    """Said to the person as ``error: …``."""

    reason = "CommandFailed"


def message_of(error: WeirError) -> str:
    """Return the line that stderr gets."""
    match error:
        case KubectlError():
            return str(error)
        case DaemonRefusedError():
            return f"Error from host {error.host} ({error.daemon_reason}): {error.message}"
        case DaemonBrokeOffError():
            return f"error: {error}: what was printed above is not all of it"
        case CommandError() | DaemonUnavailableError() | NotContactedError():
            return f"error: {error}"
        case _:
            return f"error: {error.reason}: {error}"
