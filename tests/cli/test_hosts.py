import datetime as dt
import json
from pathlib import Path
from typing import Any

from support.cluster import Cluster
from support.madeup import numa_capacity, report
from support.served_host import ServedHost, weir
from weir_cli.hosts import hosts_json, hosts_table
from weir_crds.kinds import HOST

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


def test_the_table() -> None:
    assert hosts_table([SMALL, BIG, NEW], TASKS, NOW, wide=False).splitlines() == [
        "NAME   NUMA     STATUS                                   CPUS   EXCLUSIVE   SHARED   "
        "MEMORY     GPUS   TASKS   AGE",
        "n1     *        Ready                                    8      3           1.5/4    "
        "8Gi/64Gi   1/2    2       5m",
        "n1     0        -                                        4      2           -/1      "
        "-/32Gi     -      1       -",
        "n1     1        -                                        4      1           -/3      "
        "-/32Gi     -      1       -",
        "n2     0        Unknown,NotApproved,SchedulingDisabled   2      0           0/2      "
        "0/4Gi      0/0    0       2d",
        "n3     <none>   NotReady                                 0      0           0/0      "
        "0/0        0/0    0       <unknown>",
    ]


def test_wide_shows_what_is_reserved_and_what_runs_there() -> None:
    header, host, node = hosts_table([BIG], TASKS, NOW, wide=True).splitlines()[:3]
    assert header.split()[-4:] == ["RESERVED", "ENGINES", "ENDPOINT", "KERNEL"]
    assert host.endswith("cpus 0, 1Gi   docker 20.10.24   https://10.0.0.5:8443   6.1")
    assert "cpus 0" in node


def test_use_that_may_not_be_seen_is_not_shown_as_nothing() -> None:
    line = hosts_table([BIG], None, NOW, wide=False).splitlines()[1]
    assert line.split() == ["n1", "*", "Ready", "8", "?", "?", "?/64Gi", "?/2", "?", "5m"]
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
    assert got.out.decode().splitlines()[1].split()[:9] == (
        [host.name, "0", "Ready,NotApproved", "4", "3", "0/1", "8Gi/64Gi", "0/0", "1"]
    )
    got = await weir(kubeconfig, "hosts", "-o", "json", host.name)
    assert json.loads(got.out)[0]["used"]["exclusiveCpus"] == 3
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
