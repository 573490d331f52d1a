"""Runners of another make, before the real API server with the facade's own account."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from devcluster.rest import MERGE_PATCH
from support.cluster import Cluster
from support.hosts import GIB
from support.replica import Replica, bearer
from support.tasks import condition, task
from weir_api.access.service import AuthSettings
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.nodes.figures import NO_FIGURES, Figures
from weir_api.hostapi.nodes.health_history import HealthHistory
from weir_api.hostapi.nodes.node_rows import NodeRows
from weir_api.hostapi.nodes.routes import NodeRoutes
from weir_api.hostapi.runners.heartbeats import Heartbeats
from weir_api.hostapi.runners.reports import RunnerReports
from weir_api.hostapi.runners.routes import RunnerRoutes
from weir_api.hostapi.tasks.view import TaskWorkload
from weir_api.hostapi.usernames import Usernames
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state.caches import Caches
from weir_api.state.writer import Writer
from weir_crds.ids import task_id
from weir_crds.kinds import HOST, TASK
from weir_crds.names import ANNOTATION_RUNNER_METRICS, SYSTEM_NAMESPACE
from weir_kube.kinds import LEASE
from weir_kube.store import Key

FIGURES = {
    "running_tasks": [],
    "killed_tasks": [],
    "cpu_percent": 12.5,
    "memory_percent": 25.0,
    "memory_used_bytes": GIB,
    "memory_total_bytes": 4 * GIB,
    "current_avg_temp": 41.0,
    "current_max_temp": 50.0,
    "gpu_info": None,
    "vm_capable": True,
    "vfio_gpus": None,
    "runner_version": "0.2.0",
}


class NoFigures:
    def figures(self, host: str) -> Figures:
        return NO_FIGURES


def more_routes(caches: Caches, writer: Writer) -> list[Any]:
    """Return runners and nodes over the same caches."""
    index = WorkloadIndex(caches, KnownHosts(caches), Usernames(caches), [TaskWorkload()])
    heartbeats = Heartbeats(caches[LEASE])
    rows = NodeRows(caches[HOST], caches[LEASE], NoFigures(), index, heartbeats)
    for kind in (HOST, LEASE, TASK):
        caches.listen(kind, rows.changed)
    reports = RunnerReports(caches, writer, index, heartbeats)
    return [RunnerRoutes(reports), NodeRoutes(rows, HealthHistory(rows))]


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    """A host's name; what has it goes at the end."""
    chosen = f"runner-{uuid.uuid4().hex[:8]}"
    yield chosen
    for path in (HOST.path(name=chosen), LEASE.path(SYSTEM_NAMESPACE, chosen)):
        if cluster.admin.find(path) is not None:
            cluster.admin.request("DELETE", path)


@pytest.fixture
async def open_facade(replica_of: Any) -> AsyncIterator[Replica]:
    """One replica with authentication off."""
    return await replica_of(AuthSettings(enabled=False), more_routes)


@pytest.fixture
async def guarded_facade(replica_of: Any) -> AsyncIterator[Replica]:
    """One replica with authentication on."""
    return await replica_of(AuthSettings(), more_routes)


async def call(
    replica: Replica, method: str, path: str, body: Any, *, status: int = 200, **kwargs: Any
) -> Any:
    async with replica.http.request(method, f"/api{path}", json=body, **kwargs) as response:
        assert response.status == status, await response.text()
        return await response.json()


def registration(name: str, **more: Any) -> dict[str, Any]:
    return {"hostname": name, "url": "http://10.0.0.9:8001", "total_cores": 8} | more


def nested(levels: int) -> dict[str, Any]:
    """Return an object so many levels deep."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"more": value}
    return value


def patched(cluster: Cluster, path: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change an object as an administrator, and return it."""
    found: dict[str, Any] = json.loads(
        cluster.admin.request("PATCH", path, changes, content_type=MERGE_PATCH)
    )
    return found


async def node(replica: Replica, name: str, **kwargs: Any) -> Any:
    async with replica.http.get("/api/nodes", **kwargs) as response:
        return next(each for each in await response.json() if each["hostname"] == name)


# -- register -----------------------------------------------------------------------------------


async def test_a_runner_registers_and_is_an_external_host(
    open_facade: Replica, cluster: Cluster, name: str
) -> None:
    body = registration(
        name,
        total_ram_bytes=64 * GIB,
        numa_topology={
            "0": {"cores": [0, 1, 2, 3], "memory_bytes": 32 * GIB},
            "1": {"cores": [4, 5, 6, 7], "memory_bytes": None},
        },
        gpu_info=[{"gpu_id": 0, "name": "A100", "memory_total_mib": 81920, "temperature": 40}],
        unknown="ignored",
    )
    told = await call(open_facade, "POST", "/register", body)
    assert told == {"message": f"{name} registered", "created": True, "overlay": None}
    host = cluster.admin.json("GET", HOST.path(name=name))
    assert host["spec"]["external"] is True
    assert host["spec"]["approval"] == "Pending"
    assert host["status"]["runnerURL"] == "http://10.0.0.9:8001"
    assert "endpoint" not in host["status"]
    assert host["status"]["capacity"] == {
        "cpus": 8,
        "memory": "64Gi",
        "numa": [
            {"id": 0, "cpus": [0, 1, 2, 3], "memory": "32Gi"},
            {"id": 1, "cpus": [4, 5, 6, 7]},
        ],
        "gpus": [
            {
                "index": 0,
                "uuid": "gpu-0",
                "name": "A100",
                "pciAddress": "",
                "driver": "",
                "memory": "80Gi",
            }
        ],
    }
    assert condition(host, "Ready")["status"] == "True"
    lease = cluster.admin.json("GET", LEASE.path(SYSTEM_NAMESPACE, name))
    assert lease["spec"]["holderIdentity"] == name
    assert lease["spec"]["leaseDurationSeconds"] == 40

    shown = await node(open_facade, name)
    assert (shown["status"], shown["url"]) == ("online", "http://10.0.0.9:8001")
    assert (shown["total_cores"], shown["memory_total_bytes"]) == (8, 64 * GIB)
    assert shown["gpu_info"] == body["gpu_info"]


async def test_to_register_again_updates_what_is_told(open_facade: Replica, name: str) -> None:
    first = registration(
        name, total_ram_bytes=GIB, numa_topology={"0": {"cores": [0], "memory_bytes": GIB}}
    )
    assert (await call(open_facade, "POST", "/register", first))["created"] is True
    again = registration(name, url="https://other:1", total_cores=4, numa_topology={}, gpu_info=[])
    told = await call(open_facade, "POST", "/register", again)
    assert told == {"message": f"{name} updated", "created": False, "overlay": None}
    shown = await node(open_facade, name)
    assert (shown["url"], shown["total_cores"]) == ("https://other:1", 4)
    assert shown["memory_total_bytes"] == GIB  # what is not told stays
    assert shown["numa_topology"] == {"0": {"cores": [0], "memory_bytes": GIB}}


async def test_registrations_at_once_make_one_host(open_facade: Replica, name: str) -> None:
    answers = await asyncio.gather(
        *(call(open_facade, "POST", "/register", registration(name)) for _ in range(10)),
        *(call(open_facade, "PUT", "/heartbeat/nobody", {}, status=404) for _ in range(2)),
    )
    assert sum(answer.get("created", False) for answer in answers) == 1
    assert (await node(open_facade, name))["status"] == "online"


async def test_a_host_of_our_own_is_not_taken_over(
    open_facade: Replica, cluster: Cluster, name: str
) -> None:
    cluster.admin.json("POST", HOST.path(), _host(name))
    told = await call(open_facade, "POST", "/register", registration(name), status=409)
    assert told.keys() == {"detail"}
    await call(open_facade, "PUT", f"/heartbeat/{name}", FIGURES, status=404)


async def test_a_name_that_a_daemon_still_renews_is_not_given_away(
    open_facade: Replica, cluster: Cluster, name: str
) -> None:
    """Its Host may have been deleted only just now."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
    }
    made = cluster.admin.json("POST", LEASE.path(SYSTEM_NAMESPACE), lease)
    open_facade.caches.note(LEASE, made)
    told = await call(open_facade, "POST", "/register", registration(name), status=409)
    assert f"kubectl delete lease -n {SYSTEM_NAMESPACE} {name}" in told["detail"]
    assert cluster.admin.find(HOST.path(name=name)) is None


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"hostname": "Not_A_Name"}, "hostname"),
        ({"hostname": "a..b"}, "hostname"),
        ({"hostname": "x" * 64}, "hostname"),
        ({"hostname": "weir-operator"}, "hostname"),
        ({"hostname": 5}, "hostname"),
        ({"url": "10.0.0.9:8001"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://user:secret@10.0.0.9"}, "url"),
        ({"url": "http://10.0.0.9:99999"}, "url"),
        ({"url": "http://10.0.0.9/\nHost: x"}, "url"),
        ({"url": "http://10.0.0.9/?x=1"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"total_cores": -1}, "total_cores"),
        ({"total_cores": "many"}, "total_cores"),
        ({"total_cores": None}, "total_cores"),
        ({"total_ram_bytes": 10**30}, "total_ram_bytes"),
        ({"numa_topology": []}, "numa_topology"),
        ({"gpu_info": {}}, "gpu_info"),
        ({"gpu_info": [{}] * 65}, "gpu_info"),
        pytest.param({"gpu_info": [nested(300)]}, "gpu_info", id="a device 300 levels deep"),
    ],
    ids=str,
)
async def test_a_registration_that_cannot_be_is_refused(
    open_facade: Replica, cluster: Cluster, name: str, wrong: dict[str, Any], place: str
) -> None:
    told = await call(open_facade, "POST", "/register", registration(name) | wrong, status=422)
    assert [fault["loc"][:2] for fault in told["detail"]] == [["body", place]]
    assert cluster.admin.find(HOST.path(name=name)) is None


async def test_whatever_topology_a_runner_makes_up_is_taken_as_far_as_it_can_be(
    open_facade: Replica, name: str
) -> None:
    topology = {
        "0": {"cores": [1, 0, 0, -1, "2", True, 70000], "memory_bytes": "lots"},
        "1": {"cores": "all"},
        "2": [],
        "x": {"cores": [3]},
        "99999": {"cores": [4]},
        "numa_nodes": [{"id": 0}],
    }
    gpus = [{"gpu_id": 1}, {"gpu_id": 1, "name": 7}, {"gpu_id": "x"}, {"name": "y" * 1000}, {}]
    body = registration(name, numa_topology=topology, gpu_info=gpus)
    await call(open_facade, "POST", "/register", body)
    shown = await node(open_facade, name)
    assert shown["numa_topology"] == {"0": {"cores": [0, 1], "memory_bytes": None}}


# -- heartbeat ----------------------------------------------------------------------------------


async def test_a_heartbeat_renews_the_lease_with_its_figures(
    open_facade: Replica, cluster: Cluster, name: str
) -> None:
    gpus = [{"gpu_id": 0, "name": "A100", "temperature": 40}]
    await call(open_facade, "POST", "/register", registration(name, gpu_info=gpus))
    await age_lease(open_facade, cluster, name)
    told = await call(open_facade, "PUT", f"/heartbeat/{name}", FIGURES)
    assert told == {"message": "taken"}
    lease = cluster.admin.json("GET", LEASE.path(SYSTEM_NAMESPACE, name))
    metrics = json.loads(lease["metadata"]["annotations"][ANNOTATION_RUNNER_METRICS])
    assert metrics["cpu_percent"] == 12.5
    shown = await node(open_facade, name)
    assert shown["last_heartbeat"] == lease["spec"]["renewTime"].replace("Z", "+00:00")
    assert shown["gpu_info"] == gpus  # a heartbeat without them leaves them as they are
    for key, value in FIGURES.items():
        if key in shown and value is not None:
            assert shown[key] == value, key

    # One that comes soon after is shown, and costs no write.
    host = cluster.admin.json("GET", HOST.path(name=name))
    await call(open_facade, "PUT", f"/heartbeat/{name}", FIGURES | {"cpu_percent": 99})
    again = cluster.admin.json("GET", LEASE.path(SYSTEM_NAMESPACE, name))
    assert again["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"]
    same = cluster.admin.json("GET", HOST.path(name=name))
    assert same["metadata"]["resourceVersion"] == host["metadata"]["resourceVersion"]
    newer = await node(open_facade, name)
    assert newer["cpu_percent"] == 99
    assert newer["last_heartbeat"] > shown["last_heartbeat"]


async def test_an_unknown_host_is_told_to_register(open_facade: Replica, name: str) -> None:
    for unknown in (name, "Not%20a%20name", "weir-operator"):
        told = await call(open_facade, "PUT", f"/heartbeat/{unknown}", FIGURES, status=404)
        assert told.keys() == {"detail"}
    await call(open_facade, "PUT", f"/heartbeat/{name}", {}, status=404)


async def test_a_host_that_was_lost_is_ready_again(
    open_facade: Replica, cluster: Cluster, name: str
) -> None:
    await call(open_facade, "POST", "/register", registration(name))
    lost = {"type": "Ready", "status": "Unknown", "reason": "LeaseExpired", "message": ""}
    lost["lastTransitionTime"] = "2026-11-22T10:00:00Z"
    written = patched(
        cluster, HOST.path(name=name, subresource="status"), {"status": {"conditions": [lost]}}
    )
    open_facade.caches.note(HOST, written)
    assert (await node(open_facade, name))["status"] == "offline"
    await call(open_facade, "PUT", f"/heartbeat/{name}", FIGURES)
    assert (await node(open_facade, name))["status"] == "online"
    host = cluster.admin.json("GET", HOST.path(name=name))
    assert condition(host, "Ready")["reason"] == "RunnerReady"


async def test_figures_without_measure_are_cut_to_what_a_lease_can_carry(
    open_facade: Replica, cluster: Cluster, name: str
) -> None:
    await call(open_facade, "POST", "/register", registration(name))
    await age_lease(open_facade, cluster, name)
    huge = FIGURES | {"gpu_info": [{"gpu_id": 0, "name": "x" * 100_000}]}
    await call(open_facade, "PUT", f"/heartbeat/{name}", huge)
    lease = cluster.admin.json("GET", LEASE.path(SYSTEM_NAMESPACE, name))
    assert len(lease["metadata"]["annotations"][ANNOTATION_RUNNER_METRICS]) < 1000
    assert (await node(open_facade, name))["cpu_percent"] == 12.5


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"cpu_percent": "busy"}, "cpu_percent"),
        ({"cpu_percent": "nan"}, "cpu_percent"),
        ({"running_tasks": 7}, "running_tasks"),
        ({"running_tasks": ["x"]}, "running_tasks"),
        ({"killed_tasks": [{"task_id": 1}]}, "killed_tasks"),
        ({"memory_used_bytes": -1}, "memory_used_bytes"),
        ({"vm_capable": "perhaps"}, "vm_capable"),
        ({"runner_version": 7}, "runner_version"),
        pytest.param({"gpu_info": [nested(300)]}, "gpu_info", id="a GPU 300 levels deep"),
        pytest.param({"vfio_gpus": [nested(17)]}, "vfio_gpus", id="a device 17 levels deep"),
    ],
    ids=str,
)
async def test_a_heartbeat_that_cannot_be_is_refused(
    open_facade: Replica, wrong: dict[str, Any], place: str
) -> None:
    told = await call(open_facade, "PUT", "/heartbeat/n1", FIGURES | wrong, status=422)
    assert [fault["loc"][:2] for fault in told["detail"]] == [["body", place]]


# -- update -------------------------------------------------------------------------------------


async def bound_task(
    replica: Replica, cluster: Cluster, namespace: str, host: str | None
) -> tuple[str, int]:
    """Make a Task and bind it by hand, as nothing else binds one to an external host."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    obj = cluster.admin.json("POST", TASK.path(namespace), task(name, namespace))
    if host is not None:
        obj = patched(
            cluster,
            TASK.path(namespace, name, "status"),
            {"status": {"nodeName": host, "runID": 1, "cpus": []}},
        )
    replica.caches.note(TASK, obj)
    return name, task_id(obj["metadata"]["uid"])


async def test_a_runner_reports_a_task_from_start_to_end(
    open_facade: Replica, cluster: Cluster, namespace: str, name: str
) -> None:
    await call(open_facade, "POST", "/register", registration(name))
    made, number = await bound_task(open_facade, cluster, namespace, name)
    steps: list[tuple[dict[str, Any], str]] = [
        ({"status": "pending"}, "Starting"),
        ({"status": "running", "started_at": "2026-11-22T10:00:00+00:00"}, "Running"),
        ({"status": "paused"}, "Paused"),
        ({"status": "running"}, "Running"),
        ({"status": "completed", "exit_code": 0, "message": "done", "ssh_port": 22}, "Succeeded"),
    ]
    for step, phase in steps:
        told = await call(open_facade, "POST", "/update", {"task_id": number} | step)
        assert told == {"message": "taken", "accepted": True}
        seen = cluster.admin.json("GET", TASK.path(namespace, made))
        assert seen["status"]["phase"] == phase
    assert seen["status"]["exitCode"] == 0
    assert seen["status"]["startedAt"].startswith("2026-11-22T10:00:00")
    assert condition(seen, "Succeeded")["message"] == "done"

    told = await call(open_facade, "POST", "/update", {"task_id": number, "status": "failed"})
    assert (told["accepted"], told.keys()) == (False, {"message", "accepted", "reason"})
    after = cluster.admin.json("GET", TASK.path(namespace, made))
    assert after["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]


async def test_a_report_that_is_not_the_runners_to_make_is_of_no_effect(
    open_facade: Replica, cluster: Cluster, namespace: str, name: str
) -> None:
    ours = f"ours-{uuid.uuid4().hex[:8]}"
    cluster.admin.json("POST", HOST.path(), _host(ours))
    try:
        cases = [
            ("there is no such task", 12345),
            (
                "the task is on no host",
                (await bound_task(open_facade, cluster, namespace, None))[1],
            ),
            (
                "the task is on no external host",
                (await bound_task(open_facade, cluster, namespace, ours))[1],
            ),
            (
                "the task is on no external host",  # its Host is gone
                (await bound_task(open_facade, cluster, namespace, "gone"))[1],
            ),
        ]
        for reason, number in cases:
            body = {"task_id": number, "status": "running"}
            told = await call(open_facade, "POST", "/update", body)
            assert told == {
                "message": f"not taken: {reason}",
                "accepted": False,
                "reason": reason,
            }
    finally:
        cluster.admin.request("DELETE", HOST.path(name=ours))


async def test_a_report_on_what_has_changed_meanwhile_is_judged_anew(
    open_facade: Replica, cluster: Cluster, namespace: str, name: str
) -> None:
    await call(open_facade, "POST", "/register", registration(name))
    made, number = await bound_task(open_facade, cluster, namespace, name)
    before = open_facade.caches[TASK].get(Key(namespace, made))
    patched(cluster, TASK.path(namespace, made), {"metadata": {"labels": {"a": "b"}}})
    # Whether or not the watch has told of that yet.
    assert before is not None
    told = await call(open_facade, "POST", "/update", {"task_id": number, "status": "running"})
    assert told["accepted"] is True


async def test_what_a_runner_ended_by_itself_comes_with_its_heartbeat(
    open_facade: Replica, cluster: Cluster, namespace: str, name: str
) -> None:
    await call(open_facade, "POST", "/register", registration(name))
    tasks = [await bound_task(open_facade, cluster, namespace, name) for _ in range(2)]
    for _, number in tasks:
        await call(open_facade, "POST", "/update", {"task_id": number, "status": "running"})
    killed = [
        {"task_id": tasks[0][1], "reason": "oom"},
        {"task_id": tasks[1][1], "reason": "tired"},
        {"task_id": 1, "reason": "unknown"},
    ]
    await call(open_facade, "PUT", f"/heartbeat/{name}", {"killed_tasks": killed})
    seen = [cluster.admin.json("GET", TASK.path(namespace, made)) for made, _ in tasks]
    assert [condition(each, "Succeeded")["reason"] for each in seen] == ["OOMKilled", "NonZeroExit"]
    assert [each["status"]["exitCode"] for each in seen] == [-9, -9]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"task_id": "x"}, "task_id"),
        ({"task_id": None}, "task_id"),
        ({"task_id": 2**70}, "task_id"),
        ({"status": None}, "status"),
        ({"status": 7}, "status"),
        ({"exit_code": 2**40}, "exit_code"),
        ({"started_at": "yesterday"}, "started_at"),
        ({"message": 7}, "message"),
        ({"message": "a\0b"}, "message"),
    ],
    ids=str,
)
async def test_a_report_that_cannot_be_is_refused(
    open_facade: Replica, wrong: dict[str, Any], place: str
) -> None:
    body = {"task_id": 1, "status": "running"} | wrong
    told = await call(open_facade, "POST", "/update", body, status=422)
    assert [fault["loc"][:2] for fault in told["detail"]] == [["body", place]]
    told = await call(open_facade, "POST", "/update", {"task_id": "1", "status": "running"})
    assert told["accepted"] is False


# -- who may ------------------------------------------------------------------------------------


async def test_a_node_speaks_for_itself_only(
    guarded_facade: Replica, cluster: Cluster, namespace: str, name: str
) -> None:
    facade = guarded_facade
    admin = await facade.admin()
    body = {"name": "a runner", "node": name}
    made = await call(facade, "POST", "/auth/tokens/create", body, headers=admin)
    me = bearer(made["token"])
    other = f"{name}-2"
    try:
        await call(facade, "POST", "/register", registration(other), headers=admin)
        await call(facade, "POST", "/register", registration(other), headers=me, status=403)
        await call(facade, "PUT", f"/heartbeat/{other}", FIGURES, headers=me, status=403)

        told = await call(facade, "POST", "/register", registration(name), headers=me)
        assert told["created"] is True
        await call(facade, "PUT", f"/heartbeat/{name}", FIGURES, headers=me)

        _, mine = await bound_task(facade, cluster, namespace, name)
        _, theirs = await bound_task(facade, cluster, namespace, other)
        for number, accepted in ((mine, True), (theirs, False)):
            report = {"task_id": number, "status": "running"}
            told = await call(facade, "POST", "/update", report, headers=me)
            assert told["accepted"] is accepted
    finally:
        for path in (HOST.path(name=other), LEASE.path(SYSTEM_NAMESPACE, other)):
            cluster.admin.request("DELETE", path)


async def test_who_is_no_node_may_not_report(guarded_facade: Replica, name: str) -> None:
    facade = guarded_facade
    callers: list[tuple[dict[str, str], int]] = [({}, 401)]
    for role in ("viewer", "user", "operator"):
        callers.append((await facade.token(await facade.person(role, role)), 403))
    for headers, status in callers:
        for method, path, body in (
            ("POST", "/register", registration(name)),
            ("PUT", f"/heartbeat/{name}", FIGURES),
            ("POST", "/update", {"task_id": 1, "status": "running"}),
        ):
            await call(facade, method, path, body, headers=headers, status=status)


def _host(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Host",
        "metadata": {"name": name},
        "spec": {},
    }


async def age_lease(replica: Replica, cluster: Cluster, name: str) -> None:
    """Have the Lease be ten seconds old."""
    written = patched(
        cluster,
        LEASE.path(SYSTEM_NAMESPACE, name),
        {"spec": {"renewTime": "2026-11-22T10:00:00.000000Z"}},
    )
    replica.caches.note(LEASE, written)
