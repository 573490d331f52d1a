"""Submissions that are taken."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster
from support.live_tasks import IMAGE, Facade, facade
from support.rest_tasks import running
from weir_api.hostapi.tasks import submit
from weir_crds import names
from weir_crds.ids import task_id
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api

NOWHERE = {"hostname": "", "url": ""}


async def test_a_submission_is_a_task(rest: Facade) -> None:
    host = await rest.host()
    body = {
        "command": "python train.py",
        "arguments": ["--lr", "0.1"],
        "env_vars": {"SEED": "7"},
        "required_cores": 2,
        "required_memory_bytes": 2**30,
        "targets": [f"{host}:0"],
    }
    answer = await rest.ask("POST", "/submit", body)
    assert answer.status == 202
    assert set(answer.body) == {"message", "task_ids", "assigned_node", "runner_response"}
    assert answer.body["assigned_node"] == {"hostname": host, "url": f"https://{host}:8443"}
    assert answer.body["runner_response"] is True
    (obj,) = await rest.tasks()
    assert answer.body["task_ids"] == [str(task_id(obj["metadata"]["uid"]))]
    spec = obj["spec"]
    assert (spec["image"], spec["workingDir"]) == (IMAGE, "/shared")
    assert (spec["command"], spec["args"]) == (["python", "train.py"], ["--lr", "0.1"])
    assert spec["env"] == [{"name": "SEED", "value": "7"}]
    assert spec["resources"] == {"cpu": 2, "memory": 2**30}
    assert spec["placement"] == {"hostName": host, "numaNode": 0}
    assert names.LABEL_OWNER not in obj["metadata"].get("labels", {})
    row = await rest.row(answer.body["task_ids"][0])  # at once: clients read their writes
    assert (row["status"], row["assigned_node"], row["batch_id"]) == (
        "assigning",
        host,
        row["task_id"],
    )
    assert (row["owner_id"], row["approval_status"]) == (None, None)
    submitted = dt.datetime.fromisoformat(row["submitted_at"])
    assert abs((dt.datetime.now(dt.UTC) - submitted).total_seconds()) < 60


async def test_a_task_of_kubectl_is_there_with_an_id(rest: Facade, world: Cluster) -> None:
    body = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "by-hand"},
        "spec": {"image": "busybox", "command": ["sh", "-c", "echo hi"]},
    }
    made = world.admin.json(
        "POST", f"/apis/weir.dev/v1alpha1/namespaces/{rest.namespace}/tasks", body
    )
    number = task_id(made["metadata"]["uid"])
    await rest.see(lambda: rest.index.get(number))
    row = await rest.row(str(number))
    assert (row["command"], row["status"]) == ("sh -c 'echo hi'", "assigning")
    assert (await rest.ask("POST", f"/kill/{number}")).status == 202


async def test_the_host_that_the_queue_chooses_is_told(rest: Facade) -> None:
    host = await rest.host()
    answering = asyncio.create_task(rest.ask("POST", "/submit", {"command": "sleep 5"}))
    await rest.see(lambda: rest.index.queued)
    (obj,) = await rest.tasks()
    await rest.set_status(str(task_id(obj["metadata"]["uid"])), **running(host))
    answer = await answering
    assert answer.body["assigned_node"] == {"hostname": host, "url": f"https://{host}:8443"}


async def test_it_is_not_waited_for_long(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    await rest.host()
    monkeypatch.setattr(submit, "_BIND_SECONDS", 0.5)
    began = time.monotonic()
    answer = await rest.ask("POST", "/submit", {})
    assert answer.body["assigned_node"] == NOWHERE
    assert time.monotonic() - began >= 0.5
    monkeypatch.setattr(submit, "_BIND_SECONDS", 3600.0)
    answer = await rest.ask("POST", "/submit", {})
    assert answer.body["assigned_node"] == NOWHERE  # behind another, it is not waited at all


async def test_a_host_that_is_away_or_full_is_waited_for(rest: Facade) -> None:
    host = await rest.host(ready="Unknown", cores=1)
    for _ in range(2):
        answer = await rest.ask("POST", "/submit", {"targets": [host]})
        assert answer.status == 202
        assert answer.body["assigned_node"]["hostname"] == host
    assert len(await rest.tasks()) == 2


async def test_several_targets_are_one_batch(rest: Facade) -> None:
    one, two = await rest.host(gpus=2), await rest.host(gpus=2)
    body = {"targets": [one, f"{two}:0", f"{one}::1"], "required_gpus": [[0], [1, 0], []]}
    answer = await rest.ask("POST", "/submit", body)
    assert answer.status == 202
    ids = answer.body["task_ids"]
    assert answer.body["assigned_node"]["hostname"] == one
    rows = [await rest.row(number) for number in ids]
    assert [row["assigned_node"] for row in rows] == [one, two, one]
    assert [row["required_gpus"] for row in rows] == [[0], [0, 1], [1]]
    assert [row["target_numa_node_id"] for row in rows] == [None, 0, None]
    assert {row["batch_id"] for row in rows} == {ids[0]}


async def test_some_targets_may_fail(rest: Facade) -> None:
    host = await rest.host(cores=4)
    targets = ["nobody", f"{host}:3", host, "", f"{host}:0"]
    answer = await rest.ask("POST", "/submit", {"targets": targets})
    assert answer.status == 202
    assert set(answer.body) == {"message", "task_ids", "failed_targets"}
    failed = answer.body["failed_targets"]
    assert [one["target"] for one in failed] == ["nobody", f"{host}:3", ""]
    assert all(set(one) == {"target", "reason"} and one["reason"] for one in failed)
    rows = [await rest.row(number) for number in answer.body["task_ids"]]
    assert len(rows) == 2
    assert {row["batch_id"] for row in rows} == {answer.body["task_ids"][0]}


async def test_as_many_targets_as_there_may_be(rest: Facade) -> None:
    hosts = [await rest.host(cores=4, gpus=32) for _ in range(8)]
    targets = [f"{host}::{gpu}" for host in hosts for gpu in range(32)]
    answer = await rest.ask("POST", "/submit", {"targets": targets})
    assert answer.status == 202
    assert len(set(answer.body["task_ids"])) == 256
    assert len(await rest.tasks()) == 256


async def test_who_submits_owns_it(rest: Facade) -> None:
    host = await rest.host()
    body = {"targets": [host]}
    answer = await rest.ask("POST", "/submit", body, "user")
    assert answer.body["runner_response"] == {"status": "pending_approval"}
    assert answer.body["assigned_node"]["hostname"] == host
    row = await rest.row(answer.body["task_ids"][0])
    assert (row["status"], row["approval_status"], row["owner_id"]) == (
        "pending_approval",
        "pending",
        12,
    )
    assert (row["approved_by_id"], row["approved_at"]) == (None, None)
    row = await rest.row(await rest.submit("operator", **body))
    assert (row["status"], row["approval_status"], row["owner_id"]) == ("assigning", "approved", 14)
    assert row["approved_by_id"] == 14
    assert row["approved_at"]


async def test_what_waits_for_an_approval_is_answered_at_once(
    rest: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "_BIND_SECONDS", 3600.0)
    await rest.host()
    answer = await rest.ask("POST", "/submit", {}, "user")
    assert answer.body["assigned_node"] == NOWHERE


@pytest.mark.parametrize(
    "body", [{"privileged": True}, {"additional_mounts": ["/data:/data"]}], ids=["all", "mounts"]
)
async def test_the_policy_of_the_namespace_holds(rest: Facade, body: Any) -> None:
    await rest.host()
    answer = await rest.ask("POST", "/submit", body)
    assert answer.status == 403
    assert "weir.dev/allow-privileged" in answer.body["detail"]
    assert await rest.tasks() == []


async def test_what_the_policy_allows(world: Cluster, api_kubeconfig: Path, admin: Api) -> None:
    namespace = world.create_namespace({names.LABEL_ALLOW_PRIVILEGED: "true"})
    async with facade(api_kubeconfig, admin, namespace, shared_dir="/srv/share") as rest:
        host = await rest.host()
        body = {"privileged": True, "additional_mounts": ["/data:/mnt:ro"], "targets": [host]}
        row = await rest.row(await rest.submit(**body))
    world.admin.request("DELETE", TASK.path(namespace))
    world.delete_namespace(namespace)
    assert row["docker_privileged"] is True
    assert sorted(row["docker_mount_dirs"]) == ["/data:/mnt:ro", "/srv/share:/shared"]


@pytest.mark.parametrize(
    "body",
    [
        {"env_vars": {"A=B": "1"}},
        {"env_vars": {"": "1"}},
        {"env_vars": {"A": "x" * 40_000}},
        {"env_vars": {f"V{number}": "" for number in range(600)}},
        {"registry_image": "no image"},
        {"registry_image": "é"},
        {"arguments": ["x"] * 2000},
        {"additional_mounts": ["/a:/" + "b" * 5000]},
    ],
)
async def test_what_no_task_can_be(rest: Facade, body: Any) -> None:
    await rest.host()
    answer = await rest.ask("POST", "/submit", body)
    assert answer.status == 422
    assert all({"type", "loc", "msg"} <= fault.keys() for fault in answer.body["detail"])
    # Named as the client named it, not as the resource does.
    assert {tuple(fault["loc"][:2]) for fault in answer.body["detail"]} == {("body", *body)}
    assert await rest.tasks() == []


async def test_a_namespace_that_is_not_there(api_kubeconfig: Path, admin: Api) -> None:
    async with facade(api_kubeconfig, admin, "nowhere-at-all") as rest:
        answer = await rest.ask("POST", "/submit", {"targets": [await rest.host()]})
    assert answer.status == 503
    assert "nowhere-at-all" in answer.body["detail"]
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("text", ["žluťoučký 🐎 \u202e", "'; drop table tasks; --", "%00 \\x00"])
async def test_any_text_goes_in_and_comes_out(rest: Facade, text: str) -> None:
    host = await rest.host()
    number = await rest.submit(
        command=text, arguments=[text], env_vars={text.replace("=", ""): text}, targets=[host]
    )
    row = await rest.row(number)
    assert (row["command"], row["arguments"]) == (text, [text])
    assert list(row["env_vars"].values()) == [text]


async def test_the_last_one_comes_first(rest: Facade) -> None:
    host = await rest.host()
    ids = [await rest.submit(targets=[host]) for _ in range(5)]
    rows = (await rest.ask("GET", f"/tasks?node={host}")).body
    assert [row["task_id"] for row in rows] == ids[::-1]


class TestIdempotency:
    @pytest.fixture
    async def host(self, rest: Facade) -> str:
        return await rest.host()

    @pytest.fixture
    async def other(self, rest: Facade, api_kubeconfig: Path, admin: Api) -> AsyncIterator[Facade]:
        """Another replica."""
        async with facade(api_kubeconfig, admin, rest.namespace) as made:
            yield made

    @staticmethod
    async def ids(
        rest: Facade, key: str, body: Any, caller: str = "system", status: int = 202
    ) -> Any:
        answer = await rest.ask("POST", "/submit", body, caller, **{"Idempotency-Key": key})
        assert answer.status == status, answer
        return answer.body.get("task_ids")

    async def test_the_same_again_makes_nothing(
        self, rest: Facade, other: Facade, host: str
    ) -> None:
        body = {"command": "true", "targets": [host, f"{host}:0"]}
        first = await self.ids(rest, "k", body)
        await rest.finish(first[0])  # whatever has happened since
        assert await self.ids(rest, "k", body) == first
        assert await self.ids(other, "k", body) == first
        assert len(await rest.tasks()) == 2

    async def test_at_the_same_time(self, rest: Facade, other: Facade, host: str) -> None:
        body = {"command": "true", "targets": [host, f"{host}:0"]}
        found = await asyncio.gather(
            *(self.ids(which, "k", body) for which in (rest, other) for _ in range(5))
        )
        assert len({tuple(ids) for ids in found}) == 1
        assert len(await rest.tasks()) == 2

    async def test_another_request_is_refused(self, rest: Facade, other: Facade, host: str) -> None:
        await self.ids(rest, "k", {"command": "true", "targets": [host]})
        for which in (rest, other):
            for body in (
                {"command": "false", "targets": [host]},
                {"command": "true", "targets": [f"{host}:0"]},
                {"command": "true"},
            ):
                await self.ids(which, "k", body, status=422)
        assert len(await rest.tasks()) == 1

    async def test_what_is_told_is_as_it_is_now(self, rest: Facade, host: str) -> None:
        body = {"command": "true", "targets": [host]}
        headers = {"Idempotency-Key": "k"}
        first = await rest.ask("POST", "/submit", body, "user", **headers)
        assert first.body["runner_response"] == {"status": "pending_approval"}
        (number,) = first.body["task_ids"]
        assert (await rest.ask("POST", f"/approve/{number}", caller="operator")).status == 200
        again = await rest.ask("POST", "/submit", body, "user", **headers)
        assert again.body["task_ids"] == [number]
        assert again.body["runner_response"] is True

    async def test_keys_and_owners_are_apart(self, rest: Facade, host: str) -> None:
        body = {"command": "true", "targets": [host]}
        found = [
            await self.ids(rest, key, body, caller)
            for key in ("k", "l")
            for caller in ("system", "user", "other")
        ]
        assert len({ids[0] for ids in found}) == 6

    async def test_what_failed_is_tried_again(self, rest: Facade, host: str) -> None:
        body = {"command": "true", "targets": [host, "late-to-come"]}
        first = await self.ids(rest, "k", body)
        assert len(first) == 1
        again = await self.ids(rest, "k", body)
        assert again == first

    async def test_the_answer_is_the_same_when_the_host_has_left(
        self, rest: Facade, host: str
    ) -> None:
        body = {"command": "true", "targets": [host]}
        first = await self.ids(rest, "k", body)
        await rest.admin.delete(HOST, host)
        await rest.see(lambda: rest.caches_host(host) is None)
        assert await self.ids(rest, "k", body) == first
