"""Two replicas of the facade are one: who is logged in, who is no more, and all tasks."""

import concurrent.futures
from collections.abc import Iterator

import pytest

from support.facade_process import FacadeProcess
from support.polling import eventually
from support.rest_people import Person, invite, log_in, submission
from support.weir_system import WeirSystem

pytestmark = pytest.mark.e2e


@pytest.fixture
def first(facades: list[FacadeProcess]) -> FacadeProcess:
    return facades[0]


@pytest.fixture
def second(facades: list[FacadeProcess]) -> FacadeProcess:
    return facades[1]


@pytest.fixture
def both_run(facades: list[FacadeProcess]) -> Iterator[None]:
    """Afterwards both run again, whatever became of them."""
    yield
    for facade in facades:
        if not facade.process.running():
            facade.start()


def test_a_login_at_one_is_one_at_the_other(
    weir: WeirSystem, admin: Person, first: FacadeProcess, second: FacadeProcess
) -> None:
    ada = invite(admin, "user", first)
    assert ada.at(second).get("/auth/me") == ada.get("/auth/me")  # at once

    token = ada.call("POST", "/auth/tokens/create", {"name": "script"})["token"]
    script = Person(second, {"Authorization": f"Bearer {token}"}, ada.user)
    assert script.get("/auth/me")["id"] == ada.id

    again = log_in(second, ada.user["username"])
    assert again.at(first).get("/auth/me")["id"] == ada.id

    again.call("POST", "/auth/logout")
    again.call("GET", "/auth/me", status=401)
    eventually(
        lambda: again.at(first).ask("GET", "/auth/me").status == 401, "logged out there, too"
    )
    assert ada.get("/auth/me")["id"] == ada.id  # another session is another


def test_who_is_deleted_at_one_is_gone_at_the_other(
    weir: WeirSystem, admin: Person, first: FacadeProcess, second: FacadeProcess
) -> None:
    user = invite(admin, "user", second)
    token = user.call("POST", "/auth/tokens/create", {"name": "script"})["token"]
    script = Person(second, {"Authorization": f"Bearer {token}"}, user.user)
    [number] = user.submit("sleep 300")
    assert script.get(f"/status/{number}")["owner_id"] == user.id

    admin.call("DELETE", f"/auth/users/{user.id}")
    known = [each.at(facade) for each in (user, script) for facade in (first, second)]
    eventually(
        lambda: {each.ask("GET", "/auth/me").status for each in known} == {401},
        "nobody is logged in anywhere",
    )

    # What they left is there, and nobody's: who registers anew is somebody else.
    left = admin.at(second).get(f"/status/{number}")
    assert (left["owner_id"], left["owner_username"]) == (user.id, None)
    newcomer = invite(admin, "user", second)
    assert newcomer.id != user.id
    newcomer.call("GET", f"/status/{number}", status=403)
    admin.call("POST", f"/reject/{number}")


def test_who_is_disabled_at_one_may_nothing_at_the_other(
    weir: WeirSystem, admin: Person, second: FacadeProcess
) -> None:
    user = invite(admin, "user", second)
    admin.call("PATCH", f"/auth/users/{user.id}", {"is_active": False})
    eventually(lambda: user.ask("GET", "/tasks").status == 401, "the session has ended")
    admin.call("PATCH", f"/auth/users/{user.id}", {"is_active": True, "role": "viewer"})
    eventually(
        lambda: log_in(second, user.user["username"]).get("/auth/me")["role"] == "viewer",
        "there is a new role",
    )


def test_a_task_of_one_is_one_of_the_other(
    weir: WeirSystem, admin: Person, first: FacadeProcess, second: FacadeProcess
) -> None:
    operator = invite(admin, "operator", first)
    there = operator.at(second)
    [number] = operator.submit("echo here; sleep 300")
    assert operator.get(f"/status/{number}")["task_id"] == number  # at once, where it was made
    eventually(lambda: there.ask("GET", f"/status/{number}").status == 200, "it is there, too")
    there.follow(number, "running")
    eventually(lambda: there.output(number) == b"here\n", "its output is there")
    eventually(lambda: there.get("/tasks/my") == operator.get("/tasks/my"), "both tell the same")
    there.call("POST", f"/kill/{number}", status=202)
    operator.follow(number, "killed")


def test_one_request_key_at_both_is_one_task(
    weir: WeirSystem, admin: Person, first: FacadeProcess, second: FacadeProcess
) -> None:
    operator = invite(admin, "operator", first)
    body = submission("true")

    def submit(number: int) -> str:
        who = operator.at((first, second)[number % 2])
        reply = who.ask("POST", "/submit", body, **{"Idempotency-Key": "just-once"})
        assert reply.status == 202, reply.body
        [made] = reply.json()["task_ids"]
        return str(made)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(16)))) == 1
    eventually(lambda: len(operator.get("/tasks/my")) == 1, "it is there, whoever made it")


def test_when_one_is_killed_the_other_goes_on(
    weir: WeirSystem,
    admin: Person,
    first: FacadeProcess,
    second: FacadeProcess,
    both_run: None,
) -> None:
    operator = invite(admin, "operator", first)
    [number] = operator.submit("sleep 300")
    first.process.kill()
    there = operator.at(second)
    there.follow(number, "running")
    there.call("POST", f"/kill/{number}", status=202)
    there.follow(number, "killed")
    first.start()
    assert operator.get("/auth/me")["id"] == operator.id
    assert operator.get(f"/status/{number}")["status"] == "killed"
