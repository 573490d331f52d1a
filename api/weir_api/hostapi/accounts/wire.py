"""What goes over the wire under ``/auth``; unknown keys are ignored."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from weir_api.access.passwords import MAX_LENGTH, MIN_LENGTH
from weir_crds.access_token import MAX_USES
from weir_crds.schema import ObjectName
from weir_crds.user import MAX_USERNAME, Username

MIN_USERNAME = 3
MAX_EXPIRES_HOURS = 720
MAX_TOKEN_HOURS = 10 * 366 * 24


def _canonical(value: Any) -> Any:
    """Bring it into the form that is kept before its characters are counted."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _zero_is_none(value: int | None) -> int | None:
    return value or None


NewUsername = Annotated[
    Username, BeforeValidator(_canonical), Field(min_length=MIN_USERNAME, max_length=MAX_USERNAME)
]
NewPassword = Annotated[str, Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH)]
GivenPassword = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]


class AuthStatus(BaseModel):
    """Whether one has to log in."""

    auth_enabled: bool
    session_expire_hours: Annotated[
        int | None, Field(description="How long a login lasts. null: authentication is off.")
    ]


class LoginIn(BaseModel):
    """A login."""

    username: Annotated[str, Field(min_length=1, max_length=MAX_USERNAME)]
    password: GivenPassword


class RegisterQuery(BaseModel):
    """What one registers with."""

    token: Annotated[
        str,
        Field(
            max_length=1024,
            description="An invitation's token, or the secret of the first administrator.",
        ),
    ]


class RegisterIn(BaseModel):
    """A new user."""

    username: NewUsername
    password: NewPassword
    display_name: Annotated[
        str | None, Field(max_length=100, description="null: the username.")
    ] = None


class PasswordIn(BaseModel):
    """A change of one's own password."""

    current_password: GivenPassword
    new_password: NewPassword


class TokenIn(BaseModel):
    """A new API token, or a node's."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    node: Annotated[
        ObjectName | None,
        Field(
            description="A hostname: the token is a node credential, by which a runner speaks for"
            " that host. Administrators only."
        ),
    ] = None
    expires_hours: Annotated[
        int | None,
        Field(ge=1, le=MAX_TOKEN_HOURS, description="How long it lasts. null: for ever."),
    ] = None


class InvitationIn(BaseModel):
    """A new invitation."""

    role: Annotated[str, Field(description="anony, viewer, user, operator or admin.")] = "user"
    group_id: Annotated[
        int | None, AfterValidator(_zero_is_none), Field(description="There are no groups: null.")
    ] = None
    max_usage: Annotated[int, Field(ge=1, le=MAX_USES)] = 1
    expires_hours: Annotated[int, Field(ge=1, le=MAX_EXPIRES_HOURS)] = 72


class UserChangesIn(BaseModel):
    """What to change of a user; null or absent: as it is."""

    display_name: Annotated[str | None, Field(max_length=100)] = None
    role: Annotated[str | None, Field(description="anony, viewer, user, operator or admin.")] = None
    is_active: bool | None = None
    password: Annotated[
        NewPassword | None, Field(description="A new one, for who forgot theirs.")
    ] = None


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserOut(_Out):
    """A user."""

    id: int
    username: str
    display_name: str | None
    role: str
    is_active: bool
    created_at: str | None


class LoggedInOut(_Out):
    """Who is logged in now; the session's cookie comes with it."""

    message: str
    user: UserOut


class TokenOut(_Out):
    """An API token, or a node's."""

    id: int
    name: str
    last_used: Annotated[str | None, Field(description="Give or take five minutes. null: never.")]
    created_at: str
    expires_at: Annotated[str | None, Field(description="null: never.")]


class NewTokenOut(_Out):
    """A token that was made; its secret is shown only here."""

    id: int
    name: str
    token: str
    created_at: str
    expires_at: Annotated[str | None, Field(description="null: never.")]


class SessionOut(_Out):
    """A login of the caller."""

    id: int
    client: Annotated[str, Field(description="The address and program that logged in.")]
    is_current: Annotated[bool, Field(description="The call itself came with it.")]
    created_at: str
    expires_at: str | None


class InvitationOut(_Out):
    """An invitation. Only the answer that makes it has the whole token."""

    id: int
    token: str
    role: str
    group_id: int | None
    max_usage: int
    usage_count: int
    remaining_uses: int
    expires_at: str | None
    is_valid: bool
    created_by_id: int | None
    created_at: str
