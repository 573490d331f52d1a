"""Who guesses passwords is slowed down, and locks nobody out."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from support.accounts import call
from support.replica import PASSWORD, Replica
from weir_api.access.identity import Role
from weir_api.access.service import AuthSettings
from weir_api.access.turns import Turns

ReplicaOf = Callable[..., Awaitable[Replica]]

BEHIND_A_PROXY = AuthSettings(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))
HERE = {"X-Forwarded-For": "192.0.2.1"}
ELSEWHERE = {"X-Forwarded-For": "198.51.100.1"}


async def log_in(
    replica: Replica, username: str, password: str, headers: dict[str, str] | None = None
) -> int:
    body = {"username": username, "password": password}
    async with replica.http.post("/api/auth/login", json=body, headers=headers) as answer:
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status


async def test_wrong_logins_with_made_up_names_lock_no_neighbour_out(facade: Replica) -> None:
    await facade.person("ada")
    for number in range(60):
        assert await log_in(facade, f"nobody{number}", "wrong") == 401
    assert await log_in(facade, "ada", PASSWORD) == 200


async def test_who_guesses_a_password_waits_and_its_owner_elsewhere_does_not(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(BEHIND_A_PROXY)
    await facade.person("ada")
    for _ in range(6):
        assert await log_in(facade, "ada", "wrong", HERE) == 401
    assert await log_in(facade, "ada", "wrong", HERE) == 429
    assert await log_in(facade, "ada", PASSWORD, HERE) == 429
    assert await log_in(facade, "bob", PASSWORD, HERE) == 401
    assert await log_in(facade, "ada", PASSWORD, ELSEWHERE) == 200


async def test_without_a_trusted_proxy_nobody_gets_tries_by_making_addresses_up(
    facade: Replica,
) -> None:
    await facade.person("ada")
    answers = [
        await log_in(facade, "ada", "wrong", {"X-Forwarded-For": f"192.0.2.{number}"})
        for number in range(7)
    ]
    assert answers == [401] * 6 + [429]


async def test_who_has_one_invitation_keeps_nobody_from_logging_in(replica_of: ReplicaOf) -> None:
    facade = await replica_of(BEHIND_A_PROXY)
    await facade.person("ada")
    _, secret = await facade.service.invitations.make(None, Role.USER, 1, 1)

    async def register(number: int) -> int:
        body = {"username": f"many{number}", "password": PASSWORD}
        async with facade.http.post(
            f"/api/auth/register?token={secret}", json=body, headers=HERE
        ) as answer:
            return answer.status

    flood = asyncio.gather(*map(register, range(90)))  # more than may wait for a thread
    while not flood.done():
        assert await log_in(facade, "ada", PASSWORD, ELSEWHERE) == 200
    answers = flood.result()
    assert answers.count(200) == 1
    assert set(answers) <= {200, 400, 429}


async def test_a_session_changes_its_password_whatever_strangers_guess(facade: Replica) -> None:
    await facade.person("ada")
    ada = await facade.log_in("ada")
    for _ in range(7):
        await log_in(facade, "ada", "wrong")
    body = {"current_password": PASSWORD, "new_password": "analytical engine"}
    await call(facade.http, "POST", "/password", body, ada)


async def test_a_stolen_session_guesses_the_password_no_faster_and_keeps_no_other_from_it(
    facade: Replica,
) -> None:
    await facade.person("ada")
    stolen, own = await facade.log_in("ada"), await facade.log_in("ada")
    wrong = {"current_password": "wrong", "new_password": "analytical engine"}
    for _ in range(6):
        await call(facade.http, "POST", "/password", wrong, stolen, status=403)
    await call(facade.http, "POST", "/password", wrong, stolen, status=429)
    right = {"current_password": PASSWORD, "new_password": "analytical engine"}
    await call(facade.http, "POST", "/password", right, own)


async def test_one_address_does_not_take_all_the_time_there_is_for_passwords(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(BEHIND_A_PROXY)
    await facade.person("ada")
    flood = [
        asyncio.ensure_future(log_in(facade, f"nobody{number}", "wrong", HERE))
        for number in range(100)
    ]
    assert await log_in(facade, "ada", PASSWORD, ELSEWHERE) == 200
    answers = await asyncio.gather(*flood)
    assert set(answers) <= {401, 429}  # never 503, which would meet everybody


async def test_an_address_of_wrong_guesses_rests_whatever_names_it_makes_up(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(BEHIND_A_PROXY)
    await facade.person("ada")
    facade.service.logins._turns = Turns(per_source=2, seconds=0.1, rest_seconds=3600)
    assert await log_in(facade, "nobody1", "wrong", HERE) == 401
    assert await log_in(facade, "ada", PASSWORD, HERE) == 200
    assert await log_in(facade, "nobody2", "wrong", HERE) == 401
    assert await log_in(facade, "nobody3", "wrong", HERE) == 429
    assert await log_in(facade, "ada", PASSWORD, HERE) == 200  # known there
    assert await log_in(facade, "ada", PASSWORD, ELSEWHERE) == 200


async def flooded(facade: Replica, *sources: str) -> AsyncExitStack:
    """Have all the turns of these sources, and of all places to wait, be taken."""
    turns = Turns(at_once=8, per_source=1, waiting=1, seconds=60, rest_seconds=0)
    facade.service.logins._turns = turns
    flood = AsyncExitStack()
    for source in sources:
        await flood.enter_async_context(turns.turn(source))
    waiting = asyncio.ensure_future(flood.enter_async_context(turns.turn(sources[0])))
    flood.callback(waiting.cancel)
    await asyncio.sleep(0)
    return flood


async def test_who_is_known_at_an_address_gets_in_whatever_others_there_make_up(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(BEHIND_A_PROXY)
    for name in ("ada", "bob"):
        await facade.person(name)
    assert await log_in(facade, "ada", PASSWORD, HERE) == 200
    assert await log_in(facade, "bob", PASSWORD, ELSEWHERE) == 200

    async with await flooded(facade, "192.0.2.1"):
        assert await log_in(facade, "nobody", "wrong", HERE) == 429
        assert await log_in(facade, "bob", PASSWORD, HERE) == 429  # as if there were no bob
        assert await log_in(facade, "ada", PASSWORD, HERE) == 200

        for _ in range(6):
            assert await log_in(facade, "ada", "wrong", HERE) == 401
        assert await log_in(facade, "ada", "wrong", HERE) == 429  # no more guesses than others


async def test_a_session_changes_its_password_whoever_logs_in_beside_it(facade: Replica) -> None:
    await facade.person("ada")
    ada = await facade.log_in("ada")
    body = {"current_password": PASSWORD, "new_password": "analytical engine"}

    async with await flooded(facade, "127.0.0.1"):
        await call(facade.http, "POST", "/password", body, ada)


async def test_the_people_of_a_lab_behind_one_address_all_get_in(facade: Replica) -> None:
    people = [f"student{number}" for number in range(16)]
    for person in people:
        await facade.person(person)

    answers = await asyncio.gather(*(log_in(facade, person, PASSWORD) for person in people))

    assert answers == [200] * len(people)


async def test_a_login_that_waits_holds_little(facade: Replica) -> None:
    body = {"username": "ada", "password": PASSWORD, "more": "x" * 20_000}
    for path in ("login", "register?token=t"):
        async with facade.http.post(f"/api/auth/{path}", json=body) as answer:
            assert answer.status == 413
    body["more"] = ""
    body["password"] = "\U00010000" * 1024  # escaped as JSON, as long as it can be
    async with facade.http.post("/api/auth/login", json=body) as answer:
        assert answer.status == 401


async def test_what_could_not_be_compared_is_no_failure(facade: Replica) -> None:
    await facade.person("ada")
    room, facade.service.passwords._places = facade.service.passwords._places, 0
    for _ in range(7):
        assert await log_in(facade, "ada", PASSWORD) == 503
    facade.service.passwords._places = room
    assert await log_in(facade, "ada", PASSWORD) == 200


async def test_who_has_an_invitation_does_not_wait_for_those_who_guess(
    replica_of: ReplicaOf,
) -> None:
    facade = await replica_of(AuthSettings(admin_register_secret="first come"))
    body = {"username": "root", "password": PASSWORD}
    for _ in range(6):
        await call(facade.http, "POST", "/register?token=guess", body, status=400)
    await call(facade.http, "POST", "/register?token=guess", body, status=429)
    await call(facade.http, "POST", "/register?token=first come", body, status=429)
    await call(facade.http, "POST", f"/register?token={'0f' * 32}", body, status=400)
    root = await facade.admin("other")
    made = await call(facade.http, "POST", "/invitations", {"role": "user"}, root)
    body["username"] = "ada"
    await call(facade.http, "POST", f"/register?token={made['token']}", body)
