"""A viewer's, a user's and an operator's day by plain HTTP, on real Docker."""

import re
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support.facade_process import FacadeProcess
from support.polling import eventually
from support.rest_people import Person, invite, submission
from support.tasks import condition, task
from support.weir_system import WeirSystem
from weir_crds.ids import task_id
from weir_crds.kinds import HOST
from weir_crds.names import DEFAULT_NAMESPACE, SYSTEM_NAMESPACE
from weir_kube.kinds import LEASE

pytestmark = pytest.mark.e2e


@pytest.fixture
def viewer(weir: WeirSystem, admin: Person) -> Person:
    return invite(admin, "viewer")


@pytest.fixture
def user(weir: WeirSystem, admin: Person) -> Person:
    return invite(admin, "user")


@pytest.fixture
def operator(weir: WeirSystem, admin: Person) -> Person:
    return invite(admin, "operator")


def resource_of(weir: WeirSystem, number: str) -> dict[str, Any]:
    """Return the Task behind an id."""
    for each in weir.list(DEFAULT_NAMESPACE):
        if str(task_id(each["metadata"]["uid"])) == number:
            return {"status": {}, **each}
    raise AssertionError(f"there is no Task with the id {number}")


def test_a_viewers_day(weir: WeirSystem, viewer: Person, operator: Person) -> None:
    me = viewer.get("/auth/me")
    assert (me["role"], me["username"]) == ("viewer", viewer.user["username"])

    # What is there, and how busy it is.
    def node_now() -> Any:
        return next(node for node in viewer.get("/nodes") if node["hostname"] == weir.hosts[0])

    def idle() -> Any:
        node = node_now()
        return node["memory_used_bytes"] and node["cores_in_use"] == 0 and node

    node = eventually(idle, "the host tells how busy it is")
    assert (node["status"], node["total_cores"]) == ("online", 2)
    assert 0 < node["memory_used_bytes"] < node["memory_total_bytes"]

    def samples() -> Any:
        health = viewer.get("/health")
        found = [row for sample in health["nodes"] for row in sample]
        return health if len({row["cpu_percent"] for row in found}) > 1 else None

    health = eventually(samples, "samples differ")
    assert len(health["nodes"]) == len(health["aggregate"]) <= 60
    assert health["aggregate"][-1]["onlineNodes"] >= 1
    [row] = viewer.get(f"/health?hostname={weir.hosts[0]}")
    assert row["hostname"] == weir.hosts[0]

    # Everybody's tasks, without their secrets; and hands off.
    [number] = operator.submit("sleep 300", env_vars={"PASSWORD": "hunter2"}, required_cores=1)
    operator.follow(number, "running")
    seen = viewer.get(f"/status/{number}")
    assert seen["env_vars"] == {"PASSWORD": "***"}
    assert number in [each["task_id"] for each in viewer.get("/tasks?status=running")]
    eventually(lambda: node_now()["cores_in_use"] == 1, "the task's core is in use")
    for method, path, body in (
        ("POST", "/submit", submission("true")),
        ("POST", f"/kill/{number}", None),
        ("POST", f"/command/{number}/pause", None),
        ("GET", f"/tasks/{number}/stdout", None),
        ("GET", "/tasks/my", None),
        ("GET", "/tasks/pending-approval", None),
        ("POST", f"/approve/{number}", None),
        ("GET", "/auth/users", None),
    ):
        viewer.call(method, path, body, status=403)
    assert viewer.get(f"/status/{number}")["status"] == "running"
    operator.call("POST", f"/kill/{number}", status=202)
    operator.follow(number, "killed")
    killed = resource_of(weir, number)["metadata"]["name"]
    eventually(
        lambda: (
            "kill requested by "
            in weir.kubectl("describe", "task", killed, "--namespace", DEFAULT_NAMESPACE)
        ),
        "kubectl shows who killed it",
    )


def test_a_users_day(weir: WeirSystem, user: Person, operator: Person, admin: Person) -> None:
    # A submission waits for somebody to say yes.
    body = submission("echo out; echo err >&2; exit 3", env_vars={"TOKEN": "mine"})
    told = user.call("POST", "/submit", body, status=202)
    assert told["runner_response"] == {"status": "pending_approval"}
    [number] = told["task_ids"]
    waiting = user.get(f"/status/{number}")
    assert (waiting["status"], waiting["approval_status"]) == ("pending_approval", "pending")
    assert waiting["owner_username"] == user.user["username"]
    resource = resource_of(weir, number)
    assert resource["spec"]["approval"] == "Pending"
    assert "nodeName" not in resource["status"]
    user.call("POST", f"/approve/{number}", status=403)
    assert user.output(number) == b""

    assert number in [each["task_id"] for each in operator.get("/tasks/pending-approval")]
    told = operator.call("POST", f"/approve/{number}")
    assert told["task_id"] == number
    operator.call("POST", f"/approve/{number}", status=409)

    # It runs, fails as its author wrote it, and its output is there.
    done = user.follow(number, "failed")
    assert (done["exit_code"], done["approval_status"]) == (3, "approved")
    assert done["approved_by_username"] == operator.user["username"]
    assert done["assigned_node"] == weir.hosts[0]
    assert done["submitted_at"] < done["started_at"] <= done["completed_at"]
    assert user.output(number) == b"out\n"
    assert user.output(number, "stderr") == b"err\n"
    assert done["env_vars"] == {"TOKEN": "mine"}

    # Another one is killed while it runs, after its output was followed.
    [second] = user.submit("i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done")
    operator.call("POST", f"/approve/{second}")
    user.follow(second, "running")
    eventually(lambda: b"line 3" in user.output(second), "its output grows")
    tail = user.output(second, query="?lines=1")
    # The last line when it was asked for, and what has come since.
    assert re.fullmatch(rb"(line \d+\n)+", tail)
    assert not tail.startswith((b"line 1\n", b"line 2\n"))
    user.call("POST", f"/command/{second}/pause")
    assert user.follow(second, "paused")
    user.call("POST", f"/command/{second}/resume")
    user.follow(second, "running")
    user.call("POST", f"/kill/{second}", status=202)
    assert user.follow(second, "killed")["completed_at"]
    user.call("POST", f"/kill/{second}", status=409)
    assert b"line 3" in user.output(second)  # it is kept

    # Somebody else sees none of it.
    other = invite(admin, "user")
    assert other.get("/tasks") == other.get("/tasks/my") == []
    mine = [each["task_id"] for each in user.get("/tasks/my")]
    assert mine == [second, number]  # newest first
    for path in (f"/status/{number}", f"/tasks/{number}/stdout"):
        other.call("GET", path, status=403)
    other.call("POST", f"/kill/{number}", status=403)

    # What has ended can be cleared away.
    user.call("DELETE", f"/tasks/{number}")
    user.call("GET", f"/status/{number}", status=404)


def test_an_operators_day(weir: WeirSystem, operator: Person, user: Person) -> None:
    # Own work needs nobody's leave, and several targets make several tasks.
    host = weir.hosts[0]
    told = operator.call(
        "POST",
        "/submit",
        submission("cat", required_cores=1, targets=[host, f"{host}:0", "nowhere"])
        | {"command": 'echo "$0" on $HOSTNAME; sleep 300'},
        status=202,
    )
    first, second = told["task_ids"]
    assert [each["target"] for each in told["failed_targets"]] == ["nowhere"]
    tasks = [operator.follow(each, "running") for each in (first, second)]
    assert [each["batch_id"] for each in tasks] == [first, first]
    assert [each["approval_status"] for each in tasks] == ["approved", "approved"]
    containers = weir.containers(resource_of(weir, first)["metadata"]["uid"])
    assert len(containers) == 1

    # The host is full now: more work is taken, and waits; it goes on when there is room.
    [third] = operator.submit("echo at last", required_cores=1)
    assert operator.get(f"/status/{third}")["status"] == "assigning"
    operator.call("POST", f"/command/{third}/pause", status=400)
    operator.call("POST", f"/kill/{first}", status=202)
    operator.follow(first, "killed")
    operator.follow(third, "completed")
    assert operator.output(third) == b"at last\n"
    operator.call("POST", f"/kill/{second}", status=202)
    operator.follow(second, "killed")

    # What can never be is refused at once.
    operator.call("POST", "/submit", submission("true", required_cores=4096), status=503)

    # A user's work is rejected, with a word; another's is killed.
    [unwanted] = user.submit("sleep 300")
    told = operator.call("POST", f"/reject/{unwanted}?reason=not%20today")
    assert (told["task_id"], told["reason"]) == (unwanted, "not today")
    seen = user.get(f"/status/{unwanted}")
    assert (seen["status"], seen["approval_status"]) == ("rejected", "rejected")
    assert seen["rejection_reason"] == "not today"
    operator.call("POST", f"/reject/{unwanted}", status=409)
    [wanted] = user.submit("sleep 300")
    operator.call("POST", f"/approve/{wanted}")
    operator.follow(wanted, "running")
    operator.call("POST", f"/kill/{wanted}", status=202)
    assert user.follow(wanted, "killed")


def test_a_task_of_kubectl_is_one_of_rest(
    weir: WeirSystem, facades: list[FacadeProcess], operator: Person, namespace: str
) -> None:
    """Seen, paused, read and killed, under an id that every replica gives it, for good."""
    made = weir.create(
        task("by-kubectl", namespace, command=["sh", "-c", "echo made with kubectl; sleep 300"])
    )
    number = str(task_id(made["metadata"]["uid"]))
    seen = operator.follow(number, "running")
    assert seen["command"] == "sh -c 'echo made with kubectl; sleep 300'"
    assert (seen["owner_id"], seen["approval_status"]) == (None, None)
    listed = operator.get(f"/tasks?node={weir.hosts[0]}&status=running")
    assert number in [each["task_id"] for each in listed]
    eventually(lambda: operator.output(number) == b"made with kubectl\n", "its output is there")

    operator.call("POST", f"/command/{number}/pause")
    operator.follow(number, "paused")
    assert weir.get(namespace, "by-kubectl")["spec"]["desiredState"] == "Paused"

    second = operator.at(facades[1])
    assert second.follow(number, "paused")["task_id"] == number
    facades[1].process.stop()
    facades[1].start()
    assert second.follow(number, "paused")["task_id"] == number

    second.call("POST", f"/tasks/{number}/kill", status=202)
    operator.follow(number, "killed")
    ended = weir.wait_finished(namespace, "by-kubectl")
    assert condition(ended, "Succeeded")["reason"] == "Killed"
    assert operator.output(number) == b"made with kubectl\n"


def test_an_external_host_is_shown_and_given_no_work(
    weir: WeirSystem, admin: Person, operator: Person, namespace: str
) -> None:
    """A runner of another make registers with its own credential and lives by its heartbeats."""
    name = f"external-{uuid.uuid4().hex[:6]}"
    credential = admin.call("POST", "/auth/tokens/create", {"name": "runner", "node": name})
    runner = Person(admin.facade, {"Authorization": f"Bearer {credential['token']}"}, {})
    body = {"hostname": name, "url": "http://10.0.0.9:8001", "total_cores": 64}
    try:
        assert runner.call("POST", "/register", body)["created"] is True
        runner.call("PUT", f"/heartbeat/{name}", {"running_tasks": [], "cpu_percent": 7.5})
        [node] = [node for node in operator.get("/nodes") if node["hostname"] == name]
        assert (node["status"], node["total_cores"]) == ("online", 64)

        def approved() -> bool:
            told = condition(weir.cluster.admin.json("GET", HOST.path(name=name)), "Approved")
            return told.get("status") == "True"

        eventually(approved, "the operator approves it as any host")
        runner.call("GET", "/nodes", status=403)  # it may report, and no more

        refused = operator.call("POST", "/submit", submission("true", targets=[name]), status=503)
        assert name in refused["detail"]
        operator.call("POST", "/submit", submission("true", required_cores=32), status=503)
        weir.create(task("pinned", namespace, placement={"hostName": name}))
        weir.wait_condition(namespace, "pinned", "Scheduled", "False")
        assert "nodeName" not in weir.get(namespace, "pinned")["status"]
        weir.patch_spec(namespace, "pinned", desiredState="Killed")
    finally:
        for path in (HOST.path(name=name), LEASE.path(SYSTEM_NAMESPACE, name)):
            weir.cluster.admin.request("DELETE", path)


@pytest.fixture
def daemon_away(weir: WeirSystem) -> Iterator[None]:
    """The host's daemon does not run, while its Host is still taken for ready."""
    weir.stop("daemon")
    yield
    weir.start("daemon")


def test_output_of_a_host_that_is_away_is_said_to_be_there(
    weir: WeirSystem, operator: Person, request: pytest.FixtureRequest
) -> None:
    [number] = operator.submit("echo kept")
    operator.follow(number, "completed")
    assert operator.output(number) == b"kept\n"
    request.getfixturevalue("daemon_away")
    reply = operator.ask("GET", f"/tasks/{number}/stdout")
    assert reply.status == 503
    assert weir.hosts[0] in reply.json()["detail"]
    assert int(reply.headers["Retry-After"]) >= 1
    assert operator.get(f"/status/{number}")["status"] == "completed"
    weir.start("daemon")
    assert operator.output(number) == b"kept\n"


def test_what_a_task_writes_without_end_is_streamed(weir: WeirSystem, operator: Person) -> None:
    """The facade never has the whole of an output in memory."""
    [number] = operator.submit("dd if=/dev/zero bs=1M count=30 | tr '\\0' x")
    operator.follow(number, "completed", timeout=120)
    before = operator.facade.health.request("GET", "/metrics").decode()
    sizes: list[int] = []
    readers = [
        threading.Thread(target=lambda: sizes.append(len(operator.output(number))))
        for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    after = operator.facade.health.request("GET", "/metrics").decode()
    assert sizes == [30 * 2**20] * 3
    assert _memory(after) - _memory(before) < 40 * 2**20


def _memory(metrics: str) -> float:
    [line] = [line for line in metrics.splitlines() if line.startswith("process_resident_memory")]
    return float(line.split()[1])
