"""Users and tokens as the facade looks at them: made of objects once, when these change. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from weir_api.access.identity import Identity, Role
from weir_crds.access_token import AccessToken, password_mark
from weir_crds.ids import account_id
from weir_crds.meta import ObjectMeta
from weir_crds.names import ANNOTATION_CREATED_AT, ANNOTATION_INVITATION
from weir_crds.times import InvalidTimeError, parse_time
from weir_crds.user import User
from weir_kube.store import Object

SESSION, API, NODE, INVITATION = "Session", "API", "Node", "Invitation"
"""The types of tokens."""

_LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """A User."""

    obj: Object
    name: str
    uid: str
    id: int
    username: str
    display_name: str
    role: Role
    active: bool
    password_hash: str | None
    password_mark: str | None
    """Sessions and API tokens of another one are void."""
    created_at: dt.datetime
    invitation: str | None
    """Name of the AccessToken that they registered with."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of an invitation: the name of the User, and its uid once it was made."""

    user: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """An AccessToken."""

    obj: Object
    name: str
    id: int
    type: str
    hashed: str
    hint: str
    display_name: str
    user: str | None
    user_uid: str | None
    password_mark: str | None
    creator_uid: str | None
    host: str | None
    role: Role | None
    max_uses: int
    used_by: tuple[Use, ...]
    created_at: dt.datetime
    expires_at: dt.datetime | None
    expires: float
    """Seconds since the epoch; infinite where it never expires."""
    last_used_at: dt.datetime | None
    last_used: float
    """Seconds since the epoch; 0: never. This replica may know of later uses than were written."""
    last_used_written: float
    """What the object says of it."""

    def use_of(self, user: str) -> Use | None:
        """Return the use by the User of this name."""
        return next((use for use in self.used_by if use.user == user), None)


def account_of(obj: Object) -> Account | None:
    """Return the account that a User is; None: one that nobody can log in to.

    The API server cannot check that a derived name is the right one. A User under a wrong name
    would be a second one of its username, so it counts as not there.
    """
    try:
        user = User.model_validate(obj)
    except ValidationError:
        return None
    metadata, spec = user.metadata, user.spec
    return Account(
        obj=obj,
        name=metadata.name,
        uid=metadata.uid,
        id=account_id(metadata.uid),
        username=user.username,
        display_name=spec.display_name,
        role=Role(spec.role),
        active=spec.active and metadata.deletion_timestamp is None,
        password_hash=spec.password_hash,
        password_mark=password_mark(spec.password_hash),
        created_at=_created_at(metadata),
        invitation=metadata.annotations.get(ANNOTATION_INVITATION),
    )


def token_of(obj: Object) -> Token | None:
    """Return the token that an AccessToken is; None: one that is not as it should be."""
    try:
        found = AccessToken.model_validate(obj)
    except ValidationError:
        return None
    metadata, spec, status = found.metadata, found.spec, found.status
    expires_at, last_used_at = spec.expires_at, status.last_used_at
    if metadata.deletion_timestamp is not None:
        expires_at = _LONG_AGO
    return Token(
        obj=obj,
        name=metadata.name,
        id=account_id(metadata.uid),
        type=spec.type,
        hashed=spec.token_hash,
        hint=spec.hint,
        display_name=spec.display_name,
        user=spec.user_ref.name if spec.user_ref else None,
        user_uid=spec.user_ref.uid if spec.user_ref else None,
        password_mark=spec.password_mark,
        creator_uid=spec.created_by.uid if spec.created_by else None,
        host=spec.host_name,
        role=Role(spec.role) if spec.role else None,
        max_uses=spec.max_uses or 0,
        used_by=tuple(Use(use.user, use.uid) for use in status.used_by or ()),
        created_at=_created_at(metadata),
        expires_at=expires_at,
        expires=expires_at.timestamp() if expires_at else float("inf"),
        last_used_at=last_used_at,
        last_used=last_used_at.timestamp() if last_used_at else 0.0,
        last_used_written=last_used_at.timestamp() if last_used_at else 0.0,
    )


def is_holder(account: Account, token: Token) -> bool:
    """Tell whether the token is this User's.

    It may be one of an earlier User of the same name; or of an earlier password, whoever changed
    that, and whenever the login began: who has got hold of a session makes no token that outlasts
    it. Only an API token without a mark does, made by kubectl or for a User without a password.
    """
    if token.user != account.name or token.user_uid != account.uid:
        return False
    if token.type == API and token.password_mark is None:
        return True
    return token.password_mark == account.password_mark


def identity_of(account: Account, token: Token) -> Identity:
    """Return the identity of who shows a user's token."""
    return Identity(
        account.id,
        account.username,
        account.role,
        user_name=account.name,
        token_name=token.name,
    )


def node_identity(token: Token) -> Identity:
    """Return the identity of who shows a node's token."""
    return Identity(-1, f"node:{token.host}", Role.ANONY, token_name=token.name, host=token.host)


def user_ref(account: Account) -> Mapping[str, Any]:
    """Return how an AccessToken names a User."""
    return {"name": account.name, "uid": account.uid}


def _created_at(metadata: ObjectMeta) -> dt.datetime:
    noted = metadata.annotations.get(ANNOTATION_CREATED_AT)
    if noted is not None:
        try:
            return parse_time(noted)
        except InvalidTimeError:
            pass  # written by hand; the API server knows it to the second
    return metadata.creation_timestamp or _LONG_AGO
