"""Getting in and out: whether one must, logging in and out, registering."""

from http.cookies import SimpleCookie

from aiohttp import web

from weir_api.access.accounts import Account
from weir_api.access.authenticate import SESSION_COOKIE, session_secret
from weir_api.access.capabilities import Capability
from weir_api.access.service import AuthService
from weir_api.errors import DisabledError
from weir_api.hostapi.accounts.convert import (
    DISABLED,
    SECRET,
    TAG,
    TOO_MANY,
    USER_EXAMPLE,
    user_out,
)
from weir_api.hostapi.accounts.wire import (
    AuthStatus,
    LoggedInOut,
    LoginIn,
    RegisterIn,
    RegisterQuery,
)
from weir_api.hostapi.wire import MessageOut
from weir_api.web.dialect import Object, Reply
from weir_api.web.endpoint import Answer, Call, Json, endpoint

_COOKIE = (
    f"The answer sets the cookie `{SESSION_COOKIE}`, which browsers keep from scripts and from"
    " requests that other sites make."
)

_MOST_OF_BROWSER = 80
# The longest password, each of its characters escaped as JSON, and as much beside it as may be.
_STRANGERS_BYTES = 16 * 1024


class SessionCookie:
    """Hands sessions to browsers."""

    def __init__(self, service: AuthService) -> None:
        """Hand out sessions of these accounts."""
        self._tokens = service.tokens
        self._peers = service.peers
        self._hours = service.settings.session_hours
        self._secure = service.settings.secure_cookie

    async def start_session(self, account: Account, request: web.Request) -> dict[str, str]:
        """Start a session for who sends a request, and return the header that brings it."""
        browser = request.headers.get("User-Agent", "unknown program")[:_MOST_OF_BROWSER]
        client = f"{self._peers.of(request)} {browser}"
        secret = await self._tokens.start_session(account, self._hours, client)
        return self._header(secret, int(self._hours * 3600))

    def take_away(self) -> dict[str, str]:
        """Return the header that takes the cookie away."""
        return self._header("", 0)

    def _header(self, secret: str, max_age: int) -> dict[str, str]:
        cookie = SimpleCookie({SESSION_COOKIE: secret})[SESSION_COOKIE]
        cookie.update({"max-age": str(max_age), "path": "/", "httponly": "1", "samesite": "Lax"})
        if self._secure:
            cookie["secure"] = True
        return {"Set-Cookie": cookie.OutputString()}


class SessionRoutes:
    """Sessions: their secret is in a cookie, their hash in an AccessToken."""

    def __init__(self, service: AuthService) -> None:
        """Serve these accounts."""
        self._service = service
        self._settings = service.settings
        self._cookie = SessionCookie(service)

    @endpoint(
        "GET",
        "/api/auth/status",
        Capability.PUBLIC,
        "Tell whether one has to log in",
        tag=TAG,
        answers={
            200: Answer(
                "Whether authentication is on.",
                AuthStatus,
                example={"auth_enabled": True, "session_expire_hours": 720},
            )
        },
    )
    async def status(self, _: Call) -> Object:
        """Tell whether authentication is on."""
        on = self._settings.enabled
        hours = int(self._settings.session_hours) if on else None
        return {"auth_enabled": on, "session_expire_hours": hours}

    @endpoint(
        "POST",
        "/api/auth/login",
        Capability.PUBLIC,
        "Log in",
        tag=TAG,
        answers={
            200: Answer(
                "Logged in.",
                LoggedInOut,
                example={"message": "logged in", "user": USER_EXAMPLE},
            )
        },
        errors={
            401: "Unknown username or wrong password.",
            403: "The account is disabled.",
            429: TOO_MANY,
            503: DISABLED,
        },
        body=Json(
            LoginIn,
            example={"username": "ada", "password": "difference engine"},
            limit=_STRANGERS_BYTES,
        ),
        description=_COOKIE,
    )
    async def login(self, call: Call) -> Reply:
        """Start a session for who knows the password."""
        self._need_accounts()
        wanted: LoginIn = call.body
        account = await self._service.logins.log_in(
            wanted.username, wanted.password, self._service.peers.of(call.request)
        )
        return await self._logged_in(account, "logged in", call)

    @endpoint(
        "POST",
        "/api/auth/logout",
        Capability.PUBLIC,
        "Log out",
        tag=TAG,
        answers={200: Answer("Logged out.", MessageOut, example={"message": "logged out"})},
        description="Ends the session of the cookie, if there is one, and takes the cookie away.",
    )
    async def logout(self, call: Call) -> Reply:
        """End the session of the cookie."""
        secret = session_secret(call.request)
        if secret is not None and self._settings.enabled:
            await self._service.logins.log_out(secret)
        return Reply({"message": "logged out"}, headers=self._cookie.take_away())

    @endpoint(
        "POST",
        "/api/auth/register",
        Capability.PUBLIC,
        "Register with an invitation",
        tag=TAG,
        answers={
            200: Answer(
                "Registered and logged in.",
                LoggedInOut,
                example={"message": "registered", "user": USER_EXAMPLE},
            )
        },
        errors={
            400: "The invitation is unknown, expired or used up.",
            409: "Somebody has that username.",
            429: TOO_MANY,
            503: DISABLED,
        },
        body=Json(
            RegisterIn,
            example={
                "username": "ada",
                "password": "difference engine",
                "display_name": "Ada",
            },
            limit=_STRANGERS_BYTES,
        ),
        query=RegisterQuery,
        description="Uses the invitation once; the role is the invitation's. The first"
        " administrator registers with the secret that the facade was started with, which"
        f" works once and only while there is no administrator. {_COOKIE}"
        f" A token looks like `{SECRET[:16]}…`, 64 digits.",
    )
    async def register(self, call: Call) -> Reply:
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
        return await self._logged_in(account, "registered", call)

    async def _logged_in(self, account: Account, message: str, call: Call) -> Reply:
        value = {"message": message, "user": user_out(account)}
        return Reply(value, headers=await self._cookie.start_session(account, call.request))

    def _need_accounts(self) -> None:
        if not self._settings.enabled:
            raise DisabledError("authentication is off, so there are no accounts")
