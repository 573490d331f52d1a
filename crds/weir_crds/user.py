"""The User: a person, or a program, who calls the facade."""

import hashlib
import re
from typing import Annotated, Literal

from pydantic import Field

from weir_crds.kinds import USER
from weir_crds.meta import ObjectMeta
from weir_crds.schema import Column, Component, Immutable, Model, Resource, Rule

MAX_USERNAME = 50

_PLAIN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DERIVED = "^u-[0-9a-f]{32}$"

Username = Annotated[
    str,
    # No white space around it and no control characters: two names that look alike are one.
    Field(
        pattern=r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$",
        min_length=1,
        max_length=MAX_USERNAME,
    ),
]
UserRole = Literal["anony", "viewer", "user", "operator", "admin"]


def is_plain(username: str) -> bool:
    """Tell whether a username can be the name of its User as it is."""
    return (
        len(username) <= MAX_USERNAME
        and re.fullmatch(_PLAIN, username, re.ASCII) is not None
        and re.fullmatch(_DERIVED, username, re.ASCII) is None
    )


def user_name(username: str) -> str:
    """Return the one name that the User of this username can have.

    So the API server's refusal of a second object of a name is what keeps usernames apart.
    """
    if is_plain(username):
        return username
    digest = hashlib.sha256(username.encode("utf-8", "surrogatepass")).hexdigest()
    return f"u-{digest[:32]}"


class UserSpec(Model):
    """Who it is, and what they may do."""

    username: Annotated[Username, Immutable()] | None = None
    """What they log in with. Absent: the object's name. Fixed at creation."""
    display_name: Annotated[str, Field(max_length=100)] = ""
    """Name for people. May change."""
    role: UserRole = "user"
    """What they may do, from the least to the most: anony, viewer, user (own work, which waits for
    approval), operator, admin. May change."""
    active: bool = True
    """False: may not log in, and no session or token of theirs is valid. May change."""
    password_hash: (
        Annotated[
            str,
            Field(
                pattern=r"^[$]argon2id[$]v=19[$]m=[0-9]{1,6},t=[0-9]{1,2},p=[0-9]{1,2}"
                r"([$][A-Za-z0-9+/]{11,128}){2}$",
                max_length=320,
            ),
        ]
        | None
    ) = None
    """Their password, hashed with argon2id: `python -m weir_api hash-password` makes one. Absent:
    no login by password. May change."""


class User(Model):
    """A person, or a program, who calls the facade."""

    rules = (
        Rule(
            f"self.metadata.name.matches('{_DERIVED}')"
            " ? has(self.spec.username) && (!self.spec.username.matches("
            f"'{_PLAIN}') || self.spec.username.matches('{_DERIVED}'))"
            f" : self.metadata.name.matches('{_PLAIN}')"
            f" && size(self.metadata.name) <= {MAX_USERNAME}"
            " && (!has(self.spec.username) || self.spec.username == self.metadata.name)",
            "metadata.name must be the username where that is a word of at most 50 lower-case"
            " letters, digits and dashes, else u- and the first 32 hex digits of its SHA-256",
            holds=lambda user: user.metadata.name == user_name(user.username),
        ),
    )

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: UserSpec = Field(default_factory=UserSpec)
    """Who it is, and what they may do."""

    @property
    def username(self) -> str:
        """What they log in with."""
        return self.spec.username if self.spec.username is not None else self.metadata.name


RESOURCE = Resource(
    kind=USER,
    model=User,
    singular="user",
    short_names=("wu",),
    columns=(
        Column("Username", ".spec.username", "What they log in with, where it is not the name."),
        Column("Role", ".spec.role", "What they may do."),
        Column("Active", ".spec.active", "Whether they may log in.", type="boolean"),
        Column("Age", ".metadata.creationTimestamp", "When it was made.", type="date"),
        Column("Display name", ".spec.displayName", "Name for people.", wide=True),
    ),
    watched_by=frozenset({Component.API}),
    is_private=True,
)
