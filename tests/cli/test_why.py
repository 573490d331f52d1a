"""`kubectl weir why` for who may see a namespace and nothing else."""

import subprocess
from pathlib import Path

import pytest

from support.served_host import ServedHost, weir, with_kubectl


@pytest.fixture
def somebody(kubeconfig: Path, namespace: str) -> str:
    """The flag that makes one somebody who may see this namespace."""
    granted = ("--clusterrole=weir-view", "--user=somebody", "-n", namespace)
    subprocess.run(
        ["kubectl", f"--kubeconfig={kubeconfig}", "create", "rolebinding", "somebody", *granted],
        env=with_kubectl(),
        check=True,
    )
    return "--as=somebody"


async def test_who_may_not_see_hosts_is_told_what_the_task_says(
    host: ServedHost, kubeconfig: Path, somebody: str
) -> None:
    await host.create_task("waits", resources={"cpu": 2})
    await host.run_task("runs")

    got = await weir(kubeconfig, "why", somebody, "-n", host.namespace, "waits")
    assert (got.code, got.err) == (0, "")
    assert "It asks for 2 cores of its own." in got.out.decode()
    assert "You may not list Hosts" in got.out.decode()

    got = await weir(kubeconfig, "why", somebody, "-n", host.namespace, "runs")
    assert (got.code, got.err) == (0, "")
    assert f"has been running on host {host.name}" in got.out.decode()
    assert "You may not read Hosts" in got.out.decode()

    got = await weir(kubeconfig, "logs", somebody, "-n", host.namespace, "runs")
    assert (got.code, got.out) == (1, b"")
    assert 'cannot get resource "hosts"' in got.err
