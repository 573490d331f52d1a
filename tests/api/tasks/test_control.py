"""Kill, pause, resume, delete; approve and reject."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.live_tasks import Answer, Facade, facade
from support.rest_tasks import condition, running
from weir_api.hostapi.tasks.approval import PendingExpiry
from weir_api.state.writer import Writer
from weir_crds import names
from weir_crds.kinds import TASK
from weir_kube.api import Api

UNKNOWN = 4611686018427387903


@pytest.fixture
async def host(rest: Facade) -> str:
    return await rest.host()


async def spec_of(rest: Facade, number: str) -> dict[str, Any]:
    """Return a Task's spec, as the API server has it."""
    name = rest.task(number)["metadata"]["name"]
    spec: dict[str, Any] = (await rest.admin.get(TASK, name, rest.namespace))["spec"]
    return spec


async def set_paused(rest: Facade, number: str, host: str, status: str) -> None:
    conditions = running(host)["conditions"]
    await rest.set_status(number, conditions=[*conditions, condition("Paused", status, "Because")])


class TestKill:
    @pytest.mark.parametrize("path", ["/kill/{}", "/tasks/{}/kill"])
    async def test_kill(self, rest: Facade, host: str, path: str) -> None:
        number = await rest.submit(targets=[host])
        for _ in range(2):  # again, while it is on its way: the same
            answer = await rest.ask("POST", path.format(number))
            assert (answer.status, list(answer.body)) == (202, ["message"])
        assert (await spec_of(rest, number))["desiredState"] == "Killed"
        await rest.finish(number, "Killed")
        assert (await rest.row(number))["status"] == "killed"
        answer = await rest.ask("POST", path.format(number))
        assert (answer.status, list(answer.body)) == (409, ["detail"])

    async def test_in_every_state(self, rest: Facade, host: str) -> None:
        away = await rest.host(ready="Unknown")
        states: dict[str, tuple[str, int]] = {}
        for word, expected in {
            "assigning": 202,
            "pending": 202,
            "running": 202,
            "paused": 202,
            "lost": 202,
            "pending_approval": 409,
            "completed": 409,
            "failed": 409,
        }.items():
            caller = "user" if word == "pending_approval" else "system"
            number = await rest.submit(caller, targets=[host])
            if word not in ("assigning", "pending_approval"):
                await rest.run(number, away if word == "lost" else host)
            if word == "pending":
                conditions = running()["conditions"][:1]
                await rest.set_status(number, conditions=conditions)
            elif word == "paused":
                await set_paused(rest, number, host, "True")
            elif word == "completed":
                await rest.finish(number)
            elif word == "failed":
                await rest.finish(number, "NonZeroExit", exitCode=1)
            assert (await rest.row(number))["status"] == word
            states[word] = (number, expected)
        for word, (number, expected) in states.items():
            answer = await rest.ask("POST", f"/kill/{number}")
            assert (word, answer.status) == (word, expected)


class TestPause:
    async def test_pause_and_resume(self, rest: Facade, host: str) -> None:
        number = await rest.submit(targets=[host])
        await rest.run(number, host)
        pausing = asyncio.create_task(rest.ask("POST", f"/command/{number}/pause"))
        await rest.see(lambda: rest.task(number)["spec"]["desiredState"] == "Paused")
        await set_paused(rest, number, host, "True")
        answer = await pausing
        assert (answer.status, answer.body) == (200, {"message": "task paused"})
        assert (await rest.row(number))["status"] == "paused"
        resuming = asyncio.create_task(rest.ask("POST", f"/command/{number}/resume"))
        await rest.see(lambda: rest.task(number)["spec"]["desiredState"] == "Running")
        await set_paused(rest, number, host, "False")
        answer = await resuming
        assert (answer.status, answer.body) == (200, {"message": "task resumed"})
        assert (await rest.row(number))["status"] == "running"

    async def test_a_host_that_does_not_do_it_at_once(self, rest: Facade, host: str) -> None:
        number = await rest.submit(targets=[host])
        await rest.run(number, host)
        answer = await rest.ask("POST", f"/command/{number}/pause")
        assert (answer.status, list(answer.body)) == (200, ["message"])
        assert answer.body["message"] != "task paused"

    @pytest.mark.parametrize("command", ["pause", "resume", "restart", "nonsense"])
    async def test_not_in_that_state(self, rest: Facade, host: str, command: str) -> None:
        waiting = await rest.submit(targets=[host])
        ended = await rest.submit(targets=[host])
        await rest.run(ended, host)
        await rest.finish(ended)
        killed = await rest.submit(targets=[host])
        await rest.run(killed, host)
        await rest.ask("POST", f"/kill/{killed}")
        for number in (waiting, ended, killed):
            answer = await rest.ask("POST", f"/command/{number}/{command}")
            assert (answer.status, list(answer.body)) == (400, ["detail"])
        assert (await spec_of(rest, killed))["desiredState"] == "Killed"

    async def test_only_a_paused_task_is_resumed(self, rest: Facade, host: str) -> None:
        number = await rest.submit(targets=[host])
        await rest.run(number, host)
        assert (await rest.ask("POST", f"/command/{number}/resume")).status == 400
        await set_paused(rest, number, host, "True")
        assert (await rest.ask("POST", f"/command/{number}/pause")).status == 400


class TestDelete:
    async def test_delete(self, rest: Facade, host: str) -> None:
        number = await rest.submit(targets=[host])
        assert (await rest.ask("DELETE", f"/tasks/{number}")).status == 409
        await rest.run(number, host)
        assert (await rest.ask("DELETE", f"/tasks/{number}")).status == 409
        await rest.finish(number)
        answer = await rest.ask("DELETE", f"/tasks/{number}")
        assert (answer.status, list(answer.body)) == (200, ["message"])
        assert await rest.tasks() == []
        assert (await rest.ask("GET", f"/status/{number}")).status == 404
        assert (await rest.ask("DELETE", f"/tasks/{number}")).status == 404


class TestWithdraw:
    async def test_an_owner_withdraws_what_waits_for_an_approval(
        self, rest: Facade, host: str
    ) -> None:
        number = await rest.submit("user", targets=[host])
        assert (await rest.ask("DELETE", f"/tasks/{number}", caller="other")).status == 403
        assert (await rest.ask("DELETE", f"/tasks/{number}", caller="user")).status == 200
        assert await rest.tasks() == []

    async def test_not_what_has_been_approved_meanwhile(self, rest: Facade, host: str) -> None:
        number = await rest.submit("user", targets=[host])
        seen = rest.task(number)
        await rest.admin.patch(
            TASK, seen["metadata"]["name"], {"spec": {"approval": "Approved"}}, rest.namespace
        )
        status = (await rest.ask("DELETE", f"/tasks/{number}", caller="user")).status
        assert status == 409
        assert len(await rest.tasks()) == 1


class TestExpiry:
    async def test_what_nobody_decides_on_is_rejected(self, rest: Facade, host: str) -> None:
        number = await rest.submit("user", targets=[host])
        decided = await rest.submit("user", targets=[host])
        assert (await rest.ask("POST", f"/approve/{decided}", caller="operator")).status == 200
        expiry = PendingExpiry(rest.index, Writer(rest.admin, rest.caches), dt.timedelta(days=7))
        now = dt.datetime.now(dt.UTC)

        await expiry.expire(now + dt.timedelta(days=6.9))
        assert (await rest.row(number))["status"] == "pending_approval"
        await expiry.expire(now + dt.timedelta(days=7.1))
        row = await rest.row(number)
        assert (row["status"], row["approved_by_id"]) == ("rejected", None)
        assert row["rejection_reason"] == "nobody decided within 7 days"
        assert (await rest.row(decided))["approval_status"] == "approved"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/kill/{}"),
        ("POST", "/tasks/{}/kill"),
        ("POST", "/command/{}/pause"),
        ("POST", "/command/{}/nonsense"),
        ("DELETE", "/tasks/{}"),
        ("GET", "/tasks/{}/stdout"),
        ("GET", "/tasks/{}/stderr"),
    ],
)
async def test_whose_task_it_is(rest: Facade, host: str, method: str, path: str) -> None:
    number = await rest.submit("user", targets=[host])
    for caller, status in {"anonymous": 401, "newcomer": 403, "viewer": 403, "other": 403}.items():
        assert (await rest.ask(method, path.format(number), caller=caller)).status == status
    assert (await rest.ask(method, path.format(UNKNOWN), caller="other")).status == 404
    assert (await rest.ask(method, path.format(2**70))).status == 404
    assert (await rest.ask(method, path.format("x"))).status == 422
    if method == "DELETE":  # else it is withdrawn
        assert (await rest.ask("POST", f"/approve/{number}")).status == 200
    for caller in ("user", "operator", "admin", "system"):
        answer = await rest.ask(method, path.format(number), caller=caller)
        assert answer.status in (200, 202, 400, 409)
    assert (await spec_of(rest, number))["desiredState"] == "Running"


class TestApproval:
    @pytest.fixture
    async def other(self, rest: Facade, api_kubeconfig: Path, admin: Api) -> AsyncIterator[Facade]:
        """Another replica."""
        async with facade(api_kubeconfig, admin, rest.namespace) as made:
            yield made

    async def test_approve(self, rest: Facade, host: str) -> None:
        number = await rest.submit("user", targets=[host])
        rows = (await rest.ask("GET", "/tasks/pending-approval", caller="operator")).body
        assert [row["task_id"] for row in rows] == [number]
        answer = await rest.ask("POST", f"/approve/{number}", caller="operator")
        assert answer.status == 200
        assert (set(answer.body), answer.body["task_id"]) == ({"message", "task_id"}, number)
        row = await rest.row(number)
        assert (row["status"], row["approval_status"]) == ("assigning", "approved")
        assert (row["approved_by_id"], row["rejection_reason"]) == (14, None)
        assert row["approved_at"]
        assert (await rest.ask("GET", "/tasks/pending-approval", caller="operator")).body == []
        for verb in ("approve", "reject"):
            assert (await rest.ask("POST", f"/{verb}/{number}", caller="admin")).status == 409

    @pytest.mark.parametrize(("query", "reason"), [("?reason=too+large", "too large"), ("", None)])
    async def test_reject(self, rest: Facade, host: str, query: str, reason: str | None) -> None:
        number = await rest.submit("user", targets=[host])
        answer = await rest.ask("POST", f"/reject/{number}{query}", caller="operator")
        assert answer.status == 200
        assert set(answer.body) == {"message", "task_id", "reason"}
        assert (answer.body["task_id"], answer.body["reason"]) == (number, reason)
        row = await rest.row(number)
        assert (row["status"], row["approval_status"]) == ("rejected", "rejected")
        assert (row["approved_by_id"], row["rejection_reason"]) == (14, reason)
        await rest.finish(number, "Rejected")
        assert (await rest.row(number))["status"] == "rejected"
        assert (await rest.ask("POST", f"/approve/{number}", caller="operator")).status == 409

    async def test_decided_once(self, rest: Facade, other: Facade, host: str) -> None:
        number = await rest.submit("user", targets=[host])
        await other.see(lambda: other.index.get(int(number)))
        answers: list[Answer] = await asyncio.gather(
            *(
                which.ask("POST", f"/{verb}/{number}", caller=caller)
                for which in (rest, other)
                for verb in ("approve", "reject")
                for caller in ("operator", "admin")
            )
        )
        assert sorted(answer.status for answer in answers) == [200] + [409] * 7

    async def test_a_change_in_between_is_no_obstacle(
        self, rest: Facade, other: Facade, host: str
    ) -> None:
        number = await rest.submit("user", targets=[host])
        stale = rest.task(number)
        labels = {"metadata": {"labels": {"changed": "yes"}}}
        await rest.admin.patch(TASK, stale["metadata"]["name"], labels, rest.namespace)
        answer = await rest.ask("POST", f"/approve/{number}", caller="operator")
        assert answer.status == 200

    async def test_without_accounts_nobody_is_named(self, rest: Facade, host: str) -> None:
        number = await rest.submit("user", targets=[host])
        assert (await rest.ask("POST", f"/approve/{number}")).status == 200
        row = await rest.row(number)
        assert (row["approval_status"], row["approved_by_id"]) == ("approved", None)
        notes = rest.task(number)["metadata"]["annotations"]
        assert names.ANNOTATION_DECIDED_BY not in notes

    async def test_what_needs_no_decision(self, rest: Facade, host: str) -> None:
        number = await rest.submit(targets=[host])
        for verb in ("approve", "reject"):
            answer = await rest.ask("POST", f"/{verb}/{number}")
            assert (answer.status, list(answer.body)) == (409, ["detail"])
            assert (await rest.ask("POST", f"/{verb}/{UNKNOWN}")).status == 404
            assert (await rest.ask("POST", f"/{verb}/x")).status == 422

    async def test_a_reason_has_an_end(self, rest: Facade, host: str) -> None:
        number = await rest.submit("user", targets=[host])
        assert (await rest.ask("POST", f"/reject/{number}?reason={'x' * 4097}")).status == 422
        assert (await rest.ask("POST", f"/reject/{number}?reason=%00")).status == 422

    @pytest.mark.parametrize(
        ("caller", "status"), [("anonymous", 401), ("viewer", 403), ("user", 403), ("other", 403)]
    )
    async def test_who_decides(self, rest: Facade, host: str, caller: str, status: int) -> None:
        number = await rest.submit("user", targets=[host])
        for verb in ("approve", "reject"):
            assert (await rest.ask("POST", f"/{verb}/{number}", caller=caller)).status == status
