"""All that the facade knows about its callers, put together."""

import asyncio
from dataclasses import dataclass

from weir_api.access.accounts import Account, is_holder
from weir_api.access.authenticate import Authenticator, everyone_is_the_system
from weir_api.access.bootstrap import Bootstrap
from weir_api.access.directory import Directory, Lookups
from weir_api.access.identity import Identity
from weir_api.access.invitations import Invitations
from weir_api.access.logins import FREE_TRIES, Logins
from weir_api.access.passwords import Passwords
from weir_api.access.sweep import Sweep
from weir_api.access.throttle import Throttle
from weir_api.access.tokens import LastUsed, Tokens
from weir_api.access.turns import Turns
from weir_api.access.users import Users
from weir_api.errors import UnauthenticatedError
from weir_api.peers import Network, Peers
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """What an administrator decides about accounts.

    Attributes:
        enabled: False: everyone may do everything.
        session_hours: how long a login lasts.
        secure_cookie: whether browsers send the session's cookie over HTTPS only.
        admin_secret: what ``X-Admin-Token`` must say for the first administrator's invitation.
        admin_register_secret: what the first administrator registers with.
        invitations_path: the URL path on which ``X-Admin-Token`` is looked at.
        trusted_proxies: whose ``X-Forwarded-For`` is believed.
        max_stale_seconds: for how long credentials count while the API server is away.
    """

    enabled: bool = True
    session_hours: float = 720
    secure_cookie: bool = False
    admin_secret: str | None = None
    admin_register_secret: str | None = None
    invitations_path: str = "/api/auth/invitations"
    trusted_proxies: tuple[Network, ...] = ()
    max_stale_seconds: float = 60.0


class AuthService:
    """Accounts and their tokens; ``run`` beside the server, ``close`` at the end."""

    def __init__(self, settings: AuthSettings, caches: Caches, writer: Writer) -> None:
        """Put it together; the caches may fill before or after."""
        self.settings = settings
        self.directory = Directory(caches)
        self.peers = Peers(settings.trusted_proxies)
        self.passwords = Passwords()
        lookups, turns = Lookups(writer), Turns()
        bootstrap = Bootstrap(
            self.directory,
            self.peers,
            throttle=Throttle(free=FREE_TRIES),
            admin_secret=settings.admin_secret,
            register_secret=settings.admin_register_secret,
            invitations_path=settings.invitations_path,
        )
        self.tokens = Tokens(self.directory, writer)
        self.invitations = Invitations(self.directory, lookups, writer, self.tokens, bootstrap)
        self.logins = Logins(
            self.directory,
            lookups,
            writer,
            self.passwords,
            self.tokens,
            turns=turns,
            throttle=Throttle(free=FREE_TRIES),
        )
        self.users = Users(
            self.directory, writer, self.passwords, self.tokens, self.invitations, turns=turns
        )
        self.sweep = Sweep(self.directory, writer, self.tokens, self.invitations)
        self._last_used = LastUsed(self.directory, writer)
        self.authenticate = (
            Authenticator(
                self.directory,
                lookups,
                self._last_used,
                bootstrap,
                lambda: caches.cut_off_seconds,
                max_stale_seconds=settings.max_stale_seconds,
            )
            if settings.enabled
            else everyone_is_the_system
        )

    def account_of(self, identity: Identity) -> Account:
        """Return the account of a caller who is a user.

        Raises:
            UnauthenticatedError: it is gone, or what they have shown has become void since, say by
                a new password while their request was under way.
        """
        account = self.directory.account(identity.user_name or "")
        shown = self.directory.token(identity.token_name or "")
        if account is None or shown is None or not is_holder(account, shown):
            raise UnauthenticatedError("the credential is not valid any more")
        return account

    async def run(self) -> None:
        """Do what is to be done in the background, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sweep.run())
            group.create_task(self._last_used.run())

    def close(self) -> None:
        """End the threads that hash passwords."""
        self.passwords.close()
