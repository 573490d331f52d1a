"""Tokens that end by themselves, and when they were last used."""

import datetime as dt
import ipaddress
from collections.abc import Awaitable, Callable

import pytest

from support.accounts import NEW_TOKEN_KEYS, SESSION_KEYS, assert_shape, call
from support.aio import until
from support.fake_api import FakeApi
from support.replica import PASSWORD, Replica, bearer, cookie_of
from weir_api.access.accounts import API, NODE
from weir_api.access.identity import Identity, Role
from weir_api.access.service import AuthSettings
from weir_api.access.tokens import LAST_USED_SECONDS, is_secret, new_secret
from weir_api.errors import UnauthenticatedError
from weir_crds.kinds import ACCESSTOKEN
from weir_crds.times import parse_time

ReplicaOf = Callable[..., Awaitable[Replica]]


def test_a_secret_is_256_bits_in_hex() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(is_secret(secret) and len(secret) == 64 for secret in made)
    for other in ("", "0f" * 31, "0F" * 32, "0f" * 32 + "0", "0f" * 32 + "\n", "g" * 64):
        assert not is_secret(other)


async def test_a_token_may_end_by_itself(facade: Replica) -> None:
    account = await facade.person("ada")
    token, secret = await facade.service.tokens.make_api_token(account, "ci", hours=2)
    assert token.expires_at is not None
    assert (token.expires_at - token.created_at).total_seconds() == pytest.approx(7200, abs=1)
    await call(facade.http, "GET", "/me", headers=bearer(secret))
    endless, _ = await facade.service.tokens.make_api_token(account, "ci")
    assert endless.expires_at is None


async def test_a_session_is_listed_until_it_ends(facade: Replica) -> None:
    account = await facade.person("ada")
    await facade.person("bob")
    tokens = facade.service.tokens
    await tokens.start_session(account, 1e-9)  # over already
    await facade.token(account)
    await facade.log_in("bob")
    assert tokens.sessions(account) == []
    await tokens.start_session(account, 1, client="Firefox")
    await tokens.start_session(account, 1, client="x" * 300)
    assert [one.display_name for one in tokens.sessions(account)] == ["x" * 100, "Firefox"]


async def test_a_request_that_began_before_a_new_password_makes_no_token_after_it(
    facade: Replica,
) -> None:
    account = await facade.person("ada")
    await facade.service.tokens.start_session(account, 1)
    token, _ = await facade.service.tokens.make_api_token(account, "ci")
    identities = []
    for shown in (facade.service.tokens.sessions(account)[0], token):
        identities.append(facade.service.account_of(_identity(facade, shown.name)))
    assert [one.name for one in identities] == ["ada", "ada"]
    shown_names = [facade.service.tokens.sessions(account)[0].name, token.name]
    await facade.service.logins.change_password(
        account, PASSWORD, "analytical engine", token_name="t"
    )
    for name in shown_names:
        with pytest.raises(UnauthenticatedError):
            facade.service.account_of(_identity(facade, name))


def _identity(facade: Replica, token_name: str) -> Identity:
    account = facade.service.directory.account("ada")
    assert account is not None
    return Identity(account.id, "ada", Role.USER, user_name="ada", token_name=token_name)


@pytest.mark.parametrize("token_type", [API, NODE])
async def test_the_first_use_is_written_at_once_and_later_ones_now_and_then(
    facade: Replica, fake_api: FakeApi, token_type: str
) -> None:
    account = await facade.person("root", role="admin")
    tokens = facade.service.tokens
    if token_type == API:
        await tokens.make_api_token(account, "ci")
    else:
        await tokens.make_node_token(account, "n1", "n1")
    (token,) = facade.service.directory.tokens_of_type(token_type)
    uses = facade.service._last_used
    before = len(fake_api.writes)
    uses.note(token, 1_000_000.0)
    uses.note(facade.service.directory.token(token.name) or token, 1_000_000.5)
    name = token.name

    def last_used() -> float:
        known = facade.service.directory.token(name)
        assert known is not None
        return known.last_used

    assert last_used() == 1_000_000.0  # shown at once, whenever it is written
    await until(lambda: len(fake_api.writes) > before)
    key = fake_api.writes[-1][1]
    written = fake_api.peek(ACCESSTOKEN, key)
    assert written is not None
    assert parse_time(written["status"]["lastUsedAt"]).timestamp() == 1_000_000.0
    current = facade.service.directory.token(name)
    assert current is not None
    uses.note(current, 1_000_000.0 + LAST_USED_SECONDS - 1)
    assert last_used() == 1_000_000.0 + LAST_USED_SECONDS - 1
    assert len(fake_api.writes) == before + 1


async def test_one_sees_ones_logins_and_ends_them(replica_of: ReplicaOf) -> None:
    facade = await replica_of(AuthSettings(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),)))
    account = await facade.person("ada")
    await facade.person("bob")
    bob = await facade.log_in("bob")
    token = await facade.token(account)
    where = {"X-Forwarded-For": "192.0.2.7", "User-Agent": "Firefox/140.0 " + "x" * 300}
    body = {"username": "ada", "password": PASSWORD}
    async with facade.http.post("/api/auth/login", json=body, headers=where) as answer:
        stolen = cookie_of(answer)
    mine = await facade.log_in("ada")

    listed = await call(facade.http, "GET", "/sessions", headers=mine)
    for session in listed:
        assert_shape(session, SESSION_KEYS)
    assert [one["is_current"] for one in listed] == [True, False]
    assert listed[1]["client"].startswith("192.0.2.7 Firefox/140.0 xxx")
    assert len(listed[1]["client"]) <= 100
    by_token = await call(facade.http, "GET", "/sessions", headers=token)
    assert [one["is_current"] for one in by_token] == [False, False]

    path = f"/sessions/{listed[1]['id']}"
    await call(facade.http, "DELETE", path, headers=bob, status=404)
    await call(facade.http, "GET", "/me", headers=stolen)
    await call(facade.http, "DELETE", path, headers=mine)
    await call(facade.http, "DELETE", path, headers=mine, status=404)
    await call(facade.http, "GET", "/me", headers=stolen, status=401)
    await call(facade.http, "GET", "/me", headers=mine)
    # A token is no session, and is not ended as one.
    (known,) = await call(facade.http, "GET", "/tokens", headers=mine)
    await call(facade.http, "DELETE", f"/sessions/{known['id']}", headers=mine, status=404)


async def test_a_token_that_ends_is_shown_as_such(facade: Replica) -> None:
    root = await facade.admin()
    for more in ({}, {"node": "n1"}):
        body = {"name": "ci", "expires_hours": 24, **more}
        made = await call(facade.http, "POST", "/tokens/create", body, root)
        assert_shape(made, NEW_TOKEN_KEYS)
        ends, begins = (
            dt.datetime.fromisoformat(made[key]) for key in ("expires_at", "created_at")
        )
        assert abs((ends - begins).total_seconds() - 86400) < 1
        listed = await call(facade.http, "GET", "/tokens", headers=root)
        (found,) = [one for one in listed if one["id"] == made["id"]]
        assert found["expires_at"] == made["expires_at"]
    for wrong in (0, -1, 10**6, "soon"):
        body = {"name": "ci", "expires_hours": wrong}
        await call(facade.http, "POST", "/tokens/create", body, root, status=422)


async def test_a_browser_of_any_name_logs_in(facade: Replica) -> None:
    account = await facade.person("ada")
    await facade.service.tokens.start_session(account, 1, client="na\udcefve")
    (found,) = facade.service.tokens.sessions(account)
    assert found.display_name == "na?ve"
