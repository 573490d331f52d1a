"""The directory always shows what the caches hold, whatever came in whatever order."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from weir_api.access.accounts import account_of, token_of
from weir_api.access.directory import Directory, Lookups
from weir_api.access.identity import Role
from weir_api.state import audit
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER, Kind
from weir_kube.api import Api
from weir_kube.store import Key

NAMES = ("ada", "bob", "u-" + "0f" * 16)


def user(name: str, uid: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid}, "spec": {"role": "user", **spec}}


def token(secret: str, owner: tuple[str, str] | None, uid: str, **spec: Any) -> dict[str, Any]:
    kind = "API" if owner else "Node"
    hashed = token_hash(secret)
    given = {"userRef": {"name": owner[0], "uid": owner[1]}} if owner else {"hostName": "n1"}
    return {
        "metadata": {"name": token_name(kind, hashed), "uid": uid},
        "spec": {"type": kind, "tokenHash": hashed, **given, **spec},
    }


def caches() -> Caches:
    """Return caches that nobody fills but the test."""
    return Caches(cast(Api, None))


users = st.builds(
    user,
    st.sampled_from(NAMES),
    st.sampled_from(["u1", "u2", "u3"]),
    role=st.sampled_from([*(role.value for role in Role), "root"]),
    active=st.booleans(),
)
tokens = st.builds(
    token,
    st.sampled_from(["s1", "s2", "s3"]),
    st.none() | st.tuples(st.sampled_from(NAMES[:2]), st.sampled_from(["u1", "u2"])),
    st.sampled_from(["t1", "t2"]),
)
events = st.tuples(
    st.sampled_from(["MODIFIED", "DELETED"]),
    st.one_of(st.tuples(st.just(USER), users), st.tuples(st.just(ACCESSTOKEN), tokens)),
)


@given(st.lists(events, max_size=30))
def test_it_follows_the_caches(happens: list[Any]) -> None:
    followed = caches()
    directory = Directory(followed)
    for version, (event, (kind, obj)) in enumerate(happens, start=1):
        obj["metadata"]["resourceVersion"] = str(version)
        followed.note(kind, obj, deleted=event == "DELETED")
    afresh = Directory(followed)
    by_name = sorted(directory.accounts, key=lambda one: one.name)
    assert by_name == sorted(afresh.accounts, key=lambda one: one.name)
    assert sorted(directory.tokens, key=lambda one: one.name) == sorted(
        afresh.tokens, key=lambda one: one.name
    )
    assert directory.has_admin == any(one.role is Role.ADMIN for one in by_name)
    for account in by_name:
        assert directory.tokens_of(account, ("API",)) == afresh.tokens_of(account, ("API",))
        assert all(one.user_uid == account.uid for one in directory.tokens_of(account, ("API",)))
    for number in ("u1", "u2", "u3"):
        found = account_of(user("ada", number))
        assert found is not None
        by_id = directory.account_by_id(found.id)
        assert by_id is None or by_id.uid == number


def test_a_token_has_no_holder_but_the_user_of_its_uid() -> None:
    followed = caches()
    directory = Directory(followed)
    obj = token("s1", ("ada", "u1"), "t1")
    found = token_of(obj)
    assert found is not None
    for version, (uid, holds) in enumerate((("u1", True), ("u2", False)), start=1):
        ada = user("ada", uid)
        ada["metadata"]["resourceVersion"] = str(version)
        followed.note(USER, ada)
        assert (directory.holder(found) is not None) is holds
    followed.note(USER, ada, deleted=True)
    assert directory.holder(found) is None


def test_what_is_not_as_it_should_be_is_not_there() -> None:
    followed = caches()
    directory = Directory(followed)
    followed.note(USER, user("u-" + "0f" * 16, "u1", username="Ada"))  # not the name of Ada
    followed.note(USER, user("ada", "u1", role="root"))
    misnamed = token("s1", None, "t1")
    misnamed["metadata"]["name"] = "node-" + "0f" * 20
    followed.note(ACCESSTOKEN, misnamed)
    assert (directory.accounts, directory.tokens) == ([], [])
    assert followed[USER].get(Key("", "ada")) is not None


def test_a_user_or_token_that_is_being_deleted_is_void() -> None:
    deleting = {"deletionTimestamp": "2026-11-22T10:00:00Z"}
    leaving = user("ada", "u1")
    leaving["metadata"] |= deleting
    account = account_of(leaving)
    assert account is not None
    assert not account.active
    going = token("s1", ("ada", "u1"), "t1")
    going["metadata"] |= deleting
    found = token_of(going)
    assert found is not None
    assert found.expires == 0


class Asked:
    """An API server that has nothing, and counts who asks."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def fresh(self, _: Kind, key: Key) -> None:
        self.keys.append(key.name)


async def test_made_up_tokens_of_one_peer_leave_others_their_lookups() -> None:
    now, api = [100.0], Asked()
    lookups = Lookups(cast(Writer, api), clock=lambda: now[0])

    async def find(peer: str, *made_up: str) -> int:
        """Ask for names from an address; return how many were asked for at the API server."""
        before = len(api.keys)
        context = audit.ACTOR.set(audit.Actor("-", peer, "-"))
        for name in made_up:
            assert not await lookups.find(ACCESSTOKEN, name)
        audit.ACTOR.reset(context)
        return len(api.keys) - before

    assert await find("192.0.2.1", *(f"a{number}" for number in range(1000))) == 10
    assert await find("198.51.100.1", "b", "b") == 1  # what is unknown is not asked for again soon
    now[0] += 1
    assert await find("192.0.2.1", *(f"c{number}" for number in range(1000))) == 5
    assert await find("2001:db8::1", *(f"d{number}" for number in range(10))) == 10
    assert await find("2001:db8::2", "e") == 0  # a neighbour of that
    all_together = [await find(f"203.0.113.{number}", f"f{number}") for number in range(99)]
    assert sum(all_together) == 25  # and of no use to who has many addresses
