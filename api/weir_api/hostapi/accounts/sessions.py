"""Getting in and out: whether one must, logging in and out, registering."""

from aiohttp import web

from weir_api.access.accounts import Account
from weir_api.access.authenticate import SESSION_COOKIE, session_secret
from weir_api.access.capabilities import Capability
from weir_api.access.service import AuthService
from weir_api.errors import DisabledError
from weir_api.hostapi.accounts.convert import DISABLED, SECRET, TAG, TOO_MANY, USER, user_out
from weir_api.hostapi.accounts.wire import (
    AuthStatus,
    LoggedInOut,
    LoginIn,
    RegisterIn,
    RegisterQuery,
)
from weir_api.hostapi.message import MessageOut
from weir_api.web.endpoint import Answer, Call, Endpoint
from weir_api.web.replies import json_reply

_COOKIE = (
    f"The answer sets the cookie `{SESSION_COOKIE}`, which browsers keep from scripts and from"
    " requests that other sites make."
)


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


class SessionRoutes:
    """Sessions: their secret is in a cookie, their hash in an AccessToken."""

    def __init__(self, service: AuthService) -> None:
        """Serve these accounts."""
        self._service = service
        self._settings = service.settings
        self._cookie = SessionCookie(service)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return what is served."""
        return (
            Endpoint(
                "GET",
                "/auth/status",
                self.status,
                Capability.PUBLIC,
                summary="Tell whether one has to log in",
                tag=TAG,
                answers={
                    200: Answer(
                        "Whether authentication is on.",
                        AuthStatus,
                        example={"auth_enabled": True, "session_expire_hours": 720},
                    )
                },
            ),
            Endpoint(
                "POST",
                "/auth/login",
                self.login,
                Capability.PUBLIC,
                summary="Log in",
                tag=TAG,
                body=LoginIn,
                body_example={"username": "ada", "password": "difference engine"},
                answers={
                    200: Answer(
                        "Logged in.",
                        LoggedInOut,
                        example={"message": "logged in", "user": USER},
                    )
                },
                errors={
                    401: "Unknown username or wrong password.",
                    403: "The account is disabled.",
                    429: TOO_MANY,
                    503: DISABLED,
                },
                description=_COOKIE,
            ),
            Endpoint(
                "POST",
                "/auth/logout",
                self.logout,
                Capability.PUBLIC,
                summary="Log out",
                tag=TAG,
                answers={200: Answer("Logged out.", MessageOut, example={"message": "logged out"})},
                description="Ends the session of the cookie, if there is one, and takes the cookie"
                " away.",
            ),
            Endpoint(
                "POST",
                "/auth/register",
                self.register,
                Capability.PUBLIC,
                summary="Register with an invitation",
                tag=TAG,
                query=RegisterQuery,
                body=RegisterIn,
                body_example={
                    "username": "ada",
                    "password": "difference engine",
                    "display_name": "Ada",
                },
                answers={
                    200: Answer(
                        "Registered and logged in.",
                        LoggedInOut,
                        example={"message": "registered", "user": USER},
                    )
                },
                errors={
                    400: "The invitation is unknown, expired or used up.",
                    409: "Somebody has that username.",
                    429: TOO_MANY,
                    503: DISABLED,
                },
                description="Uses the invitation once; the role is the invitation's. The first"
                " administrator registers with the secret that the facade was started with, which"
                f" works once and only while there is no administrator. {_COOKIE}"
                f" A token looks like `{SECRET[:16]}…`, 64 digits.",
            ),
        )

    async def status(self, _: Call) -> web.Response:
        """Tell whether authentication is on."""
        on = self._settings.enabled
        hours = int(self._settings.session_hours) if on else None
        return json_reply({"auth_enabled": on, "session_expire_hours": hours})

    async def login(self, call: Call) -> web.Response:
        """Start a session for who knows the password."""
        self._need_accounts()
        wanted: LoginIn = call.body
        account = await self._service.logins.log_in(
            wanted.username, wanted.password, self._service.peers.of(call.request)
        )
        return await self._logged_in(account, "logged in")

    async def logout(self, call: Call) -> web.Response:
        """End the session of the cookie."""
        secret = session_secret(call.request)
        if secret is not None and self._settings.enabled:
            await self._service.logins.log_out(secret)
        answer = json_reply({"message": "logged out"})
        self._cookie.take_away(answer)
        return answer

    async def register(self, call: Call) -> web.Response:
        """Make a user for who has an invitation."""
        self._need_accounts()
        wanted: RegisterIn = call.body
        account = await self._service.users.register(
            call.query.token,
            wanted.username,
            wanted.password,
            wanted.display_name,
            self._service.peers.of(call.request),
        )
        return await self._logged_in(account, "registered")

    async def _logged_in(self, account: Account, message: str) -> web.Response:
        answer = json_reply({"message": message, "user": user_out(account)})
        await self._cookie.start_session(account, answer)
        return answer

    def _need_accounts(self) -> None:
        if not self._settings.enabled:
            raise DisabledError("authentication is off, so there are no accounts")
