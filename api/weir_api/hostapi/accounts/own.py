"""One's own account: who one is, the password, the tokens."""

from weir_api.access.accounts import SESSION, Account, Token
from weir_api.access.capabilities import Capability
from weir_api.access.identity import Identity, Role
from weir_api.access.service import AuthService
from weir_api.errors import AccessDeniedError, UnauthenticatedError, UnknownObjectError
from weir_api.hostapi.accounts.convert import (
    DISABLED,
    NEW_TOKEN,
    TAG,
    TOKEN,
    TOO_MANY,
    USER,
    new_token_out,
    token_out,
    user_out,
)
from weir_api.hostapi.accounts.sessions import SessionCookie
from weir_api.hostapi.accounts.wire import (
    NewTokenOut,
    PasswordIn,
    TokenIn,
    TokenOut,
    UserOut,
)
from weir_api.hostapi.message import MessageOut
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
        answers={200: Answer("The caller.", UserOut, example=USER)},
        errors={503: DISABLED},
    )
    async def me(self, call: Call) -> Object:
        """Tell who calls."""
        return user_out(self._account(call.identity))

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
        description="Ends all sessions of the user; tokens stay. Who came with a session"
        " gets the cookie of a new one.",
    )
    async def change_password(self, call: Call) -> Reply:
        """Change the caller's password."""
        wanted: PasswordIn = call.body
        shown = self._service.directory.token(call.identity.token_name or "")
        account = await self._service.logins.change_password(
            self._account(call.identity),
            wanted.current_password,
            wanted.new_password,
            token_name=call.identity.token_name or "",
            peer=self._service.peers.of(call.request),
        )
        headers = {}
        if shown is not None and shown.type == SESSION:
            headers = await self._cookie.start_session(account)
        return Reply({"message": "password changed"}, headers=headers)

    @endpoint(
        "GET",
        "/api/auth/tokens",
        Capability.USE_ACCOUNT,
        "List one's own tokens, newest first",
        tag=TAG,
        answers={200: Answer("The tokens.", list[TokenOut], example=[TOKEN])},
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
        answers={200: Answer("The token; it is shown only here.", NewTokenOut, example=NEW_TOKEN)},
        errors={
            403: "Only an administrator makes node credentials.",
            409: "The user has as many tokens as one may have.",
            503: DISABLED,
        },
        body=Json(TokenIn, example={"name": "laptop"}),
        description="A program shows it as `Authorization: Bearer <token>` and may do what"
        " its user may. With `node`, a foreign runner shows it and speaks for that host.",
    )
    async def create_token(self, call: Call) -> Object:
        """Make a token for the caller, or for a host."""
        wanted: TokenIn = call.body
        account = self._account(call.identity)
        tokens = self._service.tokens
        if wanted.node is None:
            made = await tokens.make_api_token(account, wanted.name)
        elif account.role is Role.ADMIN:
            made = await tokens.make_node_token(account, wanted.name, wanted.node)
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

    def _account(self, identity: Identity) -> Account:
        account = self._service.directory.account(identity.user_name or "")
        if account is None or account.id != identity.id:
            raise UnauthenticatedError("the account is gone")
        return account

    def _tokens(self, identity: Identity) -> list[Token]:
        return self._service.tokens.visible_to(self._account(identity))
