"""The first administrator: each of the two secrets is good for one, once, while there is none."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from support.accounts import INVITATION_KEYS, assert_shape, call
from support.replica import PASSWORD, Replica
from weir_api.access.service import AuthSettings
from weir_crds.kinds import ACCESSTOKEN, USER
from weir_kube.store import Key

ReplicaOf = Callable[..., Awaitable[Replica]]

SECRETS = AuthSettings(admin_secret="open sesame", admin_register_secret="first come")
SESAME = {"X-Admin-Token": "open sesame"}


async def register(
    replica: Replica, token: str, username: str = "root", *, status: int = 200
) -> Any:
    async with replica.http.post(
        "/api/auth/register",
        params={"token": token},
        json={"username": username, "password": PASSWORD},
    ) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_the_register_secret_makes_one_administrator(replica_of: ReplicaOf) -> None:
    facade = await replica_of(SECRETS)
    await register(facade, "second come", status=400)
    told = await register(facade, "first come")
    assert told["user"]["role"] == "admin"
    await register(facade, "first come", "other", status=400)
    root = await facade.log_in("root")
    (listed,) = await call(facade.http, "GET", "/invitations", headers=root)
    assert_shape(listed, INVITATION_KEYS)
    assert (listed["expires_at"], listed["is_valid"]) == (None, False)


async def test_of_many_that_come_first_at_once_one_is_first(replica_of: ReplicaOf) -> None:
    replicas = [await replica_of(SECRETS) for _ in range(2)]

    async def come(number: int) -> int:
        async with replicas[number % 2].http.post(
            "/api/auth/register?token=first come",
            json={"username": f"root{number}", "password": PASSWORD},
        ) as answer:
            return answer.status

    verdicts = await asyncio.gather(*(come(number) for number in range(8)))
    assert sorted(verdicts) == [200] + [400] * 7
    assert len((await replicas[0].api.list(USER)).items) == 1


async def test_the_register_secret_stays_used_when_the_administrator_is_gone(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(SECRETS)
    await register(facade, "first come")
    await facade.api.delete(USER, "root")
    await facade.writer.fresh(USER, Key("", "root"))
    await register(facade, "first come", "other", status=400)
    await facade.service.sweep.once()
    await register(facade, "first come", "other", status=400)


async def test_the_register_secret_opens_nothing_while_there_is_an_administrator(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(SECRETS)
    await facade.person("root", role="admin")
    await register(facade, "first come", "other", status=400)
    assert (await facade.api.list(ACCESSTOKEN)).items == []


async def test_the_admin_secret_makes_the_first_administrators_invitation(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(SECRETS)
    wanted = {"role": "admin"}
    for headers in ({}, {"X-Admin-Token": ""}, {"X-Admin-Token": "open"}):
        await call(facade.http, "POST", "/invitations", wanted, headers, status=403)
    await call(facade.http, "POST", "/invitations", {**wanted, "max_usage": 2}, SESAME, status=400)
    made = await call(facade.http, "POST", "/invitations", wanted, SESAME)
    assert_shape(made, INVITATION_KEYS)
    assert (made["created_by_id"], made["role"]) == (None, "admin")
    # Asked again it is the same one: the answer may have been lost.
    assert await call(facade.http, "POST", "/invitations", wanted, SESAME) == made
    told = await register(facade, made["token"])
    assert told["user"]["role"] == "admin"
    await call(facade.http, "POST", "/invitations", wanted, SESAME, status=403)
    await register(facade, made["token"], "other", status=400)


async def test_the_admin_secret_is_good_for_that_only(replica_of: ReplicaOf) -> None:
    facade = await replica_of(SECRETS)
    for method, path, status in (
        ("GET", "/me", 401),
        ("GET", "/users", 401),
        ("GET", "/invitations", 403),
        ("DELETE", "/invitations/7", 403),
        ("DELETE", "/users/7", 401),
        ("POST", "/tokens/create", 401),
    ):
        body = {"name": "x"} if method == "POST" else None
        await call(facade.http, method, path, body, SESAME, status=status)


async def test_guessing_the_admin_secret_is_slowed_down(replica_of: ReplicaOf) -> None:
    facade = await replica_of(SECRETS)
    guess = {"X-Admin-Token": "guess"}
    for _ in range(6):
        await call(facade.http, "POST", "/invitations", {}, guess, status=403)
    await call(facade.http, "POST", "/invitations", {}, guess, status=429)
    await call(facade.http, "POST", "/invitations", {}, SESAME, status=429)


async def test_without_secrets_nothing_is_open(facade: Replica) -> None:
    for headers in ({"X-Admin-Token": ""}, {"X-Admin-Token": "None"}):
        await call(facade.http, "POST", "/invitations", {}, headers, status=403)
    for token in ("", "None"):
        await register(facade, token, status=400)


async def test_the_secrets_are_nowhere_in_the_resources(replica_of: ReplicaOf) -> None:
    facade = await replica_of(SECRETS)
    await call(facade.http, "POST", "/invitations", {"role": "admin"}, SESAME)
    await register(facade, "first come")
    kept = str((await facade.api.list(ACCESSTOKEN)).items)
    for secret in ("open sesame", "first come", "open", "first"):
        assert secret not in kept


async def test_the_admin_secret_opens_nothing_while_there_is_an_administrator(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(SECRETS)
    await facade.person("root", role="admin")
    for role in ("admin", "viewer"):
        await call(facade.http, "POST", "/invitations", {"role": role}, SESAME, status=403)
    assert (await facade.api.list(ACCESSTOKEN)).items == []
