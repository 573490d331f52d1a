import asyncio
import datetime as dt
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster
from support.madeup import numa_capacity, report
from support.served_host import ServedHost, weir, with_kubectl, with_noted_kubectl
from weir_cli.hosts import hosts_json, hosts_table, numa_table
from weir_cli.kubectl import Kubectl, KubectlError
from weir_crds.kinds import HOST, TASK

NOW = dt.datetime(2026, 11, 22, 10, 5, tzinfo=dt.UTC)


def ready(status: str = "True") -> list[dict[str, Any]]:
    return [
        {"type": "Ready", "status": status, "reason": "DaemonReady", "message": ""},
        {"type": "DockerReady", "status": "True", "reason": "EngineReady", "message": ""},
    ]


BIG = {
    "metadata": {"name": "n1", "creationTimestamp": "2026-11-22T10:00:00Z"},
    "spec": {"approval": "Approved", "reserved": {"cpus": [0], "memory": "1Gi"}},
    "status": {
        "capacity": numa_capacity(2, 4, gpus=2),
        "conditions": ready(),
        "engines": [{"name": "docker", "version": "20.10.24", "ready": True}],
        "endpoint": {"url": "https://10.0.0.5:8443"},
        "info": {"kernel": "6.1"},
    },
}
SMALL = {
    "metadata": {"name": "n2", "creationTimestamp": "2026-11-20T10:05:00Z"},
    "spec": {"approval": "Pending", "unschedulable": True},
    "status": {"capacity": {"cpus": 2, "memory": "4Gi"}, "conditions": ready("Unknown")},
}
NEW = {"metadata": {"name": "n3"}, "spec": {"approval": "Approved"}}
TASKS = [
    {
        "metadata": {"namespace": "default", "name": "own"},
        "spec": {"resources": {"cpu": 3, "memory": "8Gi"}},
        "status": {"nodeName": "n1", "cpus": [1, 2, 4], "gpus": [{"index": 0}]},
    },
    {
        "metadata": {"namespace": "default", "name": "shared"},
        "spec": {"resources": {"cpu": "1500m"}},
        "status": {"nodeName": "n1", "cpus": []},
    },
]


def test_a_line_for_each_host() -> None:
    assert hosts_table([SMALL, BIG, NEW], TASKS, NOW).splitlines() == [
        "NAME   STATUS                                   CPUS   EXCLUSIVE   SHARED   FREE   "
        "MEMORY   MEM-FREE   GPUS   GPU-FREE   TASKS   AGE",
        "n1     Ready                                    8      3           1.5      2      "
        "64Gi     55Gi       2      1          2       5m",
        "n2     Unknown,NotApproved,SchedulingDisabled   2      0           0        2      "
        "4Gi      4Gi        0      0          0       2d",
        "n3     NotReady                                 0      0           0        0      "
        "0        0          0      0          0       <unknown>",
    ]


def test_a_line_for_each_numa_node() -> None:
    assert numa_table([SMALL, BIG], TASKS).splitlines() == [
        "HOST   NUMA   CPUS   EXCLUSIVE   FREE   MEMORY      RESERVED   TASKS",
        "n1     0      4      2           1      32Gi        0          1",
        "n1     1      4      1           3      32Gi        <none>     1",
        "n2     0      2      0           2      <unknown>   <none>     0",
    ]


def test_the_line_of_names_can_be_left_out() -> None:
    lines = hosts_table([BIG], TASKS, NOW).splitlines()
    assert hosts_table([BIG], TASKS, NOW, headers=False).splitlines() == lines[1:]
    lines = numa_table([BIG], TASKS).splitlines()
    assert numa_table([BIG], TASKS, headers=False).splitlines() == lines[1:]


def test_wide_shows_what_is_reserved_and_what_runs_there() -> None:
    header, host = hosts_table([BIG], TASKS, NOW, wide=True).splitlines()
    assert header.split()[-5:] == ["NUMA", "RESERVED", "ENGINES", "ENDPOINT", "KERNEL"]
    assert host.endswith("0-1    cpus 0, 1Gi   docker 20.10.24   https://10.0.0.5:8443   6.1")


def test_use_that_may_not_be_seen_is_not_shown_as_nothing() -> None:
    line = hosts_table([BIG], None, NOW).splitlines()[1]
    hidden = ["<unknown>"]
    assert line.split() == (
        ["n1", "Ready", "8", *hidden * 3, "64Gi", *hidden, "2", *hidden * 2, "5m"]
    )
    assert numa_table([BIG], None).splitlines()[1].split()[3:5] == hidden * 2
    assert "used" not in hosts_json([BIG], None)[0]


def test_json_has_exact_numbers() -> None:
    (row,) = hosts_json([BIG], TASKS)
    assert row["used"] == {
        "exclusiveCpus": 3,
        "sharedMillis": 1500,
        "memoryBytes": 8 * 2**30,
        "gpus": [0],
        "tasks": 2,
    }
    assert row["numa"][1]["exclusive"] == {"4": "default/own"}
    assert (row["memoryBytes"], row["memoryReservedBytes"]) == (64 * 2**30, 2**30)


async def test_hosts_and_why_against_a_real_api_server(
    host: ServedHost, kubeconfig: Path, cluster: Cluster
) -> None:
    obj = await host.admin.patch(HOST, host.name, {"spec": {"approval": "Pending"}})
    await report(host.admin, obj, capacity=numa_capacity(1, 4))
    await host.run_task("own", resources={"cpu": 3, "memory": "8Gi"})
    await host.set_task("own", cpus=[0, 1, 2])

    got = await weir(kubeconfig, "hosts", host.name)
    assert got.code == 0
    (row,) = [line.split() for line in got.out.decode().splitlines()[1:]]
    assert row[:7] == [host.name, "Ready,NotApproved", "4", "3", "0", "1", "64Gi"]
    assert row[7:11] == ["56Gi", "0", "0", "1"]
    got = await weir(kubeconfig, "hosts", "-o", "json", f"wh/{host.name}")
    assert json.loads(got.out)[0]["used"]["exclusiveCpus"] == 3
    got = await weir(kubeconfig, "hosts", "-o", "yaml", host.name)
    assert yaml.safe_load(got.out)[0]["used"]["exclusiveCpus"] == 3
    await host.admin.patch(HOST, host.name, {"metadata": {"labels": {"only": host.name}}})
    got = await weir(kubeconfig, "hosts", "-l", f"only={host.name}", "-o", "name")
    assert got.out.decode() == f"host.weir.dev/{host.name}\n"
    got = await weir(kubeconfig, "hosts", "-l", f"only!={host.name}", "--no-headers")
    assert host.name not in got.out.decode()
    got = await weir(kubeconfig, "why", f"host/{host.name}")
    assert got.out.decode().startswith(f"Host {host.name} takes no new Tasks: it is not approved")
    assert "1 Task has a place on it." in got.out.decode()
    got = await weir(kubeconfig, "hosts", "nowhere")
    assert (got.code, got.out) == (1, b"")
    assert got.err == 'Error from server (NotFound): hosts.weir.dev "nowhere" not found\n'

    placement = {"hostName": host.name}
    await host.create_task("waits", resources={"cpu": 2}, placement=placement)
    got = await weir(kubeconfig, "why", "-n", host.namespace, "waits")
    assert got.code == 0
    assert "is not approved yet; 1 of 4 cores free, 2 needed" in got.out.decode()
    got = await weir(kubeconfig, "why", "-n", host.namespace, "own")
    assert "has been running on host" in got.out.decode()
    got = await weir(kubeconfig, "why", "-n", host.namespace, "nothing")
    assert (got.code, got.err) == (
        1,
        'Error from server (NotFound): tasks.weir.dev "nothing" not found\n',
    )

    nobody = cluster.kubeconfig_for("default")
    got = await weir(nobody, "hosts")
    assert (got.code, got.out) == (1, b"")
    assert got.err.startswith("Error from server (Forbidden): hosts.weir.dev is forbidden")
    reader = ("--as", "somebody", "--as-group=system:masters")
    assert (await weir(kubeconfig, "hosts", *reader, host.name)).code == 0
    got = await weir(kubeconfig, "--as=somebody", "hosts")
    assert 'User "somebody" cannot list resource "hosts"' in got.err


async def test_what_is_about_one_host_reads_no_other_hosts_tasks(
    host: ServedHost, kubeconfig: Path, tmp_path: Path
) -> None:
    """All of them are 23 MB where there are 1,000 hosts and 10,000 Tasks."""
    await host.run_task("own")
    await host.create_task("waits")
    notes = tmp_path / "notes"
    env = with_noted_kubectl(tmp_path / "bin", notes)
    asked = (("why", f"host/{host.name}"), ("hosts", host.name), ("why", "own"))
    for command in (*asked, ("top", "hosts", host.name), ("top", "tasks", "own")):
        got = await weir(kubeconfig, *command, "-n", host.namespace, env=env)
        assert (got.code, got.err) == (0, "")
    lists = re.findall(r"/weir.dev/v1alpha1/\S*\?\S*", notes.read_text())
    assert {f"{path}&".partition("fieldSelector=")[2] for path in lists} == {
        f"status.nodeName%3D{host.name}&"
    }


async def test_lists_come_in_pieces_and_whole(
    host: ServedHost, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", with_kubectl()["PATH"])
    names = [f"piece-{number:03}" for number in range(15)]
    for name in names:
        await host.create_task(name)
    kubectl = Kubectl([f"--kubeconfig={kubeconfig}"], page=4)
    found = await asyncio.to_thread(kubectl.list, TASK, host.namespace)
    assert [obj["metadata"]["name"] for obj in found] == names
    wanted = [*names[3:12], names[3]]
    found = await asyncio.to_thread(kubectl.named, TASK, wanted, host.namespace)
    assert [obj["metadata"]["name"] for obj in found] == names[3:12]
    with pytest.raises(KubectlError, match=r'^Error from server \(NotFound\): tasks.weir.dev "no"'):
        await asyncio.to_thread(kubectl.named, TASK, [*wanted, "no"], host.namespace)


async def test_versions(host: ServedHost, kubeconfig: Path) -> None:
    info = {"status": {"info": {"daemonVersion": "9.8.7"}}}
    await host.admin.patch(HOST, host.name, info, subresource="status")
    got = await weir(kubeconfig, "version")
    first, header, *rows = got.out.decode().splitlines()
    assert (first, header.split()) == (f"Client Version: {version('weir')}", ["HOST", "DAEMON"])
    assert [host.name, "9.8.7"] in [row.split() for row in rows]
    got = await weir(Path("/nonexistent"), "version", "--client")
    assert (got.code, got.out.decode()) == (0, first + "\n")


def test_a_host_on_which_nothing_starts_is_not_just_ready() -> None:
    failing = {"type": "StartsFailing", "status": "True", "reason": "RepeatedFailures"}
    host = BIG | {"status": {**BIG["status"], "conditions": [*ready(), failing]}}
    row = hosts_table([host], [], NOW, headers=False)
    assert row.split()[:2] == ["n1", "Ready,StartsFailing"]
