"""All that is served about accounts."""

from weir_api.access.service import AuthService
from weir_api.hostapi.accounts.administration import InvitationRoutes, UserRoutes
from weir_api.hostapi.accounts.own import OwnRoutes
from weir_api.hostapi.accounts.sessions import SessionRoutes


def account_routes(service: AuthService) -> tuple[object, ...]:
    """Return the groups of endpoints about accounts."""
    return (
        SessionRoutes(service),
        OwnRoutes(service),
        InvitationRoutes(service),
        UserRoutes(service),
    )
