"""``/api/auth/*``: exact keys and types of each answer, and each documented error."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from yarl import URL

from support.accounts import (
    INVITATION_KEYS,
    NEW_TOKEN_KEYS,
    TOKEN_KEYS,
    USER_KEYS,
    assert_shape,
    call,
)
from support.replica import PASSWORD, Replica, bearer, cookie_of
from weir_api.access.identity import Role
from weir_api.access.service import AuthSettings
from weir_api.errors import BadRequestError
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_kube.store import Key

ReplicaOf = Callable[..., Awaitable[Replica]]

NEW = {"username": "ada", "password": PASSWORD}


async def test_status_says_that_one_has_to_log_in(facade: Replica) -> None:
    told = await call(facade.http, "GET", "/status")
    assert told == {"auth_enabled": True, "session_expire_hours": 720}


async def test_login_sets_a_cookie_by_which_one_is_known(facade: Replica) -> None:
    ada = await facade.person("ada", displayName="Ada")
    body = {"username": "ada", "password": PASSWORD}
    async with facade.http.post("/api/auth/login", json=body) as answer:
        told = await answer.json()
        assert answer.status == 200
        cookie = answer.cookies["kohakuriver_session"]
    assert told.keys() == {"message", "user"}
    assert_shape(told["user"], USER_KEYS)
    assert told["user"] | {"created_at": ""} == {
        "id": ada.id,
        "username": "ada",
        "display_name": "Ada",
        "role": "user",
        "is_active": True,
        "created_at": "",
    }
    assert len(cookie.value) == 64
    assert (cookie["max-age"], cookie["path"], cookie["samesite"].lower()) == (
        str(720 * 3600), "/", "lax",
    )  # fmt: skip
    assert cookie["httponly"] is True
    assert not cookie["secure"]
    me = await call(facade.http, "GET", "/me", headers=cookie_of(answer))
    assert me == told["user"]


BAD_LOGINS: list[tuple[Any, int]] = [
    ({"username": "ada", "password": "wrong"}, 401),
    ({"username": "nobody", "password": PASSWORD}, 401),
    ({"username": "Ada", "password": PASSWORD}, 401),
    ({"username": "太郎", "password": PASSWORD}, 401),
    ({"username": "disabled", "password": "wrong"}, 401),
    ({"username": "disabled", "password": PASSWORD}, 403),
    ({"username": "keyless", "password": PASSWORD}, 401),
    ({"username": "", "password": PASSWORD}, 422),
    ({"username": "x" * 51, "password": PASSWORD}, 422),
    ({"username": "ada", "password": ""}, 422),
    ({"username": "ada", "password": "x" * 1025}, 422),
    ({"username": "ada"}, 422),
    ({"username": 7, "password": PASSWORD}, 422),
    ({"username": "a\0da", "password": PASSWORD}, 422),
    ([], 422),
    (None, 422),
]


async def test_login_refused(facade: Replica) -> None:
    await facade.person("ada")
    await facade.person("disabled", active=False)
    await facade.person("keyless", passwordHash=None)
    for body, status in BAD_LOGINS:
        async with facade.http.post("/api/auth/login", json=body) as answer:
            told = await answer.json()
            assert answer.status == status, (body, told)
            assert "Set-Cookie" not in answer.headers
            if status == 401:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert told == {"detail": "unknown username or wrong password"}


async def test_a_username_is_the_same_on_every_keyboard(facade: Replica) -> None:
    _, secret = await facade.service.invitations.make(None, Role.USER, 2, 1)
    told = await register(facade, secret, {**NEW, "username": "Rene\u0301e"})
    assert told["user"]["username"] == "Ren\u00e9e"
    await register(facade, secret, {**NEW, "username": "Ren\u00e9e"}, status=409)
    for typed in ("Rene\u0301e", "Ren\u00e9e"):
        await facade.log_in(typed)


async def test_the_cookie_is_for_https_only_where_that_is_said(replica_of: ReplicaOf) -> None:
    facade = await replica_of(AuthSettings(secure_cookie=True, session_hours=2))
    await facade.person("ada")
    body = {"username": "ada", "password": PASSWORD}
    async with facade.http.post("/api/auth/login", json=body) as answer:
        cookie = answer.cookies["kohakuriver_session"]
        assert cookie["secure"] is True
        assert cookie["max-age"] == "7200"
    told = await call(facade.http, "GET", "/status")
    assert told == {"auth_enabled": True, "session_expire_hours": 2}


async def test_more_logins_than_can_be_served_are_told_to_come_again(
    facade: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await facade.person("ada")
    cookie = await facade.log_in("ada")
    monkeypatch.setattr(facade.service.passwords, "_places", 0)
    body = {"username": "ada", "password": PASSWORD}
    async with facade.http.post("/api/auth/login", json=body) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
    await call(facade.http, "GET", "/me", headers=cookie)  # who is in is served meanwhile
    for _ in range(10):  # nothing was compared, so no guess is counted
        await call(facade.http, "POST", "/login", body, status=503)
    monkeypatch.undo()
    await facade.log_in("ada")


async def test_logout_ends_the_session(facade: Replica) -> None:
    await facade.person("ada")
    cookie = await facade.log_in("ada")
    other = await facade.log_in("ada")
    async with facade.http.post("/api/auth/logout", headers=cookie) as answer:
        assert answer.status == 200
        assert (await answer.json()).keys() == {"message"}
        gone = answer.cookies["kohakuriver_session"]
        assert (gone.value, gone["max-age"], gone["path"]) == ("", "0", "/")
    await call(facade.http, "GET", "/me", headers=cookie, status=401)
    await call(facade.http, "GET", "/me", headers=other)
    for headers in (cookie, {}, {"Cookie": "kohakuriver_session=x"}):
        await call(facade.http, "POST", "/logout", headers=headers)


async def test_me_needs_an_account(facade: Replica) -> None:
    told = await call(facade.http, "GET", "/me", status=401)
    assert told.keys() == {"detail"}
    newcomer = await facade.token(await facade.person("newcomer", role="anony"))
    assert_shape(await call(facade.http, "GET", "/me", headers=newcomer), USER_KEYS)


async def invitation(facade: Replica, root: dict[str, str], **wanted: Any) -> dict[str, Any]:
    made = await call(facade.http, "POST", "/invitations", wanted, root)
    assert isinstance(made, dict)
    return made


async def register(
    facade: Replica, token: str, body: dict[str, Any] = NEW, *, status: int = 200
) -> Any:
    path = str(URL("/register").with_query(token=token))
    return await call(facade.http, "POST", path, body, status=status)


async def test_register_uses_an_invitation_and_logs_in(facade: Replica) -> None:
    root = await facade.admin()
    invited = await invitation(facade, root, role="operator")
    url = f"/api/auth/register?token={invited['token']}"
    body = {"username": "Ada L.", "password": PASSWORD, "display_name": None}
    async with facade.http.post(url, json=body) as answer:
        assert answer.status == 200
        told = await answer.json()
        cookie = cookie_of(answer)
    assert told.keys() == {"message", "user"}
    assert_shape(told["user"], USER_KEYS)
    assert (told["user"]["username"], told["user"]["display_name"]) == ("Ada L.", "Ada L.")
    assert told["user"]["role"] == "operator"
    assert await call(facade.http, "GET", "/me", headers=cookie) == told["user"]
    await facade.log_in("Ada L.")
    listed = (await call(facade.http, "GET", "/invitations", headers=root))[0]
    assert (listed["usage_count"], listed["remaining_uses"], listed["is_valid"]) == (1, 0, False)
    await register(facade, invited["token"], {**NEW, "username": "bob"}, status=400)


async def test_register_refused(facade: Replica) -> None:
    root = await facade.admin()
    invited = await invitation(facade, root, max_usage=5)
    for token in ("", "x", "0f" * 32, "太" * 10, root["Authorization"].removeprefix("Bearer ")):
        await register(facade, token, status=400)
    await register(facade, "x" * 1025, status=422)
    await call(facade.http, "POST", "/register", NEW, status=422)
    for wrong in (
        {"username": "ab"},
        {"username": "x" * 51},
        {"username": "ada "},
        {"username": "a\nda"},
        {"password": "x" * 7},
        {"password": "x" * 1025},
        {"display_name": "x" * 101},
        {"username": None},
    ):
        await register(facade, invited["token"], {**NEW, **wrong}, status=422)
    await facade.person("ada")
    await register(facade, invited["token"], status=409)
    # None of it used the invitation.
    listed = (await call(facade.http, "GET", "/invitations", headers=root))[0]
    assert (listed["usage_count"], listed["remaining_uses"]) == (0, 5)
    await register(facade, invited["token"], {**NEW, "username": "x" * 50})


async def test_an_invitation_ends_at_the_moment_that_it_says(
    facade: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    invitations = facade.service.invitations
    made, secret = await invitations.make(None, Role.VIEWER, max_uses=1, hours=1)
    ends = made.expires_at
    assert ends is not None
    monkeypatch.setattr(invitations, "_now", lambda: ends - dt.timedelta(microseconds=1))
    assert invitations.is_valid(made)
    assert (await invitations.find(secret, "ada", "192.0.2.1")).name == made.name
    monkeypatch.setattr(invitations, "_now", lambda: ends)
    assert not invitations.is_valid(made)
    with pytest.raises(BadRequestError):
        await invitations.find(secret, "ada", "192.0.2.1")


async def test_an_expired_invitation_is_listed_and_good_for_nothing(facade: Replica) -> None:
    root = await facade.admin()
    made, secret = await facade.service.invitations.make(None, Role.USER, 1, -1)
    (listed,) = await call(facade.http, "GET", "/invitations", headers=root)
    assert listed["id"] == made.id
    assert (listed["is_valid"], listed["remaining_uses"]) == (False, 1)
    await register(facade, secret, status=400)


async def test_tokens(facade: Replica) -> None:
    await facade.person("ada")
    cookie = await facade.log_in("ada")
    first = await call(facade.http, "POST", "/tokens/create", {"name": "laptop"}, cookie)
    second = await call(facade.http, "POST", "/tokens/create", {"name": "laptop"}, cookie)
    for made in (first, second):
        assert_shape(made, NEW_TOKEN_KEYS)
        assert len(made["token"]) == 64
    listed = await call(facade.http, "GET", "/tokens", headers=bearer(first["token"]))
    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    for one in listed:
        assert_shape(one, TOKEN_KEYS)
    await call(facade.http, "DELETE", f"/tokens/{first['id']}", headers=cookie)
    await call(facade.http, "DELETE", f"/tokens/{first['id']}", headers=cookie, status=404)
    await call(facade.http, "GET", "/me", headers=bearer(first["token"]), status=401)
    await call(facade.http, "GET", "/me", headers=bearer(second["token"]))
    await call(facade.http, "DELETE", "/tokens/x", headers=cookie, status=422)
    await call(facade.http, "DELETE", f"/tokens/{2**70}", headers=cookie, status=404)


async def test_tokens_are_ones_own(facade: Replica) -> None:
    ada = await facade.token(await facade.person("ada"))
    root = await facade.admin()
    (listed,) = await call(facade.http, "GET", "/tokens", headers=ada)
    await call(facade.http, "DELETE", f"/tokens/{listed['id']}", headers=root, status=404)
    assert len(await call(facade.http, "GET", "/tokens", headers=root)) == 1
    for method, path, body in (
        ("GET", "/tokens", None),
        ("POST", "/tokens/create", {"name": "x"}),
        ("DELETE", f"/tokens/{listed['id']}", None),
        ("POST", "/password", {}),
    ):
        await call(facade.http, method, path, body, status=401)


async def test_a_token_needs_a_name(facade: Replica) -> None:
    ada = await facade.token(await facade.person("ada"))
    for body in ({}, {"name": ""}, {"name": "x" * 101}, {"name": 7}, None):
        await call(facade.http, "POST", "/tokens/create", body, ada, status=422)


async def test_the_last_use_of_a_token_is_told(facade: Replica) -> None:
    ada = await facade.token(await facade.person("ada"))
    for _ in range(200):
        (listed,) = await call(facade.http, "GET", "/tokens", headers=ada)
        if listed["last_used"] is not None:
            break
    assert_shape(listed, TOKEN_KEYS)
    used = dt.datetime.fromisoformat(listed["last_used"])
    assert abs((dt.datetime.now(dt.UTC) - used).total_seconds()) < 60


async def test_a_node_credential_speaks_for_its_host_and_is_an_administrators(
    facade: Replica,
) -> None:
    root = await facade.admin()
    ada = await facade.token(await facade.person("ada", role="operator"))
    wanted = {"name": "rack 1", "node": "n1"}
    await call(facade.http, "POST", "/tokens/create", wanted, ada, status=403)
    await call(facade.http, "POST", "/tokens/create", {**wanted, "node": "N 1"}, root, status=422)
    made = await call(facade.http, "POST", "/tokens/create", wanted, root)
    assert_shape(made, NEW_TOKEN_KEYS)
    node = bearer(made["token"])
    await call(facade.http, "GET", "/me", headers=node, status=403)
    await call(facade.http, "POST", "/invitations", {}, node, status=403)
    # Any administrator sees and deletes it, and nobody else.
    other = await facade.admin("other-root")
    assert made["id"] in {
        one["id"] for one in await call(facade.http, "GET", "/tokens", headers=other)
    }
    assert made["id"] not in {
        one["id"] for one in await call(facade.http, "GET", "/tokens", headers=ada)
    }
    await call(facade.http, "DELETE", f"/tokens/{made['id']}", headers=ada, status=404)
    await call(facade.http, "DELETE", f"/tokens/{made['id']}", headers=other)
    await call(facade.http, "GET", "/me", headers=node, status=401)


async def test_invitations(facade: Replica) -> None:
    root_account = await facade.person("root", role="admin")
    root = await facade.token(root_account)
    before = dt.datetime.now(dt.UTC)
    made = await call(facade.http, "POST", "/invitations", {}, root)
    assert_shape(made, INVITATION_KEYS)
    assert len(made["token"]) == 64
    assert made["created_by_id"] == root_account.id
    assert (made["role"], made["group_id"], made["is_valid"]) == ("user", None, True)
    assert (made["max_usage"], made["usage_count"], made["remaining_uses"]) == (1, 0, 1)
    expires = dt.datetime.fromisoformat(made["expires_at"])
    assert abs((expires - before).total_seconds() - 72 * 3600) < 60
    second = await call(
        facade.http, "POST", "/invitations",
        {"role": "admin", "group_id": 0, "max_usage": "3", "expires_hours": 720, "other": 1}, root,
    )  # fmt: skip
    listed = await call(facade.http, "GET", "/invitations", headers=root)
    assert [one["id"] for one in listed] == [second["id"], made["id"]]
    for one in listed:
        assert_shape(one, INVITATION_KEYS)
    assert listed[1] == {**made, "token": made["token"][:8] + "…"}
    await call(facade.http, "DELETE", f"/invitations/{made['id']}", headers=root)
    await call(facade.http, "DELETE", f"/invitations/{made['id']}", headers=root, status=404)
    await register(facade, made["token"], status=400)


BAD_INVITATIONS: list[tuple[Any, int]] = [
    ({"role": "root"}, 400),
    ({"role": ""}, 400),
    ({"group_id": 1}, 400),
    ({"max_usage": 0}, 422),
    ({"max_usage": 1001}, 422),
    ({"max_usage": 1.5}, 422),
    ({"expires_hours": 0}, 422),
    ({"expires_hours": 721}, 422),
    ({"role": None}, 422),
    ({"role": "a\0"}, 422),
    (None, 422),
]


async def test_an_invitation_refused(facade: Replica) -> None:
    root = await facade.admin()
    for body, status in BAD_INVITATIONS:
        await call(facade.http, "POST", "/invitations", body, root, status=status)
    assert await call(facade.http, "GET", "/invitations", headers=root) == []


async def test_operators_invite_viewers_only(facade: Replica) -> None:
    opal = await facade.token(await facade.person("opal", role="operator"))
    for role in ("anony", "user", "operator", "admin", "root"):
        await call(facade.http, "POST", "/invitations", {"role": role}, opal, status=403)
    await call(facade.http, "POST", "/invitations", {"role": "viewer"}, opal)


async def test_users(facade: Replica) -> None:
    root = await facade.admin()
    ada = await facade.person("ada", displayName="Ada")
    listed = await call(facade.http, "GET", "/users", headers=root)
    assert {one["username"] for one in listed} == {"root", "ada"}
    for one in listed:
        assert_shape(one, USER_KEYS)
    path = f"/users/{ada.id}"
    changed = await call(facade.http, "PATCH", path, {"role": "viewer"}, root)
    assert_shape(changed, USER_KEYS)
    assert (changed["role"], changed["display_name"], changed["is_active"]) == (
        "viewer",
        "Ada",
        True,
    )
    told = await call(facade.http, "PATCH", path, {"display_name": "Countess", "role": None}, root)
    assert (told["role"], told["display_name"]) == ("viewer", "Countess")
    assert await call(facade.http, "PATCH", path, {}, root) == told
    (listed_ada,) = [
        one for one in await call(facade.http, "GET", "/users", headers=root)
        if one["username"] == "ada"
    ]  # fmt: skip
    assert listed_ada == told
    assert (await call(facade.http, "DELETE", path, headers=root)).keys() == {"message"}
    await call(facade.http, "DELETE", path, headers=root, status=404)
    await call(facade.http, "PATCH", path, {"role": "user"}, root, status=404)


async def test_an_administrator_stays_one(facade: Replica) -> None:
    account = await facade.person("root", role="admin")
    root = await facade.token(account)
    path = f"/users/{account.id}"
    for body in ({"role": "user"}, {"role": "nothing"}, {"is_active": False}):
        await call(facade.http, "PATCH", path, body, root, status=400)
    await call(facade.http, "PATCH", path, {"role": "admin", "is_active": True}, root)
    await call(facade.http, "DELETE", path, headers=root, status=400)


async def test_a_change_refused(facade: Replica) -> None:
    root = await facade.admin()
    ada = await facade.person("ada")
    refused: list[tuple[Any, int]] = [
        ({"role": "root"}, 400),
        ({"role": 7}, 422),
        ({"is_active": "perhaps"}, 422),
        ({"display_name": "x" * 101}, 422),
        (None, 422),
    ]
    for body, status in refused:
        await call(facade.http, "PATCH", f"/users/{ada.id}", body, root, status=status)
    await call(facade.http, "PATCH", "/users/1", {"role": "user"}, root, status=404)
    await call(facade.http, "PATCH", "/users/x", {"role": "user"}, root, status=422)
    assert facade.service.directory.account("ada") == ada


async def test_a_disabled_user_is_out_at_once_and_their_tokens_do_not_come_back(
    facade: Replica,
) -> None:
    root = await facade.admin()
    account = await facade.person("ada")
    token, cookie = await facade.token(account), await facade.log_in("ada")
    path = f"/users/{account.id}"
    told = await call(facade.http, "PATCH", path, {"is_active": False}, root)
    assert told["is_active"] is False
    for headers in (token, cookie):
        await call(facade.http, "GET", "/me", headers=headers, status=401)
    body = {"username": "ada", "password": PASSWORD}
    await call(facade.http, "POST", "/login", body, status=403)
    await call(facade.http, "PATCH", path, {"is_active": True}, root)
    for headers in (token, cookie):
        await call(facade.http, "GET", "/me", headers=headers, status=401)
    await facade.log_in("ada")


async def test_a_role_changes_at_once(facade: Replica) -> None:
    root = await facade.admin()
    account = await facade.person("ada")
    ada = await facade.token(account)
    await call(facade.http, "GET", "/users", headers=ada, status=403)
    await call(facade.http, "PATCH", f"/users/{account.id}", {"role": "operator"}, root)
    await call(facade.http, "GET", "/users", headers=ada)


async def test_changing_the_password_ends_other_sessions_and_all_tokens(
    facade: Replica,
) -> None:
    account = await facade.person("ada")
    mine, other = await facade.log_in("ada"), await facade.log_in("ada")
    token = await facade.token(account)
    change = {"current_password": PASSWORD, "new_password": "analytical engine"}
    async with facade.http.post("/api/auth/password", json=change, headers=mine) as answer:
        assert answer.status == 200
        assert (await answer.json()).keys() == {"message"}
        renewed = cookie_of(answer)
    for headers in (mine, other, token):
        await call(facade.http, "GET", "/me", headers=headers, status=401)
    await call(facade.http, "GET", "/me", headers=renewed)
    assert await call(facade.http, "GET", "/tokens", headers=renewed) == []
    await call(facade.http, "POST", "/login", {"username": "ada", "password": PASSWORD}, status=401)
    await facade.log_in("ada", "analytical engine")
    await call(facade.http, "POST", "/password", change, renewed, status=403)
    short = {**change, "new_password": "short"}
    await call(facade.http, "POST", "/password", short, renewed, status=422)
    back = {"current_password": "analytical engine", "new_password": PASSWORD}
    made = await call(facade.http, "POST", "/tokens/create", {"name": "new"}, renewed)
    token = {"Authorization": f"Bearer {made['token']}"}
    async with facade.http.post("/api/auth/password", json=back, headers=token) as answer:
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers  # no session was there, and none is needed
    await call(facade.http, "GET", "/me", headers=renewed, status=401)


async def test_an_account_that_changes_meanwhile_keeps_its_password(
    facade: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await facade.person("ada")
    mine = await facade.log_in("ada")
    hash_ = facade.service.passwords.hash

    async def late(password: str) -> str:
        await facade.api.patch(USER, "ada", {"spec": {"displayName": "Countess"}})
        return await hash_(password)

    monkeypatch.setattr(facade.service.passwords, "hash", late)
    change = {"current_password": PASSWORD, "new_password": "analytical engine"}
    await call(facade.http, "POST", "/password", change, mine, status=409)
    await facade.log_in("ada")
    await call(facade.http, "GET", "/me", headers=mine)


async def test_a_login_under_way_while_the_password_changes_is_no_way_in(
    facade: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await facade.person("ada")
    mine = await facade.log_in("ada")
    start = facade.service.tokens.start_session
    checked, go_on = asyncio.Event(), asyncio.Event()

    async def late(*args: Any) -> str:
        checked.set()
        await go_on.wait()
        return await start(*args)

    with monkeypatch.context() as patched:
        patched.setattr(facade.service.tokens, "start_session", late)
        thief = asyncio.create_task(facade.log_in("ada"))
        await checked.wait()
    change = {"current_password": PASSWORD, "new_password": "analytical engine"}
    await call(facade.http, "POST", "/password", change, mine)
    go_on.set()
    await call(facade.http, "GET", "/me", headers=await thief, status=401)


async def test_a_password_set_with_kubectl_ends_sessions_and_tokens_too(facade: Replica) -> None:
    account = await facade.person("ada")
    cookie, token = await facade.log_in("ada"), await facade.token(account)
    hashed = await facade.service.passwords.hash("analytical engine")
    await facade.api.patch(USER, "ada", {"spec": {"passwordHash": hashed}})
    await facade.writer.fresh(USER, Key("", "ada"))
    for credential in (cookie, token):
        await call(facade.http, "GET", "/me", headers=credential, status=401)
    await facade.log_in("ada", "analytical engine")
    await facade.service.sweep.once()
    types = [obj["spec"]["type"] for obj in (await facade.api.list(ACCESSTOKEN)).items]
    assert types == ["Session"]


async def test_an_administrator_sets_the_password_of_who_forgot_it(facade: Replica) -> None:
    root = await facade.admin()
    account = await facade.person("ada")
    cookie, token = await facade.log_in("ada"), await facade.token(account)
    path = f"/users/{account.id}"
    for wrong in ("short", "x" * 1025, 7, "a\0b a\0b"):
        await call(facade.http, "PATCH", path, {"password": wrong}, root, status=422)
    await call(facade.http, "PATCH", path, {"password": None}, root)
    await call(facade.http, "GET", "/me", headers=cookie)
    told = await call(facade.http, "PATCH", path, {"password": "analytical engine"}, root)
    assert_shape(told, USER_KEYS)
    left = [obj["spec"] for obj in (await facade.api.list(ACCESSTOKEN)).items]
    assert [spec["userRef"]["name"] for spec in left] == ["root"]  # deleted, not only void
    for credential in (cookie, token):
        await call(facade.http, "GET", "/me", headers=credential, status=401)
    await call(facade.http, "POST", "/login", {"username": "ada", "password": PASSWORD}, status=401)
    ada = await facade.log_in("ada", "analytical engine")
    opal = await facade.token(await facade.person("opal", role="operator"))
    for headers in (ada, opal):
        body = {"password": "all mine now"}
        await call(facade.http, "PATCH", path, body, headers, status=403)
    # Their own they change by the one they know.
    me = await call(facade.http, "GET", "/me", headers=root)
    body = {"password": "analytical engine"}
    await call(facade.http, "PATCH", f"/users/{me['id']}", body, root, status=400)


async def test_secrets_are_nowhere_in_the_resources(facade: Replica) -> None:
    root = await facade.admin()
    invited = await invitation(facade, root)
    await register(facade, invited["token"])
    cookie = await facade.log_in("ada")
    token = await call(facade.http, "POST", "/tokens/create", {"name": "t"}, cookie)
    kept = str(
        [
            *(await facade.api.list(USER)).items,
            *(await facade.api.list(ACCESSTOKEN)).items,
        ]
    )
    secrets = (invited["token"], token["token"], cookie["Cookie"].partition("=")[2], PASSWORD)
    for secret in secrets:
        assert secret not in kept
        assert secret[:9] not in kept


async def test_a_user_made_with_kubectl_logs_in_and_one_deleted_with_it_is_out(
    facade: Replica,
) -> None:
    await facade.person("ada")
    cookie = await facade.log_in("ada")
    await facade.api.delete(USER, "ada")
    assert await facade.writer.fresh(USER, Key("", "ada")) is None
    await call(facade.http, "GET", "/me", headers=cookie, status=401)
