"""The cookie that a session's secret is in."""

from aiohttp import web

from weir_api.auth.accounts import Account
from weir_api.auth.authenticate import SESSION_COOKIE
from weir_api.auth.service import AuthService


class SessionCookie:
    """Hands sessions to browsers."""

    def __init__(self, service: AuthService) -> None:
        """Hand out sessions of these accounts."""
        self._tokens = service.tokens
        self._hours = service.settings.session_hours
        self._secure = service.settings.secure_cookie

    async def start_session(self, account: Account, answer: web.Response) -> None:
        """Start a session, and have the answer bring it."""
        secret = await self._tokens.start_session(account, self._hours)
        self._set(answer, secret, int(self._hours * 3600))

    def take_away(self, answer: web.Response) -> None:
        """Have the answer take the cookie away."""
        self._set(answer, "", 0)

    def _set(self, answer: web.Response, secret: str, max_age: int) -> None:
        answer.set_cookie(
            SESSION_COOKIE,
            secret,
            max_age=max_age,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )
