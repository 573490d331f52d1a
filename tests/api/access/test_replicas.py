"""Two replicas of the facade share everything; of two at once the API server lets one through."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.accounts import call
from support.aio import until
from support.replica import PASSWORD, Replica, bearer, cookie_of
from weir_api.access.identity import Role
from weir_api.access.service import AuthSettings
from weir_crds.access_token import token_hash, token_name
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_kube.errors import ApiUnavailableError
from weir_kube.store import Key

ReplicaOf = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def pair(replica_of: ReplicaOf) -> tuple[Replica, Replica]:
    """Two replicas."""
    return await replica_of(), await replica_of()


async def register(replica: Replica, token: str, username: str) -> tuple[int, Any]:
    """Register and return status and body, or the cookie where it went well."""
    body = {"username": username, "password": PASSWORD}
    async with replica.http.post(f"/api/auth/register?token={token}", json=body) as answer:
        told = await answer.json()
        return answer.status, cookie_of(answer) if answer.status == 200 else told


async def test_what_one_replica_hands_out_the_other_knows_at_once(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    account = await one.person("ada")
    for _ in range(5):
        headers = await one.token(account)
        await call(other.http, "GET", "/me", headers=headers)
        cookie = await one.log_in("ada")
        await call(other.http, "GET", "/me", headers=cookie)
    await call(other.http, "POST", "/logout", headers=cookie)
    await until(lambda: not one.service.directory.tokens_of(account, ("Session",))[4:])
    await call(one.http, "GET", "/me", headers=cookie, status=401)


async def test_a_new_user_is_known_to_the_other_replica_at_once(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    for number in range(5):
        _, secret = await one.service.invitations.make(None, Role.USER, 1, 1)
        status, cookie = await register(one, secret, f"ada{number}")
        assert status == 200
        await call(other.http, "GET", "/me", headers=cookie)
        _, secret = await one.service.invitations.make(None, Role.USER, 1, 1)
        status, _ = await register(other, secret, f"bob{number}")
        assert status == 200
        await one.log_in(f"bob{number}")


async def test_a_new_password_is_known_to_the_other_replica_at_once(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    await one.person("ada")
    cookie, old = await one.log_in("ada"), PASSWORD
    for number in range(5):
        new = f"analytical engine {number}"
        change = {"current_password": old, "new_password": new}
        async with one.http.post("/api/auth/password", json=change, headers=cookie) as answer:
            assert answer.status == 200
            before, cookie, old = cookie, cookie_of(answer), new
        await call(other.http, "GET", "/me", headers=cookie)
        await call(other.http, "GET", "/me", headers=before, status=401)
        one, other = other, one


async def test_a_deleted_users_session_and_token_are_void_on_the_other_replica(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    root = await one.admin()
    account = await one.person("ada")
    token, cookie = await one.token(account), await one.log_in("ada")
    for headers in (token, cookie):
        await call(other.http, "GET", "/me", headers=headers)
    await call(one.http, "DELETE", f"/users/{account.id}", headers=root)
    for headers in (token, cookie):
        await call(one.http, "GET", "/me", headers=headers, status=401)
    await until(lambda: other.service.directory.account("ada") is None)
    for headers in (token, cookie):
        await call(other.http, "GET", "/me", headers=headers, status=401)
    # Who has the name later is somebody else.
    again = await one.person("ada")
    assert again.id != account.id
    for headers in (token, cookie):
        await call(one.http, "GET", "/me", headers=headers, status=401)
    assert (await one.api.list(ACCESSTOKEN)).items == [
        obj
        for obj in (await one.api.list(ACCESSTOKEN)).items
        if obj["spec"].get("userRef", {}).get("name") != "ada"
    ]


async def test_a_token_is_void_at_once_when_its_user_is_another_of_that_name(
    pair: tuple[Replica, Replica],
) -> None:
    # Deleted with kubectl: the tokens are still there, and their User has come again.
    one, _ = pair
    token = await one.token(await one.person("ada"))
    await one.api.delete(USER, "ada")
    await one.writer.fresh(USER, Key("", "ada"))
    await one.person("ada")
    await call(one.http, "GET", "/me", headers=token, status=401)


async def test_of_two_registrations_of_one_name_one_goes_through(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    for number in range(5):
        invited = [await one.service.invitations.make(None, Role.USER, 1, 1) for _ in range(2)]
        name = f"Ada {number}"
        verdicts = await asyncio.gather(
            register(one, invited[0][1], name), register(other, invited[1][1], name)
        )
        assert sorted(status for status, _ in verdicts) == [200, 409]
        # The one who came too late has the invitation still.
        loser = 0 if verdicts[0][0] == 409 else 1
        replica = (one, other)[loser]
        status, _ = await register(replica, invited[loser][1], f"Bob {number}")
        assert status == 200


async def test_one_invitation_is_used_no_oftener_than_it_says(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    root = await one.admin()
    made, secret = await one.service.invitations.make(None, Role.VIEWER, 3, 1)
    verdicts = await asyncio.gather(
        *(register((one, other)[n % 2], secret, f"person{n}") for n in range(8))
    )
    assert sorted(status for status, _ in verdicts) == [200] * 3 + [400] * 5
    users = (await one.api.list(USER)).items
    assert len([user for user in users if user["metadata"]["name"].startswith("person")]) == 3
    (listed,) = await call(one.http, "GET", "/invitations", headers=root)
    assert (listed["id"], listed["usage_count"], listed["is_valid"]) == (made.id, 3, False)


async def test_the_same_name_twice_at_once_with_one_invitation_is_one_use(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    made, secret = await one.service.invitations.make(None, Role.USER, 5, 1)
    verdicts = await asyncio.gather(
        *(register((one, other)[n % 2], secret, "ada") for n in range(6))
    )
    assert sorted(status for status, _ in verdicts) == [200] + [409] * 5
    token = await one.api.get(ACCESSTOKEN, made.name)
    (use,) = token["status"]["usedBy"]
    assert use == {"user": "ada", "uid": (await one.api.get(USER, "ada"))["metadata"]["uid"]}


async def test_who_lost_the_connection_tries_again_with_the_same_use(
    replica_of: ReplicaOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    facade = await replica_of()
    _, secret = await facade.service.invitations.make(None, Role.USER, 1, 1)
    create = facade.writer.create

    async def lost(*args: Any, **kwargs: Any) -> Any:
        raise ApiUnavailableError("no answer")

    monkeypatch.setattr(facade.writer, "create", lost)
    assert (await register(facade, secret, "ada"))[0] == 503
    monkeypatch.setattr(facade.writer, "create", create)
    assert (await register(facade, secret, "bob"))[0] == 400
    assert (await register(facade, secret, "ada"))[0] == 200


async def test_a_deleted_user_does_not_come_again_by_the_same_use(replica_of: ReplicaOf) -> None:
    facade = await replica_of()
    root = await facade.admin()
    _, secret = await facade.service.invitations.make(None, Role.USER, 1, 1)
    assert (await register(facade, secret, "ada"))[0] == 200
    account = facade.service.directory.account("ada")
    assert account is not None
    await call(facade.http, "DELETE", f"/users/{account.id}", headers=root)
    assert (await register(facade, secret, "ada"))[0] == 400


async def test_a_use_that_a_crash_left_unconfirmed_is_confirmed_by_the_sweep(
    replica_of: ReplicaOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    facade = await replica_of()
    made, secret = await facade.service.invitations.make(None, Role.USER, 1, 1)

    async def crash(*args: Any) -> None:
        raise ApiUnavailableError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(facade.service.invitations, "confirm", crash)
        assert (await register(facade, secret, "ada"))[0] == 200
    unconfirmed = facade.service.directory.token(made.name)
    assert unconfirmed is not None
    assert unconfirmed.used_by[0].uid is None
    await facade.service.sweep.once()
    confirmed = facade.service.directory.token(made.name)
    assert confirmed is not None
    assert confirmed.used_by[0].uid is not None
    await facade.api.delete(USER, "ada")
    await facade.writer.fresh(USER, Key("", "ada"))
    assert (await register(facade, secret, "ada"))[0] == 400


def expired(kind: str, expires: str, **spec: Any) -> dict[str, Any]:
    hashed = token_hash(uuid.uuid4().hex)
    full = {"type": kind, "tokenHash": hashed, "expiresAt": expires, **spec}
    return {"metadata": {"name": token_name(kind, hashed)}, "spec": full}


async def test_the_sweep_deletes_what_is_void_for_good_and_nothing_else(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    account = await one.person("ada")
    user, mark = {"name": account.name, "uid": account.uid}, account.password_mark
    past, future = "2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z"
    nobody = {"name": "nobody", "uid": "gone"}
    void = [
        expired("Session", past, userRef=user),
        expired("Invitation", past, role="user", maxUses=1),
        expired("API", past, userRef=user),
        expired("API", future, userRef=nobody),
        expired("Session", future, userRef={**user, "uid": "an-earlier-one"}, passwordMark=mark),
        expired("Session", future, userRef=user, passwordMark="0" * 32),
    ]
    kept = [
        expired("Session", future, userRef=user, passwordMark=mark),
        expired("API", future, userRef=user),
        expired("Invitation", future, role="user", maxUses=1),
        expired("Node", future, hostName="n1"),
    ]
    for body in (*void, *kept):
        await one.writer.create(ACCESSTOKEN, body)
    await until(lambda: len(other.service.directory.tokens) == 10)
    # Two at once do not get into each other's way.
    await asyncio.gather(one.service.sweep.once(), other.service.sweep.once())
    left = {obj["metadata"]["name"] for obj in (await one.api.list(ACCESSTOKEN)).items}
    assert left == {body["metadata"]["name"] for body in kept}
    await until(lambda: len(other.service.directory.tokens) == 4)
    assert await other.service.sweep.once() == 0


async def test_an_expired_session_is_void_before_it_is_swept(replica_of: ReplicaOf) -> None:
    facade = await replica_of(AuthSettings(session_hours=0))
    await facade.person("ada")
    cookie = await facade.log_in("ada")
    await call(facade.http, "GET", "/me", headers=cookie, status=401)


async def test_the_oldest_sessions_end_when_there_are_too_many(
    replica_of: ReplicaOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_api.access.tokens.MAX_SESSIONS", 3)
    facade = await replica_of()
    await facade.person("ada")
    await facade.person("bob")
    bob = await facade.log_in("bob")
    cookies = []
    for count in range(1, 6):
        cookies.append(await facade.log_in("ada"))
        for number, cookie in enumerate(cookies):
            status = 200 if number >= count - 3 else 401
            await call(facade.http, "GET", "/me", headers=cookie, status=status)
    await call(facade.http, "GET", "/me", headers=bob)


async def test_nobody_has_tokens_without_end(
    replica_of: ReplicaOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_api.access.tokens.MAX_API_TOKENS", 2)
    facade = await replica_of()
    root = await facade.person("root", role="admin")
    cookie = await facade.log_in("root")
    # Sessions, credentials of hosts and what others have do not count.
    await facade.token(await facade.person("ada"))
    await facade.service.tokens.make_node_token(root, "n1", "n1")
    made = await call(facade.http, "POST", "/tokens/create", {"name": "a"}, cookie)
    await call(facade.http, "POST", "/tokens/create", {"name": "b"}, cookie)
    await call(facade.http, "POST", "/tokens/create", {"name": "c"}, cookie, status=409)
    await call(facade.http, "DELETE", f"/tokens/{made['id']}", headers=cookie)
    await call(facade.http, "POST", "/tokens/create", {"name": "c"}, cookie)


async def test_a_user_under_a_wrong_name_is_nobody(replica_of: ReplicaOf) -> None:
    facade = await replica_of()
    ada = await facade.person("Ada L.")
    spec = {"username": "Ada L.", "role": "admin", "passwordHash": ada.password_hash}
    await facade.api.create(USER, {"metadata": {"name": "u-" + "0f" * 16}, "spec": spec})
    facade.service.directory.account("u-" + "0f" * 16)
    cookie = await facade.log_in("Ada L.")
    told = await call(facade.http, "GET", "/me", headers=cookie)
    assert (told["id"], told["role"]) == (ada.id, "user")
    assert not facade.service.directory.has_admin


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_bearer_is_known_however_it_is_written(scheme: str, facade: Replica) -> None:
    headers = await facade.token(await facade.person("ada"))
    secret = headers["Authorization"].split()[1]
    await call(facade.http, "GET", "/me", headers={"Authorization": f"{scheme} {secret}"})


async def test_an_invalid_cookie_falls_through_to_the_bearer_token(facade: Replica) -> None:
    headers = await facade.token(await facade.person("ada"))
    for value in ("x", "0f" * 32, "", "\u00e9"):
        cookie = {"Cookie": f"kohakuriver_session={value}"}
        await call(facade.http, "GET", "/me", headers=headers | cookie)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer " + "0f" * 32},
        {"Authorization": "Bearer " + "0F" * 32},
        {"Authorization": "Bearer " + "x" * 8000},
        {"Authorization": "Basic cm9vdDpyb290"},
        {"Cookie": "kohakuriver_session=" + "0f" * 32},
        {"Cookie": "other=1; kohakuriver_session="},
        {"Cookie": "=;;,\"\\"},
    ],
)  # fmt: skip
async def test_garbage_is_nobody(headers: dict[str, str], facade: Replica) -> None:
    await call(facade.http, "GET", "/me", headers=headers, status=401)


async def test_a_session_is_no_bearer_token_and_a_token_no_session(facade: Replica) -> None:
    token = await facade.token(await facade.person("ada"))
    cookie = await facade.log_in("ada")
    secret = cookie["Cookie"].partition("=")[2]
    await call(facade.http, "GET", "/me", headers=bearer(secret), status=401)
    swapped = {"Cookie": "kohakuriver_session=" + token["Authorization"].split()[1]}
    await call(facade.http, "GET", "/me", headers=swapped, status=401)


async def test_garbage_does_not_reach_the_api_server_without_end(
    facade: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    fresh = facade.writer.fresh

    async def counted(kind: Any, key: Any) -> Any:
        asked.append(key)
        return await fresh(kind, key)

    monkeypatch.setattr(facade.writer, "fresh", counted)
    same = bearer("0f" * 32)
    for _ in range(20):
        await call(facade.http, "GET", "/me", headers=same, status=401)
    assert len(asked) == 2  # an API token, or a node's
    for number in range(200):
        await call(facade.http, "GET", "/me", headers=bearer(f"{number:064x}"), status=401)
    assert len(asked) < 150
    # Who is known is served meanwhile.
    known = await facade.token(await facade.person("ada"))
    await call(facade.http, "GET", "/me", headers=known)


async def test_another_site_does_nothing_with_the_users_cookie(facade: Replica) -> None:
    await facade.person("ada")
    cookie = await facade.log_in("ada")
    for site in ("cross-site", "same-site"):
        other_site = cookie | {"Sec-Fetch-Site": site}
        await call(facade.http, "POST", "/tokens/create", {"name": "x"}, other_site, status=403)
        await call(facade.http, "GET", "/me", headers=other_site)
    for site in ("same-origin", "none"):
        headers = cookie | {"Sec-Fetch-Site": site}
        await call(facade.http, "POST", "/tokens/create", {"name": "x"}, headers)


async def test_without_authentication_another_site_does_nothing_either(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(AuthSettings(enabled=False))
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {"Sec-Fetch-Site": site}
        await call(facade.http, "POST", "/invitations", {}, headers, status=status)
        await call(facade.http, "GET", "/users", headers=headers)


async def test_while_the_api_server_is_away_who_is_known_stays_known(
    facade: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await facade.person("ada")
    cookie = await facade.log_in("ada")

    async def away(*args: Any, **kwargs: Any) -> Any:
        raise ApiUnavailableError("no answer")

    for verb in ("get", "create", "patch", "delete"):
        monkeypatch.setattr(facade.api, verb, away)
    await call(facade.http, "GET", "/me", headers=cookie)
    await call(facade.http, "GET", "/tokens", headers=cookie)
    await call(facade.http, "GET", "/status", headers=bearer("0f" * 32))
    body = {"username": "ada", "password": PASSWORD}
    for headers, method, path, sent in (
        (bearer("0f" * 32), "GET", "/me", None),
        (cookie, "POST", "/tokens/create", {"name": "x"}),
        (cookie, "POST", "/login", body),
        (cookie, "POST", "/logout", None),
    ):
        async with facade.http.request(
            method, f"/api/auth{path}", json=sent, headers=headers
        ) as answer:
            assert answer.status == 503, (method, path)
            assert int(answer.headers["Retry-After"]) >= 1


async def test_with_authentication_off_there_are_no_accounts(replica_of: ReplicaOf) -> None:
    facade = await replica_of(AuthSettings(enabled=False))
    told = await call(facade.http, "GET", "/status")
    assert told == {"auth_enabled": False, "session_expire_hours": None}
    login = {"username": "ada", "password": PASSWORD}
    for method, path, body in (
        ("GET", "/me", None),
        ("POST", "/login", login),
        ("POST", "/register?token=x", login),
        ("GET", "/tokens", None),
        ("POST", "/tokens/create", {"name": "x"}),
        ("DELETE", "/tokens/7", None),
        ("POST", "/password", {"current_password": PASSWORD, "new_password": PASSWORD}),
    ):
        await call(facade.http, method, path, body, status=503)
    await call(facade.http, "POST", "/logout")
    made = await call(facade.http, "POST", "/invitations", {"role": "admin", "max_usage": 3})
    assert made["created_by_id"] is None
    assert len(await call(facade.http, "GET", "/invitations")) == 1
    await call(facade.http, "DELETE", f"/invitations/{made['id']}")
    assert await call(facade.http, "GET", "/users") == []
    await call(facade.http, "DELETE", "/users/7", status=404)
