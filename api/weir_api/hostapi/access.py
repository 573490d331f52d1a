"""Who calls the host API, and what they may do: its users, their roles, hosts' credentials."""

from collections.abc import Awaitable, Callable
from enum import Enum

from aiohttp import web

from weir_api.access import capabilities
from weir_api.access.authenticate import SESSION_COOKIE
from weir_api.access.capabilities import RULES, Capability
from weir_api.access.identity import ANONYMOUS, Identity
from weir_api.peers import Peers
from weir_api.web.access import Needs, Object

_BEARER = {"bearer": list[str]()}
_COOKIE = {"cookie": list[str]()}
_SCHEMES: Object = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, or the credential of a host.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "Set by a login.",
    },
}


class HostAccess:
    """Roles by capability, as ``capabilities`` has them."""

    anonymous = ANONYMOUS
    security_schemes = _SCHEMES

    def __init__(
        self,
        authenticate: Callable[[web.Request], Awaitable[Identity]],
        peers: Peers | None = None,
    ) -> None:
        """Know callers by ``authenticate``, and their addresses by ``peers``."""
        self._authenticate = authenticate
        self._peers = peers or Peers()

    async def authenticate(self, request: web.Request) -> Identity:
        """Return who sends a request."""
        return await self._authenticate(request)

    def is_public(self, capability: Enum) -> bool:
        """Tell whether everyone has a capability."""
        return capability is Capability.PUBLIC

    def check(self, caller: Identity, capability: Enum) -> None:
        """Return if the caller has the capability; see ``capabilities.check``."""
        capabilities.check(caller, Capability(capability))

    def needs(self, capability: Enum) -> Needs:
        """Return what a capability needs."""
        if capability is Capability.PUBLIC:
            return Needs("Everyone.")
        rule = RULES[Capability(capability)]
        refusals = {403, 503} if rule.refuse_anonymous_with == 403 else {401, 403, 503}
        if capability is Capability.REPORT_HOST:
            who = "A host, for itself, by its credential; and admins."
            return Needs(who, (_BEARER,), frozenset(refusals))
        if capability is Capability.USE_ACCOUNT:
            who = "Everyone who is logged in."
        else:
            own = "; the role `user` for its own only" if rule.own_only else ""
            who = f"The role `{rule.minimum}` and those above it{own}."
        return Needs(who, (_BEARER, _COOKIE), frozenset(refusals))

    def peer_of(self, request: web.Request) -> str:
        """Return the address that a request comes from."""
        return self._peers.of(request)

    def name_of(self, caller: Identity) -> str:
        """Return the name of the User; not the username, which may hold blanks."""
        return caller.name
