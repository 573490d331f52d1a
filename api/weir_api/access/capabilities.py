"""What each role may do: the one table of it. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from weir_api.access.identity import SYSTEM, Identity, Role
from weir_api.errors import AccessDeniedError, DisabledError, UnauthenticatedError


class Capability(Enum):
    """Something that a caller may or may not do."""

    PUBLIC = auto()
    """No credential needed."""
    READ_HOSTS = auto()
    LIST_TASKS = auto()
    LIST_OWN_TASKS = auto()
    READ_TASK = auto()
    READ_OUTPUT = auto()
    SUBMIT = auto()
    CONTROL_TASK = auto()
    DECIDE_APPROVAL = auto()
    USE_ACCOUNT = auto()
    """Read one's own account and manage one's own tokens."""
    INVITE = auto()
    MANAGE_INVITATIONS = auto()
    LIST_USERS = auto()
    MANAGE_USERS = auto()
    REPORT_HOST = auto()
    """Speak for a host; which one is checked by the handler."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who has a capability."""

    minimum: Role
    own_only: bool = False
    """The role ``user`` has it for what is its own; those above for all."""
    refuse_anonymous_with: int = 401
    """403 where clients expect that even for a caller without any credential."""


RULES: dict[Capability, Rule] = {
    Capability.PUBLIC: Rule(Role.ANONY),
    Capability.READ_HOSTS: Rule(Role.VIEWER),
    Capability.LIST_TASKS: Rule(Role.VIEWER, own_only=True),
    Capability.LIST_OWN_TASKS: Rule(Role.USER),
    Capability.READ_TASK: Rule(Role.VIEWER, own_only=True, refuse_anonymous_with=403),
    Capability.READ_OUTPUT: Rule(Role.USER, own_only=True),
    Capability.SUBMIT: Rule(Role.USER),
    Capability.CONTROL_TASK: Rule(Role.USER, own_only=True),
    Capability.DECIDE_APPROVAL: Rule(Role.OPERATOR),
    Capability.USE_ACCOUNT: Rule(Role.ANONY),
    Capability.INVITE: Rule(Role.OPERATOR, refuse_anonymous_with=403),
    Capability.MANAGE_INVITATIONS: Rule(Role.ADMIN, refuse_anonymous_with=403),
    Capability.LIST_USERS: Rule(Role.OPERATOR),
    Capability.MANAGE_USERS: Rule(Role.ADMIN),
    Capability.REPORT_HOST: Rule(Role.ADMIN),
}


def check(identity: Identity, capability: Capability) -> None:
    """Return if the caller has the capability, at least for what is its own.

    Raises:
        UnauthenticatedError: nobody is logged in.
        AccessDeniedError: the caller's role is too low.
        DisabledError: it wants its account, and there are none: authentication is off.
    """
    if capability is Capability.PUBLIC:
        return
    rule = RULES[capability]
    if capability is Capability.REPORT_HOST and identity.host is not None:
        return
    if capability is Capability.USE_ACCOUNT and not identity.is_user:
        if identity == SYSTEM:
            raise DisabledError("authentication is off, so there are no accounts")
        if identity.host is not None:
            raise AccessDeniedError("a node has no account")
        raise UnauthenticatedError("log in first")
    if identity.role.at_least(rule.minimum):
        return
    # A node, or a user whose role is `anony`, is known but may not.
    known = identity.is_user or identity.host is not None
    if not known and rule.refuse_anonymous_with == 401:
        raise UnauthenticatedError("log in first")
    raise AccessDeniedError(f"this needs the role {rule.minimum} or one above it")


def may_touch(identity: Identity, capability: Capability, owner: str | None) -> bool:
    """Tell whether a caller who has the capability has it for what ``owner`` owns.

    Args:
        identity: the caller.
        capability: what it wants.
        owner: the object's owner label; None: nobody owns it.
    """
    if not RULES[capability].own_only or identity.role is not Role.USER:
        return True
    return owner is not None and owner == identity.owner


def sees_secrets(identity: Identity, owner: str | None) -> bool:
    """Tell whether the caller may see environment values of what ``owner`` owns."""
    if identity.role.at_least(Role.OPERATOR):
        return True
    return identity.role is Role.USER and owner is not None and owner == identity.owner
