"""The AccessToken: a secret by which a caller of the facade is known; only its hash is here."""

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from weir_crds.kinds import ACCESSTOKEN
from weir_crds.meta import ObjectMeta
from weir_crds.schema import (
    Column,
    Component,
    Immutable,
    Integer,
    ListMap,
    Model,
    ObjectName,
    Resource,
    Rule,
    Time,
)
from weir_crds.user import UserRole

MAX_USES = 1000
"""How often an invitation may be used at most."""

TokenType = Literal["Session", "API", "Invitation", "Node"]

_NAME_DIGITS = 40
_MARK_DIGITS = 32


def token_hash(secret: str) -> str:
    """Return what is kept of a secret: its SHA-256 in hex.

    A fast hash is right here: the secrets are 256 random bits, which nobody can try out.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def token_name(token_type: str, hashed: str) -> str:
    """Return the one name that the AccessToken with this hash can have."""
    return f"{token_type.lower()}-{hashed[:_NAME_DIGITS]}"


def password_mark(password_hash: str | None) -> str | None:
    """Return what sessions and API tokens remember of their user's ``passwordHash``.

    It is enough to see a change, and gives nothing away: the hash has a random salt.
    """
    if password_hash is None:
        return None
    return hashlib.sha256(password_hash.encode()).hexdigest()[:_MARK_DIGITS]


class UserRef(Model):
    """A User, and no later one of the same name."""

    name: ObjectName
    """Name of the User."""
    uid: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]+$", min_length=1, max_length=64)]
    """Its metadata.uid."""


class AccessTokenSpec(Model):
    """What the secret is good for."""

    rules = (
        Rule(
            "has(self.userRef) == (self.type in ['Session', 'API'])",
            "is what Session and API have, and no other type",
            field_path=".userRef",
            holds=lambda s: (s.user_ref is not None) == (s.type in ("Session", "API")),
        ),
        Rule(
            "has(self.hostName) == (self.type == 'Node')",
            "is what Node has, and no other type",
            field_path=".hostName",
            holds=lambda s: (s.host_name is not None) == (s.type == "Node"),
        ),
        Rule(
            "has(self.role) == (self.type == 'Invitation')",
            "is what Invitation has, and no other type",
            field_path=".role",
            holds=lambda s: (s.role is not None) == (s.type == "Invitation"),
        ),
        Rule(
            "has(self.maxUses) == (self.type == 'Invitation')",
            "is what Invitation has, and no other type",
            field_path=".maxUses",
            holds=lambda s: (s.max_uses is not None) == (s.type == "Invitation"),
        ),
        Rule(
            "!has(self.passwordMark) || self.type in ['Session', 'API']",
            "is what Session and API have, and no other type",
            field_path=".passwordMark",
            holds=lambda s: s.password_mark is None or s.type in ("Session", "API"),
        ),
        Rule(
            "self.type != 'Session' || has(self.expiresAt)",
            "a Session ends",
            field_path=".expiresAt",
            holds=lambda s: s.type != "Session" or s.expires_at is not None,
        ),
    )

    type: TokenType
    """Session: a login in a browser; API: a program of a user; Invitation: to register with; Node:
    a foreign runner that speaks for one host."""
    token_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    """SHA-256 of the secret in hex."""
    hint: Annotated[str, Field(max_length=16)] = ""
    """The first characters of the secret, for people to tell it from others."""
    display_name: Annotated[str, Field(max_length=100)] = ""
    """Name for people."""
    user_ref: UserRef | None = None
    """Whose it is: it is valid only while that User exists and is active. Session and API."""
    password_mark: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", max_length=32)] | None = None
    """First digits of the SHA-256 of the User's passwordHash when it was made: once that is
    another, it is void. Absent: the User had none; an API token without it outlives the password.
    Session and API."""
    created_by: UserRef | None = None
    """Who made it. Absent: not a user, or the one whose it is."""
    expires_at: Time | None = None
    """When it ends to be valid; it is deleted soon after. Absent: never."""
    host_name: ObjectName | None = None
    """The Host that its holder speaks for. Node."""
    role: UserRole | None = None
    """What who registers with it may do. Invitation."""
    max_uses: Annotated[Integer, Field(ge=1, le=MAX_USES)] | None = None
    """How many may register with it. Invitation."""


class Use(Model):
    """One use of an invitation: claimed before the User is made, so that there is never one too
    many."""

    user: ObjectName
    """Name of the User."""
    uid: Annotated[str, Field(max_length=64)] | None = None
    """Its metadata.uid. Absent: it was not made yet, and the same username may try again."""


class AccessTokenStatus(Model):
    """How it was used."""

    last_used_at: Time | None = None
    """When it was last used, give or take some minutes. API and Node."""
    used_by: Annotated[list[Use], ListMap("user"), Field(max_length=MAX_USES)] | None = None
    """Who registered with it. Invitation."""


class AccessToken(Model):
    """A secret by which a caller of the facade is known; only its hash is here."""

    rules = (
        Rule(
            "self.metadata.name == self.spec.type.lowerAscii() + '-'"
            f" + self.spec.tokenHash.substring(0, {_NAME_DIGITS})",
            "metadata.name must be the type in lower case, a dash, and the first"
            f" {_NAME_DIGITS} digits of tokenHash",
            holds=lambda t: t.metadata.name == token_name(t.spec.type, t.spec.token_hash),
        ),
        Rule(
            "!has(self.status) || !has(self.status.usedBy)"
            " || (has(self.spec.maxUses) && self.status.usedBy.size() <= self.spec.maxUses)",
            "more uses than maxUses",
            field_path=".status.usedBy",
            holds=lambda t: len(t.status.used_by or ()) <= (t.spec.max_uses or 0),
        ),
    )

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: Annotated[AccessTokenSpec, Immutable()]
    """What the secret is good for. Fixed at creation."""
    status: AccessTokenStatus = Field(default_factory=AccessTokenStatus)
    """How it was used."""


RESOURCE = Resource(
    kind=ACCESSTOKEN,
    model=AccessToken,
    singular="accesstoken",
    short_names=("wat",),
    columns=(
        Column("Type", ".spec.type", "What it is good for."),
        Column("User", ".spec.userRef.name", "Whose it is."),
        Column("Host", ".spec.hostName", "The Host that its holder speaks for."),
        Column("Role", ".spec.role", "What who registers with it may do."),
        # No date: kubectl shows how long ago one was, and <invalid> of one to come.
        Column("Expires", ".spec.expiresAt", "When it ends to be valid."),
        Column("Used", ".status.lastUsedAt", "When it was last used.", type="date"),
        Column("Age", ".metadata.creationTimestamp", "When it was made.", type="date"),
        Column("Display name", ".spec.displayName", "Name for people.", wide=True),
        Column("Hint", ".spec.hint", "The first characters of the secret.", wide=True),
    ),
    watched_by=frozenset({Component.API}),
    is_private=True,
)
