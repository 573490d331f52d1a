import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.served_host import ServedHost
from weir_cli.completion import AskKubectl, Choices, Files, complete

SCRIPTS = Path(sys.executable).parent


def offered(*words: str) -> list[str]:
    found = complete(words)
    assert isinstance(found, Choices)
    return [word for word, _ in found.words]


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ([""], ["logs", "why", "hosts", "top", "version", "help"]),
        ([], ["logs", "why", "hosts", "top", "version", "help"]),
        (["-n", "team", "t"], ["top"]),
        (["logs", "--st"], ["--stream"]),
        (["logs", "--stream", ""], ["stdout", "stderr"]),
        (["logs", "--stream", "stde"], ["stderr"]),
        (["logs", "--stream=stde"], ["stderr"]),
        (["logs", "--tail", ""], []),
        (["logs", "train", ""], []),
        (
            ["why", "--c"],
            [
                "--context",
                "--cache-dir",
                "--certificate-authority",
                "--client-certificate",
                "--client-key",
                "--cluster",
            ],
        ),
        (["why", "-n", "team", "--n"], []),
        (["why", "--namespace=team", "--n"], []),
        (["why", "--as-group=g", "--as-g"], ["--as-group"]),
        (["top", ""], ["hosts", "tasks"]),
        (["top", "-A", "h"], ["hosts"]),
        (["top", "--sort-by", "m"], ["memory"]),
        (["hosts", "-o", ""], ["table", "wide", "json", "yaml", "name"]),
        (["bottom", ""], []),
        (["logs", "--nonsense", ""], []),
    ],
)
def test_commands_flags_and_their_choices(words: list[str], choices: list[str]) -> None:
    assert offered(*words) == choices


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["logs", "-f", "tr"], ["get", "tasks.weir.dev", "tr"]),
        (
            ["logs", "-n", "team", "--kubeconfig=k", "--context", "c", ""],
            ["get", "tasks.weir.dev", "--namespace=team", "--kubeconfig=k", "--context=c", ""],
        ),
        (
            ["why", "--as", "u", "--as-group=g", "-s", "http://h", "--as-group", "h", ""],
            [
                "get",
                "tasks.weir.dev",
                "--as=u",
                "--as-group=g",
                "--server=http://h",
                "--as-group=h",
                "",
            ],
        ),
        (
            ["why", "--user=x", "--token=t", "--insecure-skip-tls-verify", "--cluster", "c", ""],
            [
                "get",
                "tasks.weir.dev",
                "--user=x",
                "--token=t",
                "--insecure-skip-tls-verify",
                "--cluster=c",
                "",
            ],
        ),
        (["top", "--sort-by=cpu", "-l", "a", "hosts", ""], ["get", "hosts.weir.dev", ""]),
        (["hosts", "--insecure-skip-tls-verify=false", ""], ["get", "hosts.weir.dev", ""]),
        (["hosts", "n1", "n"], ["get", "hosts.weir.dev", "n1", "n"]),
        (["top", "hosts", ""], ["get", "hosts.weir.dev", ""]),
        (["top", "tasks", "a", ""], ["get", "tasks.weir.dev", "a", ""]),
        (["why", "n"], ["get", "tasks.weir.dev", "n"]),
        (["why", "-n", "team", "host/n"], ["get", "--namespace=team", "host/n"]),
        (["why", "tasks/n"], ["get", "tasks/n"]),
        (["logs", "wt/n"], ["get", "wt/n"]),
        (["hosts", "n1", "wh/n"], ["get", "wh/n"]),
        (["top", "hosts", "hosts.weir.dev/n"], ["get", "hosts.weir.dev/n"]),
        (["why", "-n", "t"], ["get", "namespaces", "t"]),
        (["why", "--namespace=t"], ["get", "namespaces", "t"]),
        (["--context", ""], ["config", "use-context", ""]),
    ],
)
def test_names_are_asked_of_kubectl(words: list[str], asked: list[str]) -> None:
    assert complete(words) == AskKubectl(tuple(asked))


def test_a_kubeconfig_is_a_file() -> None:
    assert complete(["top", "--kubeconfig", "/h"]) == Files()


@pytest.fixture
def path(cluster: Cluster, tmp_path: Path) -> str:
    """A PATH with kubectl, the plugin and its completion."""
    (tmp_path / "kubectl").symlink_to(cluster.plane.kubectl)
    for name in ("kubectl-weir", "kubectl_complete-weir"):
        (tmp_path / name).symlink_to(SCRIPTS / name)
    return f"{tmp_path}:{os.environ['PATH']}"


async def tab(path: str, kubeconfig: Path, *words: str) -> list[str]:
    """Return what a shell would be told by kubectl's own completion."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["kubectl", "__complete", "weir", *words],
        env=os.environ | {"PATH": path, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines: list[str] = done.stdout.splitlines()
    return lines


async def test_kubectl_completes_the_plugin(host: ServedHost, kubeconfig: Path, path: str) -> None:
    await host.create_task("train-1")
    await host.create_task("train-2")
    await host.create_task("other")
    assert await tab(path, kubeconfig, "wh") == [
        "why\tsay why a Task waits or ended as it did",
        ":4",
    ]
    found = await tab(path, kubeconfig, "logs", "-n", host.namespace, "tr")
    assert found == ["train-1", "train-2", ":4"]
    assert host.name in await tab(path, kubeconfig, "top", "hosts", host.name[:3])
    assert host.name not in await tab(path, kubeconfig, "top", "hosts", host.name, "")
    assert f"host/{host.name}" in await tab(path, kubeconfig, "why", "host/")
    assert host.namespace in await tab(path, kubeconfig, "why", "-n", host.namespace[:4])
    assert await tab(path, kubeconfig, "top", "--kubeconfig", "") == [":0"]
    # kubectl looks as whoever the command would be run as: here one who may see nothing.
    assert await tab(path, kubeconfig, "logs", "-n", host.namespace, "--as=me", "tr") == [":4"]


def served_by(port: int, folder: Path) -> Path:
    """Write a kubeconfig for an API server on a port of this machine."""
    path = folder / "kubeconfig"
    path.write_text(f"""
apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
""")
    return path


async def test_an_api_server_that_never_answers_costs_seconds_and_offers_nothing(
    path: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kubeconfig = served_by(silent.getsockname()[1], tmp_path)
        assert await tab(path, kubeconfig, "why", "") == [":4"]
    assert await tab(path, kubeconfig, "why", "") == [":4"]  # now nobody listens
