"""The plugin as one file, with a Python that has nothing else."""

import asyncio
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import plugin
from support.served_host import ServedHost, with_kubectl
from weir_cli.commandline import COMMANDS, COMMON


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist") / "kubectl-weir"
    plugin.build(target)
    return target


_PYENV = Path.home() / ".pyenv" / "versions"


def interpreters() -> dict[str, str]:
    """Return the Pythons of this machine on which it shall run, by version: ours at least."""
    places = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    places += [path / "bin" for path in _PYENV.glob("3.*")]
    found = {f"3.{sys.version_info.minor}": sys.executable}
    for minor in range(11, 20):
        for place in places:
            if (python := place / f"python3.{minor}").exists() and _runs(python):
                found.setdefault(f"3.{minor}", str(python))
    return found


def _runs(python: Path) -> bool:
    """Whether it is a Python and no signpost to one, as pyenv's are."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


PYTHONS = interpreters()
NEWEST = [*PYTHONS.values()][-1]


def isolated(
    file: Path, *arguments: str, python: str = NEWEST
) -> "subprocess.CompletedProcess[bytes]":
    """Run it without site-packages."""
    return subprocess.run(
        [python, "-I", "-S", "-W", "error", str(file), *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        env=with_kubectl(),
    )


async def test_all_commands_work_with_the_standard_library_alone(
    host: ServedHost, kubeconfig: Path, file: Path
) -> None:
    await host.print_and_end("train", b"here\n")
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


@pytest.mark.parametrize("python", PYTHONS.values(), ids=PYTHONS)
def test_it_runs_with_every_python_there_is(file: Path, python: str) -> None:
    done = isolated(file, "version", "--client", python=python)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == f"Client Version: {version('weir')}\n".encode()
    for command in COMMANDS:
        done = isolated(file, command.name, "--help", python=python)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode()
        shown = {*re.findall(r"--[a-z-]+", text)}
        assert {flag.names[-1] for flag in (*command.arguments, *COMMON) if flag.is_flag} <= shown
        assert "\nexit codes:\n  0    " in text
    done = isolated(file, "lgos", python=python)
    assert (done.returncode, b"Did you mean this?\n\tlogs\n" in done.stderr) == (1, True)


def test_ctrl_c_ends_it_without_a_traceback_from_the_first_line_on(file: Path) -> None:
    script = (
        "import runpy, signal, sys, types\n"
        "main = types.ModuleType('weir_cli.main')\n"
        "main.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.SIG_DFL)\n"
        "sys.modules['weir_cli.main'] = main\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"True\n"


def test_under_its_other_name_it_completes(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "kubectl_complete-weir"
    link.symlink_to(file)
    assert isolated(link, "wh").stdout.splitlines()[-1] == b":4"
    assert isolated(link, "wh").stdout.startswith(b"why\t")
