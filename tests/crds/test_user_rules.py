"""What the API server accepts of a User: one object per username, all that is kept bounded."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from support.api_client import Client
from support.cluster import Cluster
from weir_crds.kinds import USER
from weir_crds.user import User, user_name

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaA"


@pytest.fixture(autouse=True)
def no_users_left(cluster: Cluster) -> Iterator[None]:
    """Afterwards there are only the Users that were there before."""
    before = names(cluster)
    yield
    for left in names(cluster) - before:
        cluster.admin.request("DELETE", USER.path(name=left))


def names(cluster: Cluster) -> set[str]:
    return {user["metadata"]["name"] for user in cluster.admin.json("GET", USER.path())["items"]}


def named(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "User",
        "metadata": {"name": name},
        "spec": spec,
    }


def fresh(prefix: str = "p") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def model_accepts(obj: dict[str, Any]) -> bool:
    try:
        User.model_validate(obj)
    except ValidationError:
        return False
    return True


def test_a_user_without_a_spec_is_active_and_has_the_least_that_can_work(admin: Client) -> None:
    obj = named(fresh())
    del obj["spec"]
    assert admin.create(obj) is None
    spec = admin.get(obj)["spec"]
    assert (spec["role"], spec["active"]) == ("user", True)
    assert "username" not in spec
    assert "passwordHash" not in spec


@pytest.mark.parametrize(
    ("username", "plain"),
    [
        ("bob", True),
        ("b-2", True),
        ("x" * 50, True),
        ("Bob", False),
        ("b.o.b", False),
        ("-bob", False),
        ("Jürgen Groß", False),
        ("太郎", False),
        ("x" * 49 + "é", False),
        ("u-" + "0f" * 16, False),  # what a derived name looks like is never taken as it is
    ],
)
def test_the_name_follows_from_the_username(username: str, plain: bool, admin: Client) -> None:
    name = user_name(username)
    assert (name == username) is plain
    obj = named(name) if plain else named(name, username=username)
    assert admin.create(obj, dry_run=True) is None
    assert model_accepts(obj)
    assert User.model_validate(obj).username == username


@pytest.mark.parametrize(
    ("sentence", "name", "spec"),
    [
        ("a derived name without a username", "u-" + "0f" * 16, {}),
        ("a derived name for what can be a name", "u-" + "0f" * 16, {"username": "bob"}),
        ("another name than the username", "alice", {"username": "bob"}),
        ("a name that is no username", "a.b", {}),
        ("a name that is too long", "x" * 51, {}),
        ("a name in place of the derived one", "alice", {"username": "Alice"}),
    ],
)
def test_a_name_that_is_not_the_usernames_is_refused(
    sentence: str, name: str, spec: dict[str, Any], admin: Client
) -> None:
    obj = named(name, **spec)
    assert "metadata.name must be the username" in (admin.create(obj) or ""), sentence
    assert not model_accepts(obj), sentence


def test_a_wrong_derived_name_is_a_user_that_the_models_refuse() -> None:
    # The API server cannot count the hash; who reads Users passes over such a one.
    assert not model_accepts(named("u-" + "0f" * 16, username="Bob"))


@pytest.mark.parametrize(
    ("sentence", "spec", "field"),
    [
        ("a role that is none", {"role": "root"}, "spec.role"),
        ("a password in the clear", {"passwordHash": "hunter2hunter2"}, "spec.passwordHash"),
        ("a hash of another kind", {"passwordHash": HASH.replace("2id", "2i")},
         "spec.passwordHash"),
        ("a hash that takes more memory than there is",
         {"passwordHash": HASH.replace("m=19456", "m=99999999")}, "spec.passwordHash"),
        ("a display name without end", {"displayName": "x" * 101}, "spec.displayName"),
        ("white space at the end", {"username": "bob "}, "spec.username"),
        ("a control character", {"username": "b\x00b"}, "spec.username"),
        ("a username without end", {"username": "x" * 51}, "spec.username"),
        ("an empty username", {"username": ""}, "spec.username"),
        ("an unknown field", {"email": "a@b"}, "spec.email"),
    ],
)  # fmt: skip
def test_a_bad_user_is_refused_and_the_field_named(
    sentence: str, spec: dict[str, Any], field: str, admin: Client
) -> None:
    obj = named(user_name(spec.get("username", "bob")), **spec)
    assert field in (admin.create(obj) or ""), sentence
    if field != "spec.email":
        assert not model_accepts(obj), sentence


def test_all_but_the_username_may_change(admin: Client) -> None:
    username = fresh("Bob")
    obj = named(user_name(username), username=username)
    assert admin.create(obj) is None
    for spec in (
        {"displayName": "Robert"},
        {"role": "operator"},
        {"role": "viewer"},
        {"active": False},
        {"active": True},
        {"passwordHash": HASH},
        {"passwordHash": None},
    ):
        assert admin.patch(obj, {"spec": spec}) is None, spec
    other = fresh("Bob")
    for spec in ({"username": other}, {"username": None}):
        verdict = admin.patch(obj, {"spec": spec})
        assert "spec.username: Forbidden: is immutable after creation" in (verdict or "")
    plain = named(fresh())
    assert admin.create(plain) is None
    assert "is immutable" in (admin.patch(plain, {"spec": {"username": other}}) or "")
