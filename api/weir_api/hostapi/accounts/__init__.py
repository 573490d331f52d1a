"""``/auth/*`` of the host API: who one is, logging in, tokens, invitations, users."""

from weir_api.access.service import AuthService
from weir_api.hostapi.accounts.administration import InvitationRoutes, UserRoutes
from weir_api.hostapi.accounts.own import OwnRoutes
from weir_api.hostapi.accounts.sessions import SessionRoutes
from weir_api.web.endpoint import Endpoint


class AccountRoutes:
    """Sessions, one's own account, invitations, users."""

    def __init__(self, service: AuthService) -> None:
        """Serve these accounts."""
        self._groups = (
            SessionRoutes(service),
            OwnRoutes(service),
            InvitationRoutes(service),
            UserRoutes(service),
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return what is served."""
        return tuple(endpoint for group in self._groups for endpoint in group.endpoints())
