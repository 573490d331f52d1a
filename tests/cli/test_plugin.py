"""The plugin as one file, with a Python that has nothing else."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import plugin
from support.served_host import ServedHost, with_kubectl


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist") / "kubectl-weir"
    plugin.build(target)
    return target


def isolated(file: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run it without site-packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(file), *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        env=with_kubectl(),
    )


async def test_all_commands_work_with_the_standard_library_alone(
    host: ServedHost, kubeconfig: Path, file: Path
) -> None:
    container = await host.run_task("train")
    host.engine.print(container, b"here\n")
    host.engine.end(container)
    where = ("--kubeconfig", str(kubeconfig), "-n", host.namespace)
    asked = {
        "logs": ("logs", "train"),
        "why": ("why", "train"),
        "hosts": ("hosts", host.name, "-o", "yaml"),
        "top": ("top", "hosts", host.name, "-o", "json"),
        "version": ("version", "-o", "yaml"),
    }
    found = {
        word: await asyncio.to_thread(isolated, file, *arguments, *where)
        for word, arguments in asked.items()
    }
    assert {word: done.stderr for word, done in found.items()} == dict.fromkeys(asked, b"")
    assert found["logs"].stdout == b"here\n"
    assert b"has been running on host" in found["why"].stdout
    assert f"name: {host.name}".encode() in found["hosts"].stdout
    assert json.loads(found["top"].stdout)["hosts"][0]["name"] == host.name
    assert b"client: " in found["version"].stdout


def test_under_its_other_name_it_completes(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "kubectl_complete-weir"
    link.symlink_to(file)
    assert isolated(link, "wh").stdout.splitlines()[-1] == b":4"
    assert isolated(link, "wh").stdout.startswith(b"why\t")
