"""The table of capabilities says what it says."""

import pytest

from weir_api.access.capabilities import RULES, Capability, check, may_touch, sees_secrets
from weir_api.access.identity import ANONYMOUS, SYSTEM, Identity, Role
from weir_api.errors import STATUS, WeirError

OWNER = "12"
CALLERS = {
    "anonymous": ANONYMOUS,
    "newcomer": Identity(10, "newcomer", Role.ANONY, user_name="newcomer"),
    "node": Identity(-1, "node:n1", Role.ANONY, host="n1"),
    "viewer": Identity(11, "viewer", Role.VIEWER, user_name="viewer"),
    "user": Identity(12, "user", Role.USER, user_name="user"),
    "operator": Identity(14, "operator", Role.OPERATOR, user_name="operator"),
    "admin": Identity(15, "admin", Role.ADMIN, user_name="admin"),
    "system": SYSTEM,
}
# One column per caller, in the order above; 200: may.
TABLE = {
    Capability.PUBLIC: (200, 200, 200, 200, 200, 200, 200, 200),
    Capability.READ_HOSTS: (401, 403, 403, 200, 200, 200, 200, 200),
    Capability.LIST_TASKS: (401, 403, 403, 200, 200, 200, 200, 200),
    Capability.LIST_OWN_TASKS: (401, 403, 403, 403, 200, 200, 200, 200),
    Capability.READ_TASK: (403, 403, 403, 200, 200, 200, 200, 200),
    Capability.READ_OUTPUT: (401, 403, 403, 403, 200, 200, 200, 200),
    Capability.SUBMIT: (401, 403, 403, 403, 200, 200, 200, 200),
    Capability.CONTROL_TASK: (401, 403, 403, 403, 200, 200, 200, 200),
    Capability.DECIDE_APPROVAL: (401, 403, 403, 403, 403, 200, 200, 200),
    Capability.USE_ACCOUNT: (401, 200, 403, 200, 200, 200, 200, 503),
    Capability.INVITE: (403, 403, 403, 403, 403, 200, 200, 200),
    Capability.MANAGE_INVITATIONS: (403, 403, 403, 403, 403, 403, 200, 200),
    Capability.LIST_USERS: (401, 403, 403, 403, 403, 200, 200, 200),
    Capability.MANAGE_USERS: (401, 403, 403, 403, 403, 403, 200, 200),
    Capability.REPORT_HOST: (401, 403, 200, 403, 403, 403, 200, 200),
}


def test_the_table_is_complete() -> None:
    assert TABLE.keys() == set(Capability) == RULES.keys()


@pytest.mark.parametrize("capability", Capability)
@pytest.mark.parametrize("caller", CALLERS)
def test_who_has_what(capability: Capability, caller: str) -> None:
    expected = TABLE[capability][[*CALLERS].index(caller)]
    verdict = 200
    try:
        check(CALLERS[caller], capability)
    except WeirError as exc:
        verdict = STATUS[type(exc)]
    assert verdict == expected


@pytest.mark.parametrize(
    ("caller", "owner", "touches"),
    [
        ("user", OWNER, True),
        ("user", "13", False),
        ("user", None, False),
        ("viewer", "13", True),
        ("operator", None, True),
        ("admin", "13", True),
        ("system", None, True),
    ],
)
def test_the_role_user_touches_its_own_only(caller: str, owner: str | None, touches: bool) -> None:
    assert may_touch(CALLERS[caller], Capability.READ_TASK, owner) is touches
    assert may_touch(CALLERS[caller], Capability.READ_HOSTS, owner)


OWN_ONLY = {
    Capability.LIST_TASKS,
    Capability.READ_TASK,
    Capability.READ_OUTPUT,
    Capability.CONTROL_TASK,
}


@pytest.mark.parametrize("capability", Capability)
@pytest.mark.parametrize("caller", ["viewer", "user", "operator", "admin", "system"])
def test_what_is_others_is_kept_from_users_alone(capability: Capability, caller: str) -> None:
    kept = capability in OWN_ONLY and caller == "user"
    assert may_touch(CALLERS[caller], capability, "13") is not kept
    assert may_touch(CALLERS[caller], capability, None) is not kept
    assert may_touch(CALLERS[caller], capability, CALLERS[caller].owner)


def test_who_owns_nothing_owns_not_what_is_nobodys() -> None:
    nobody = Identity(12, "user", Role.USER)
    assert not may_touch(nobody, Capability.READ_TASK, None)
    assert not sees_secrets(nobody, None)


def test_roles_are_ordered_from_the_least_to_the_most() -> None:
    order = [Role.ANONY, Role.VIEWER, Role.USER, Role.OPERATOR, Role.ADMIN]
    assert order == [*Role]
    for rank, role in enumerate(order):
        for other_rank, other in enumerate(order):
            assert role.at_least(other) is (rank >= other_rank)


def test_only_users_own_what_they_make() -> None:
    owners = {name: caller.owner for name, caller in CALLERS.items()}
    assert owners == {
        "anonymous": None,
        "newcomer": "10",
        "node": None,
        "viewer": "11",
        "user": "12",
        "operator": "14",
        "admin": "15",
        "system": None,
    }


@pytest.mark.parametrize(
    ("caller", "owner", "sees"),
    [
        ("user", OWNER, True),
        ("user", "13", False),
        ("user", None, False),
        ("viewer", "11", False),
        ("anonymous", None, False),
        ("operator", "13", True),
        ("system", None, True),
    ],
)
def test_who_sees_environment_values(caller: str, owner: str | None, sees: bool) -> None:
    assert sees_secrets(CALLERS[caller], owner) is sees
