"""What the API server accepts of an AccessToken: only hashes, each under its one name, for good."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from support.api_client import Client
from support.cluster import Cluster
from weir_crds.access_token import AccessToken, token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN

BOB = {"name": "bob", "uid": "6f0c1d2e-0000-4000-8000-000000000000"}
LATER = "2036-11-22T10:00:00.000000Z"
GOOD: dict[str, dict[str, Any]] = {
    "Session": {"userRef": BOB, "expiresAt": LATER, "hint": "01234567", "passwordMark": "0f" * 16},
    "API": {"userRef": BOB, "displayName": "laptop"},
    "Invitation": {"role": "user", "maxUses": 2, "expiresAt": LATER, "createdBy": BOB},
    "Node": {"hostName": "n1", "createdBy": BOB},
}


@pytest.fixture(autouse=True)
def no_tokens_left(cluster: Cluster) -> Iterator[None]:
    """Afterwards there are only the AccessTokens that were there before."""
    before = names(cluster)
    yield
    for left in names(cluster) - before:
        cluster.admin.request("DELETE", ACCESSTOKEN.path(name=left))


def names(cluster: Cluster) -> set[str]:
    tokens = cluster.admin.json("GET", ACCESSTOKEN.path())["items"]
    return {token["metadata"]["name"] for token in tokens}


def token(kind: str, **spec: Any) -> dict[str, Any]:
    hashed = token_hash(uuid.uuid4().hex)
    made = {"type": kind, "tokenHash": hashed, **GOOD.get(kind, {}), **spec}
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AccessToken",
        "metadata": {"name": token_name(kind, hashed)},
        "spec": {name: value for name, value in made.items() if value is not None},
    }


def model_accepts(obj: dict[str, Any]) -> bool:
    try:
        AccessToken.model_validate(obj)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_one(kind: str, admin: Client) -> None:
    obj = token(kind)
    assert admin.create(obj) is None
    spec = admin.get(obj)["spec"]
    assert {name: spec[name] for name in obj["spec"]} == obj["spec"]
    assert model_accepts(admin.get(obj))


@pytest.mark.parametrize(
    ("sentence", "kind", "spec", "field"),
    [
        ("a type that is none", "Cookie", {}, "spec.type"),
        ("a secret in place of its hash", "API", {"tokenHash": "hunter2"}, "spec.tokenHash"),
        ("a hash in capitals", "API", {"tokenHash": "0F" * 32}, "spec.tokenHash"),
        ("a session of nobody", "Session", {"userRef": None}, "spec.userRef"),
        ("a session without end", "Session", {"expiresAt": None}, "spec.expiresAt"),
        ("an end that is no time", "Session", {"expiresAt": "soon"}, "spec.expiresAt"),
        ("a session with a whole hash", "Session", {"passwordMark": "0f" * 32}, "passwordMark"),
        ("a node with a password", "Node", {"passwordMark": "0f" * 16}, "spec.passwordMark"),
        ("a token of nobody", "API", {"userRef": None}, "spec.userRef"),
        ("a token of a user without uid", "API", {"userRef": {"name": "bob"}}, "spec.userRef.uid"),
        ("a token that brings a role", "API", {"role": "admin"}, "spec.role"),
        ("a token that speaks for a host", "API", {"hostName": "n1"}, "spec.hostName"),
        ("an invitation without role", "Invitation", {"role": None}, "spec.role"),
        ("an invitation to an unknown role", "Invitation", {"role": "root"}, "spec.role"),
        ("an invitation for ever so many", "Invitation", {"maxUses": 1001}, "spec.maxUses"),
        ("an invitation for nobody", "Invitation", {"maxUses": 0}, "spec.maxUses"),
        ("an invitation without a limit", "Invitation", {"maxUses": None}, "spec.maxUses"),
        ("an invitation of someone", "Invitation", {"userRef": BOB}, "spec.userRef"),
        ("a node's without host", "Node", {"hostName": None}, "spec.hostName"),
        ("a node's that is a user's", "Node", {"userRef": BOB}, "spec.userRef"),
        ("a hint that tells half of it", "API", {"hint": "0" * 17}, "spec.hint"),
    ],
)
def test_a_bad_one_is_refused_and_the_field_named(
    sentence: str, kind: str, spec: dict[str, Any], field: str, admin: Client
) -> None:
    obj = token(kind, **spec)
    assert field in (admin.create(obj) or ""), sentence
    assert not model_accepts(obj), sentence


@pytest.mark.parametrize("name", ["session-" + "0f" * 20, "api-" + "0f" * 20, "api", "other"])
def test_a_name_that_is_not_the_hashs_is_refused(name: str, admin: Client) -> None:
    obj = token("API")
    obj["metadata"]["name"] = name
    assert "metadata.name must be the type" in (admin.create(obj) or "")
    assert not model_accepts(obj)


@pytest.mark.parametrize(
    "change",
    [
        {"expiresAt": "2046-11-22T10:00:00Z"},
        {"expiresAt": None},
        {"userRef": {"name": "alice"}},
        {"userRef": {"uid": "another"}},
        {"displayName": "another"},
    ],
)
def test_the_spec_stays(change: dict[str, Any], admin: Client) -> None:
    obj = token("Session")
    assert admin.create(obj) is None
    assert "spec: Forbidden: is immutable" in (admin.patch(obj, {"spec": change}) or "")


def test_an_invitation_is_used_no_oftener_than_it_says(admin: Client) -> None:
    obj = token("Invitation")
    assert admin.create(obj) is None
    uses = [{"user": "a", "uid": "1"}, {"user": "b"}]
    assert admin.patch(obj, {"status": {"usedBy": uses}}, "status") is None
    verdict = admin.patch(obj, {"status": {"usedBy": [*uses, {"user": "c"}]}}, "status")
    assert "status.usedBy" in (verdict or "")
    assert "more uses than maxUses" in (verdict or "")
    assert admin.get(obj)["status"]["usedBy"] == uses


def test_what_is_no_invitation_is_used_by_nobody(admin: Client) -> None:
    obj = token("API")
    assert admin.create(obj) is None
    assert admin.patch(obj, {"status": {"lastUsedAt": LATER}}, "status") is None
    verdict = admin.patch(obj, {"status": {"usedBy": [{"user": "a"}]}}, "status")
    assert "more uses than maxUses" in (verdict or "")
