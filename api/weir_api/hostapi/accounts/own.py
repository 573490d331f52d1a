"""One's own account: who one is, the password, the tokens."""

from weir_api.access.accounts import SESSION, Token
from weir_api.access.capabilities import Capability
from weir_api.access.identity import Identity, Role
from weir_api.access.service import AuthService
from weir_api.errors import AccessDeniedError, UnknownObjectError
from weir_api.hostapi.accounts.convert import (
    DISABLED,
    NEW_TOKEN_EXAMPLE,
    SESSION_EXAMPLE,
    TAG,
    TOKEN_EXAMPLE,
    TOO_MANY,
    USER_EXAMPLE,
    new_token_out,
    session_out,
    token_out,
    user_out,
)
from weir_api.hostapi.accounts.sessions import SessionCookie
from weir_api.hostapi.accounts.wire import (
    NewTokenOut,
    PasswordIn,
    SessionOut,
    TokenIn,
    TokenOut,
    UserOut,
)
from weir_api.hostapi.wire import MessageOut
from weir_api.web.dialect import Object, Reply
from weir_api.web.endpoint import Answer, Call, Json, endpoint


class OwnRoutes:
    """What each user does with their own account."""

    def __init__(self, service: AuthService) -> None:
        """Serve these accounts."""
        self._service = service
        self._cookie = SessionCookie(service)

    @endpoint(
        "GET",
        "/api/auth/me",
        Capability.USE_ACCOUNT,
        "Tell who calls",
        tag=TAG,
        answers={200: Answer("The caller.", UserOut, example=USER_EXAMPLE)},
        errors={503: DISABLED},
    )
    async def me(self, call: Call) -> Object:
        """Tell who calls."""
        return user_out(self._service.account_of(call.identity))

    @endpoint(
        "POST",
        "/api/auth/password",
        Capability.USE_ACCOUNT,
        "Change one's own password",
        tag=TAG,
        answers={200: Answer("Changed.", MessageOut, example={"message": "password changed"})},
        errors={
            403: "The current password is another one.",
            409: "The account was changed at the same time; try again.",
            429: TOO_MANY,
            503: DISABLED,
        },
        body=Json(
            PasswordIn,
            example={
                "current_password": "difference engine",
                "new_password": "analytical engine",
            },
        ),
        description="Ends all sessions and tokens of the user. Who came with a session gets"
        " the cookie of a new one.",
    )
    async def change_password(self, call: Call) -> Reply:
        """Change the caller's password."""
        wanted: PasswordIn = call.body
        shown = self._service.directory.token(call.identity.token_name or "")
        account = await self._service.logins.change_password(
            self._service.account_of(call.identity),
            wanted.current_password,
            wanted.new_password,
            token_name=call.identity.token_name or "",
        )
        headers = {}
        if shown is not None and shown.type == SESSION:
            headers = await self._cookie.start_session(account, call.request)
        return Reply({"message": "password changed"}, headers=headers)

    @endpoint(
        "GET",
        "/api/auth/tokens",
        Capability.USE_ACCOUNT,
        "List one's own tokens, newest first",
        tag=TAG,
        answers={200: Answer("The tokens.", list[TokenOut], example=[TOKEN_EXAMPLE])},
        errors={503: DISABLED},
        description="Administrators see all node credentials, too.",
    )
    async def tokens(self, call: Call) -> list[Object]:
        """List the caller's tokens."""
        return [token_out(token) for token in self._tokens(call.identity)]

    @endpoint(
        "POST",
        "/api/auth/tokens/create",
        Capability.USE_ACCOUNT,
        "Make a token",
        tag=TAG,
        answers={
            200: Answer("The token; it is shown only here.", NewTokenOut, example=NEW_TOKEN_EXAMPLE)
        },
        errors={
            403: "Only an administrator makes node credentials.",
            409: "The user has as many tokens as one may have.",
            503: DISABLED,
        },
        body=Json(TokenIn, example={"name": "laptop"}),
        description="A program shows it as `Authorization: Bearer <token>` and may do what"
        " its user may. With `node`, a foreign runner shows it and speaks for that host."
        " It ends after `expires_hours`; a user's also with their password.",
    )
    async def create_token(self, call: Call) -> Object:
        """Make a token for the caller, or for a host."""
        wanted: TokenIn = call.body
        account = self._service.account_of(call.identity)
        tokens = self._service.tokens
        if wanted.node is None:
            made = await tokens.make_api_token(account, wanted.name, wanted.expires_hours)
        elif account.role is Role.ADMIN:
            made = await tokens.make_node_token(
                account, wanted.name, wanted.node, wanted.expires_hours
            )
        else:
            raise AccessDeniedError("only an administrator makes node credentials")
        return new_token_out(*made)

    @endpoint(
        "DELETE",
        "/api/auth/tokens/{token_id}",
        Capability.USE_ACCOUNT,
        "Delete one of one's own tokens",
        tag=TAG,
        answers={200: Answer("Deleted.", MessageOut, example={"message": "deleted"})},
        errors={404: "The caller has no such token.", 503: DISABLED},
        params={"token_id": int},
        description="Administrators delete any node credential.",
    )
    async def delete_token(self, call: Call) -> Object:
        """Delete a token of the caller."""
        number = call.path["token_id"]
        found = next((one for one in self._tokens(call.identity) if one.id == number), None)
        if found is None or not await self._service.tokens.end(found):
            raise UnknownObjectError("there is no such token")
        return {"message": "deleted"}

    @endpoint(
        "GET",
        "/api/auth/sessions",
        Capability.USE_ACCOUNT,
        "List one's own logins, newest first",
        tag=TAG,
        answers={
            200: Answer("The sessions that are valid.", list[SessionOut], example=[SESSION_EXAMPLE])
        },
        errors={503: DISABLED},
    )
    async def sessions(self, call: Call) -> list[Object]:
        """List the caller's sessions."""
        return [
            session_out(one, is_current=one.name == call.identity.token_name)
            for one in self._sessions(call.identity)
        ]

    @endpoint(
        "DELETE",
        "/api/auth/sessions/{session_id}",
        Capability.USE_ACCOUNT,
        "End one of one's own logins",
        tag=TAG,
        answers={200: Answer("Ended.", MessageOut, example={"message": "ended"})},
        errors={404: "The caller has no such session.", 503: DISABLED},
        params={"session_id": int},
        description="Who may have seen the password changes it instead: that ends all.",
    )
    async def end_session(self, call: Call) -> Object:
        """End a session of the caller."""
        number = call.path["session_id"]
        found = next((one for one in self._sessions(call.identity) if one.id == number), None)
        if found is None or not await self._service.tokens.end(found):
            raise UnknownObjectError("there is no such session")
        return {"message": "ended"}

    def _sessions(self, identity: Identity) -> list[Token]:
        return self._service.tokens.sessions(self._service.account_of(identity))

    def _tokens(self, identity: Identity) -> list[Token]:
        return self._service.tokens.visible_to(self._service.account_of(identity))
