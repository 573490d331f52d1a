"""Who is calling."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a user may do, from the least to the most; each may do what those before it may."""

    ANONY = "anony"
    VIEWER = "viewer"
    USER = "user"
    OPERATOR = "operator"
    ADMIN = "admin"

    def at_least(self, minimum: "Role") -> bool:
        """Tell whether this role may do what ``minimum`` may."""
        return _RANK[self] >= _RANK[minimum]


_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller: a user, a node, or one of the two pseudo users."""

    id: int
    """The user's id; 0 for the system, -1 for nobody."""
    username: str
    role: Role
    user_name: str | None = None
    """Name of the User object; None for pseudo users and nodes."""
    token_name: str | None = None
    """Name of the AccessToken by which the caller is known."""
    host: str | None = None
    """The host that a node credential speaks for."""

    @property
    def name(self) -> str:
        """What tells callers apart: the name of the User, not the username, which may hold blanks;
        of pseudo users and nodes that."""
        return self.user_name or self.username

    @property
    def is_user(self) -> bool:
        """Tell whether a User object stands behind it."""
        return self.user_name is not None

    @property
    def owner(self) -> str | None:
        """What stands in the owner label of what the caller makes; None: nothing."""
        return str(self.id) if self.is_user else None


SYSTEM = Identity(0, "_system", Role.ADMIN)
"""Everyone, where authentication is off; and who holds the bootstrap secret."""

ANONYMOUS = Identity(-1, "_anonymous", Role.ANONY)
"""Who shows no valid credential."""
