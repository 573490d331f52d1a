import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.aio import until
from support.cluster import Cluster
from support.served_host import ServedHost, weir, with_kubectl, with_noted_kubectl
from weir_crds.kinds import HOST
from weir_nodedaemon.engines.port import InstanceUsage

FINGERPRINT = "sha256:" + "00" * 32


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def burns(name: str) -> InstanceUsage:
    """Use one and a half cores."""
    return InstanceUsage(cpu_seconds=1.5 * time.monotonic(), memory_bytes=3 * 2**20, pids=4)


@pytest.fixture
async def dead_host(host: ServedHost) -> AsyncIterator[str]:
    """Name of another Host, at whose address nobody listens."""
    name = f"{host.name}-dead"
    await host.admin.create(HOST, {"metadata": {"name": name}, "spec": {"approval": "Approved"}})
    endpoint = {"url": "https://127.0.0.1:1", "fingerprint": FINGERPRINT}
    await host.admin.patch(HOST, name, {"status": {"endpoint": endpoint}}, subresource="status")
    yield name
    await host.admin.delete(HOST, name)


async def test_live_figures_of_hosts_and_tasks(
    host: ServedHost, dead_host: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.runs, "usage", burns)
    await host.run_task("train", resources={"cpu": 2, "memory": "8Mi"})
    await host.create_task("waits")

    got = await weir(kubeconfig, "top", "-n", host.namespace)
    assert got.code == 1  # a host is missing
    hosts, tasks = got.out.decode().split("\n\n")
    rows = {line.split()[0]: line.split() for line in hosts.splitlines()}
    assert rows["HOST"] == ["HOST", "CPU", "MEMORY", "LOAD", "PIDS", "TASKS", "ERROR"]
    assert rows[host.name][4:] == ["4", "1", "<none>"]
    assert rows[dead_host][:6] == [dead_host, *["<unknown>"] * 5]
    why = f"cannot reach the daemon of host {dead_host} at https://127.0.0.1:1"
    assert " ".join(rows[dead_host][6:]).startswith(why)
    header, row = tasks.splitlines()
    assert header.split() == ["NAMESPACE", "TASK", "HOST", "CPU", "MEMORY", "PIDS"]
    cpu = row.split()[3]
    assert re.fullmatch(r"\d+\.\d\d/2", cpu)  # how much: by two clocks that are read in turn
    assert row.split() == [host.namespace, "train", host.name, cpu, "3Mi/8Mi", "4"]
    assert got.err.endswith(" gave no figures\n")

    gpu = {"index": 0, "uuid": "GPU-0", "name": "NVIDIA H200", "memory": {"totalBytes": 2**30}}
    host.gpus.append(gpu)
    got = await weir(kubeconfig, "top", "hosts", host.name)
    assert got.out.decode().split("\n\n")[1].splitlines()[1].split()[:3] == [
        host.name,
        "0",
        "<unknown>",
    ]

    got = await weir(kubeconfig, "top", "tasks", "-A", "-o", "json", "--sort-by=cpu")
    (row,) = [row for row in json.loads(got.out)["tasks"] if row["namespace"] == host.namespace]
    assert row["cpuCores"] > 0
    assert (row["name"], row["run"], row["pids"]) == ("train", 1, 4)

    got = await weir(kubeconfig, "top", "tasks", "-n", host.namespace, "waits", "train")
    assert (got.code, got.err) == (0, "Task waits does not run.\n")
    assert len(got.out.splitlines()) == 2


async def test_an_external_host_is_only_asked_about_by_name(
    host: ServedHost, kubeconfig: Path
) -> None:
    external = f"{host.name}-external"
    await host.admin.create(HOST, {"metadata": {"name": external}, "spec": {"external": True}})
    try:
        got = await weir(kubeconfig, "top", "hosts")
        assert external not in got.out.decode() + got.err
        got = await weir(kubeconfig, "top", "hosts", external)
        assert f"host {external} is external: it has no daemon" in got.out.decode()
        assert got.code == 1
    finally:
        await host.admin.delete(HOST, external)


async def test_what_cannot_be_told(
    host: ServedHost, dead_host: str, kubeconfig: Path, cluster: Cluster
) -> None:
    got = await weir(kubeconfig, "top", "hosts", "-o", "json", dead_host)
    assert got.code == 1
    (row,) = json.loads(got.out)["hosts"]
    assert row["error"].startswith(f"cannot reach the daemon of host {dead_host}")
    assert got.err == "error: 1 of 1 host gave no figures\n"

    got = await weir(kubeconfig, "top", "hosts", "nowhere")
    assert (got.code, got.out) == (1, b"")
    assert got.err == 'Error from server (NotFound): hosts.weir.dev "nowhere" not found\n'
    got = await weir(kubeconfig, "top", "tasks", "-n", host.namespace, "nothing")
    assert got.err == 'Error from server (NotFound): tasks.weir.dev "nothing" not found\n'
    got = await weir(kubeconfig, "top", "tasks", "-n", host.namespace)
    assert (got.code, got.out, got.err) == (0, b"", "Nothing runs.\n")

    reader = cluster.kubeconfig_for("default")
    got = await weir(reader, "top")
    assert got.err.startswith("Error from server (Forbidden): tasks.weir.dev is forbidden")


async def test_a_fleet_costs_a_handful_of_kubectl_processes(
    host: ServedHost, kubeconfig: Path, tmp_path: Path
) -> None:
    """One for each host would be a minute of CPU where there are a thousand."""
    names = [f"{host.name}-{number}" for number in range(12)]
    endpoint = {"url": "https://127.0.0.1:1", "fingerprint": FINGERPRINT}
    for name in names:
        await host.admin.create(
            HOST, {"metadata": {"name": name}, "spec": {"approval": "Approved"}}
        )
        await host.admin.patch(HOST, name, {"status": {"endpoint": endpoint}}, subresource="status")
    runs = tmp_path / "runs"
    scratch = tmp_path / ("long-" * 20)  # longer than the name of a socket may be
    scratch.mkdir()
    try:
        got = await weir(
            kubeconfig,
            *("top", "hosts", *names, host.name, "-o", "json"),
            env=with_noted_kubectl(tmp_path / "bin", runs) | {"TMPDIR": str(scratch)},
        )
    finally:
        for name in names:
            await host.admin.delete(HOST, name)
    rows = {row["name"]: row for row in json.loads(got.out)["hosts"]}
    assert rows.keys() == {host.name, *names}
    assert "error" not in rows[host.name]
    assert all("cannot reach the daemon" in rows[name]["error"] for name in names)
    assert got.err == "error: 12 of 13 hosts gave no figures\n"
    assert len(runs.read_text().splitlines()) < 5
    assert names_in(scratch) == set()


async def test_kill_9_leaves_no_kubectl_behind(kubeconfig: Path, scratch: Path) -> None:
    script = (
        "import sys\nfrom weir_cli.kubectl import Kubectl\n"
        "from weir_cli.proxy import kubectl_proxy\n"
        "with kubectl_proxy(Kubectl(['--kubeconfig=' + sys.argv[1]])):\n"
        "    print(flush=True)\n    sys.stdin.read()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(kubeconfig)),
        env=with_kubectl() | {"TMPDIR": str(scratch)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readline()
        (folder,) = names_in(scratch)
        address = str(scratch / folder / "socket")
        reader, writer = await asyncio.open_unix_connection(address)
        process.kill()
        await process.wait()
    await until(lambda: not names_in(scratch))
    async with asyncio.timeout(60):
        assert await reader.read() == b""  # whoever listened has ended
    writer.close()
