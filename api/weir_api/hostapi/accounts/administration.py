"""Who may come, and who is there: invitations and users."""

from weir_api.access.accounts import Token
from weir_api.access.capabilities import Capability
from weir_api.access.identity import SYSTEM, Role
from weir_api.access.service import AuthService
from weir_api.errors import AccessDeniedError, BadRequestError
from weir_api.hostapi.accounts.convert import (
    INVITATION_EXAMPLE,
    LISTED_INVITATION_EXAMPLE,
    TAG,
    TOO_MANY,
    USER_EXAMPLE,
    invitation_out,
    user_out,
)
from weir_api.hostapi.accounts.wire import (
    InvitationIn,
    InvitationOut,
    UserChangesIn,
    UserOut,
)
from weir_api.hostapi.wire import MessageOut
from weir_api.web.dialect import Object
from weir_api.web.endpoint import Answer, Call, Json, endpoint

_DELETED = Answer("Deleted.", MessageOut, example={"message": "deleted"})


class InvitationRoutes:
    """Invitations: without one, nobody registers."""

    def __init__(self, service: AuthService) -> None:
        """Serve these accounts."""
        self._service = service

    @endpoint(
        "GET",
        "/api/auth/invitations",
        Capability.MANAGE_INVITATIONS,
        "List invitations, newest first",
        tag=TAG,
        answers={
            200: Answer(
                "All that are not swept yet, used up and expired ones too.",
                list[InvitationOut],
                example=[LISTED_INVITATION_EXAMPLE],
            )
        },
        description="`token` is shown only as far as to tell one from another.",
    )
    async def list_all(self, _: Call) -> list[Object]:
        """List all invitations."""
        return [self._out(one) for one in self._service.invitations.list()]

    @endpoint(
        "POST",
        "/api/auth/invitations",
        Capability.INVITE,
        "Make an invitation",
        tag=TAG,
        answers={
            200: Answer(
                "The invitation; its token is shown only here.",
                InvitationOut,
                example=INVITATION_EXAMPLE,
            )
        },
        errors={
            400: "There is no such role, or no such group.",
            403: "Operators invite viewers only.",
            429: TOO_MANY,
        },
        body=Json(InvitationIn, example={"role": "user", "max_usage": 1, "expires_hours": 72}),
        headers={
            "X-Admin-Token": "The secret that the facade was started with. It stands for"
            " an administrator here, while there is none."
        },
    )
    async def create(self, call: Call) -> Object:
        """Make an invitation."""
        wanted: InvitationIn = call.body
        identity = call.identity
        if identity.role is Role.OPERATOR and wanted.role != Role.VIEWER:
            raise AccessDeniedError("operators invite viewers only")
        if wanted.role not in [*Role]:
            raise BadRequestError(f"there is no role {wanted.role!r}")
        if wanted.group_id is not None:
            raise BadRequestError("there are no groups")
        role, uses, hours = Role(wanted.role), wanted.max_usage, wanted.expires_hours
        invitations = self._service.invitations
        if identity == SYSTEM and self._service.settings.enabled:
            invitation, secret = await invitations.make_first(role, uses, hours)
        else:
            creator = self._service.directory.account(identity.user_name or "")
            invitation, secret = await invitations.make(creator, role, uses, hours)
        return self._out(invitation, secret)

    @endpoint(
        "DELETE",
        "/api/auth/invitations/{invitation_id}",
        Capability.MANAGE_INVITATIONS,
        "Delete an invitation",
        tag=TAG,
        answers={200: _DELETED},
        errors={404: "There is no such invitation."},
        params={"invitation_id": int},
        description="Who registered with it stays.",
    )
    async def delete(self, call: Call) -> Object:
        """Delete an invitation."""
        await self._service.invitations.take_back(call.path["invitation_id"])
        return {"message": "deleted"}

    def _out(self, invitation: Token, secret: str | None = None) -> dict[str, object]:
        valid = self._service.invitations.is_valid(invitation)
        return invitation_out(invitation, is_valid=valid, secret=secret)


class UserRoutes:
    """Users, for those who manage them."""

    def __init__(self, service: AuthService) -> None:
        """Serve these accounts."""
        self._users = service.users

    @endpoint(
        "GET",
        "/api/auth/users",
        Capability.LIST_USERS,
        "List users, newest first",
        tag=TAG,
        answers={200: Answer("All users.", list[UserOut], example=[USER_EXAMPLE])},
    )
    async def list_all(self, _: Call) -> list[Object]:
        """List all users."""
        return [user_out(account) for account in self._users.list()]

    @endpoint(
        "PATCH",
        "/api/auth/users/{user_id}",
        Capability.MANAGE_USERS,
        "Change a user",
        tag=TAG,
        answers={200: Answer("The user as they are now.", UserOut, example=USER_EXAMPLE)},
        errors={
            400: "There is no such role; or an administrator takes the role from"
            " themselves, disables themselves, or sets their own password.",
            404: "There is no such user.",
        },
        body=Json(UserChangesIn, example={"role": "operator"}),
        params={"user_id": int},
        description="Disabling a user ends their sessions and tokens at once, a new"
        " password their sessions.",
    )
    async def change(self, call: Call) -> Object:
        """Change a user."""
        wanted: UserChangesIn = call.body
        changed = await self._users.change(
            self._users.get(call.path["user_id"]),
            by=call.identity.id,
            display_name=wanted.display_name,
            role=wanted.role,
            active=wanted.is_active,
            password=wanted.password,
        )
        return user_out(changed)

    @endpoint(
        "DELETE",
        "/api/auth/users/{user_id}",
        Capability.MANAGE_USERS,
        "Delete a user",
        tag=TAG,
        answers={200: _DELETED},
        errors={
            400: "An administrator deletes themselves.",
            404: "There is no such user.",
        },
        params={"user_id": int},
        description="Their sessions and tokens are void at once. Their Tasks stay, with an"
        " owner that nobody becomes again.",
    )
    async def delete(self, call: Call) -> Object:
        """Delete a user."""
        await self._users.delete(self._users.get(call.path["user_id"]), by=call.identity.id)
        return {"message": "deleted"}
