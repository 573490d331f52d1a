import subprocess
import sys
import time
from pathlib import Path

import pytest

from weir_cli.errors import CommandError, told
from weir_cli.main import parse
from weir_cli.options import HostsOptions, LogsOptions, TopOptions, WhyOptions
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.errors import WeirError
from weir_kube.errors import (
    ApiUnavailableError,
    ConfigError,
    DaemonBrokeOffError,
    DaemonRefusedError,
    DaemonUnavailableError,
    NotFoundError,
    UnauthorizedError,
)

ALL = ["-n", "team", "--kubeconfig", "k", "--context", "c", "--request-timeout", "2m"]
COMMON = {
    "namespace": "team",
    "kubeconfig": "k",
    "context": "c",
    "request_timeout_seconds": 120.0,
}


def test_flags_may_stand_before_and_after_the_command() -> None:
    expected = WhyOptions(name="train", **COMMON)  # type: ignore[arg-type]
    assert parse([*ALL, "why", "train"]) == expected
    assert parse(["why", "train", *ALL]) == expected
    assert parse([*ALL[:2], "why", *ALL[2:], "train"]) == expected


def test_logs_and_hosts() -> None:
    assert parse(["logs", "train"]) == LogsOptions(name="train")
    assert parse(
        ["logs", "-f", "--tail=5", "--stream", "stderr", "--run", "2", "tasks.weir.dev/train"]
    ) == LogsOptions(name="train", follow=True, tail=5, stream="stderr", run=2)
    assert parse(["logs", "--tail=-1", "train"]) == LogsOptions(name="train")
    assert parse(["hosts", "-o", "wide", "n1"]) == HostsOptions(names=("n1",), output="wide")


def test_top() -> None:
    assert parse(["top"]) == TopOptions()
    assert parse(["top", "hosts", "n1"]) == TopOptions(what="hosts", names=("n1",))
    assert parse(["-n", "team", "top", "tasks", "a", "-A", "b", "-o", "json", "c"]) == TopOptions(
        what="tasks", namespace="team", names=("a", "b", "c"), all_namespaces=True, output="json"
    )
    assert parse(["top", "tasks", "wt/a", "-A", "--sort-by=cpu", "-ojson"]) == TopOptions(
        what="tasks", names=("a",), all_namespaces=True, sort_by="cpu", output="json"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["logs"],
        ["logs", "a", "b"],
        ["logs", "--run", "0", "a"],
        ["logs", "--stream", "both", "a"],
        ["why", "--request-timeout", "soon", "a"],
        ["why", "--name", "team", "a"],
        ["why", "a", "-n"],
        ["-x", "why", "a"],
        ["hosts", "-o", "xml"],
        ["bottom"],
        ["top", "pods"],
        ["top", "--sort-by", "age"],
    ],
)
def test_mistakes_end_with_one_and_a_hint(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "--help' for usage." in err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            NotFoundError('tasks "x" not found', status=404),
            'Error from server (NotFound): tasks "x" not found',
        ),
        (
            UnauthorizedError("no", status=401),
            "error: You must be logged in to the server (Unauthorized)",
        ),
        (ApiUnavailableError("refused"), "Unable to connect to the server: refused"),
        (ApiUnavailableError("etcd", status=500), "Error from server (ApiUnavailable): etcd"),
        (ConfigError("none"), "error: none"),
        (CommandError("no"), "error: no"),
        (DaemonRefusedError("n1", "NoOutput", "gone", 404), "Error from host n1 (NoOutput): gone"),
        (
            DaemonBrokeOffError("host n1 broke off"),
            "error: host n1 broke off: what was printed above is not all of it",
        ),
        (DaemonUnavailableError("cannot reach n1"), "error: cannot reach n1"),
        (NotContactedError("host n1 is not approved"), "error: host n1 is not approved"),
        (WeirError("odd"), "error: InternalError: odd"),
    ],
)
def test_errors_read_as_kubectls(error: WeirError, line: str) -> None:
    assert told(error) == line


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom weir_cli.main import run\n"
        "try: run(['logs', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'kubernetes', 'pydantic', 'asyncio'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "kubectl weir logs -f train-1" in done.stdout
    assert time.monotonic() - before < 5


def test_without_a_kubeconfig(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weir_cli", "--kubeconfig", str(tmp_path / "no"), "hosts"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: no kubeconfig at {tmp_path / 'no'}\n"
