"""The first administrator: two secrets of the configuration, each good for one, and only once.

Each secret is made into the secret of an invitation, so the AccessToken of that is the lock: there
can be one, it counts its one use, and all replicas share it. While any administrator exists, the
secrets open nothing.
"""

import hashlib
import hmac

from aiohttp import web

from weir_api.access.directory import Directory
from weir_api.access.throttle import Throttle
from weir_api.access.tokens import is_secret
from weir_api.peers import Peers, neighbourhood

_HEADER = "X-Admin-Token"


class Bootstrap:
    """Knows the secrets of the configuration; None or empty: there is none."""

    def __init__(
        self,
        directory: Directory,
        peers: Peers,
        *,
        throttle: Throttle,
        admin_secret: str | None,
        register_secret: str | None,
        invitations_path: str,
    ) -> None:
        """Prepare.

        Args:
            directory: tells whether there is an administrator.
            peers: tells addresses.
            throttle: counts wrong secrets by address.
            admin_secret: for ``X-Admin-Token`` on making an invitation.
            register_secret: for registering as the first administrator.
            invitations_path: where invitations are made, the only place for ``X-Admin-Token``.
        """
        self._directory = directory
        self._peers = peers
        self._throttle = throttle
        self._admin_secret = admin_secret or None
        self._register_secret = register_secret or None
        self._invitations_path = invitations_path
        self._admin_key = _stretched(self._admin_secret)
        self._register_key = _stretched(self._register_secret)

    def opens(self, request: web.Request) -> bool:
        """Tell whether the request may make an invitation as the system.

        Raises:
            SlowDownError: too many wrong secrets from that address.
        """
        if (
            self._admin_secret is None
            or self._directory.has_admin
            or request.method != "POST"
            or request.path != self._invitations_path
        ):
            return False
        peer = neighbourhood(self._peers.of(request))
        with self._throttle.attempt("admin secret", peer) as attempt:
            attempt.succeeded = _same(request.headers.get(_HEADER, ""), self._admin_secret)
        return attempt.succeeded

    def invitation_secret(self, role: str) -> str:
        """Return the secret of the one invitation to this role that ``X-Admin-Token`` can make."""
        return _derived(self._admin_key, f"invitation/{role}")

    def registration_secret(self, token: str, peer: str) -> str | None:
        """Return the secret of the first administrator's invitation, if ``token`` stands for it.

        None: it does not, or there is an administrator.

        Raises:
            SlowDownError: too many wrong secrets from that address.
        """
        if self._register_secret is None or self._directory.has_admin:
            return None
        if is_secret(token):
            # Nobody guesses 256 bits: who has an invitation does not wait for those who guess.
            right = _same(token, self._register_secret)
        else:
            with self._throttle.attempt("register secret", neighbourhood(peer)) as attempt:
                right = attempt.succeeded = _same(token, self._register_secret)
        return _derived(self._register_key, "registration") if right else None


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "backslashreplace"), secret.encode())


def _stretched(secret: str | None) -> bytes:
    """Return a key for what people made up: its hashes are kept, and shall not give it away."""
    if secret is None:
        return b""
    return hashlib.scrypt(secret.encode(), salt=b"weir.dev/bootstrap", n=2**14, r=8, p=1)


def _derived(key: bytes, purpose: str) -> str:
    return hmac.new(key, purpose.encode(), hashlib.sha256).hexdigest()
