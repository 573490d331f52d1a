import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.served_host import with_kubectl
from weir_cli.commandline import COMMANDS
from weir_cli.commandline import COMMON as COMMON_FLAGS
from weir_cli.errors import CommandError, message_of
from weir_cli.kubectl import KubectlError, deadline_of
from weir_cli.main import help_of, parse, run
from weir_cli.options import HostsOptions, LogsOptions, TopOptions, WhyOptions
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.errors import WeirError
from weir_kube.errors import DaemonBrokeOffError, DaemonRefusedError, DaemonUnavailableError

ALL = ["-n", "team", "--kubeconfig", "k", "--context", "c", "--request-timeout", "2m"]
COMMON: dict[str, Any] = {
    "namespace": "team",
    "kubectl": ("--kubeconfig=k", "--context=c", "--request-timeout=2m"),
}


def test_flags_may_stand_before_and_after_the_command() -> None:
    expected = WhyOptions(name="train", **COMMON)
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


def test_a_resource_may_be_named_with_its_kind() -> None:
    for prefix in ("host/", "hosts/", "wh/", "host.weir.dev/", "hosts.weir.dev/"):
        assert parse(["hosts", f"{prefix}n1"]) == HostsOptions(names=("n1",))
        assert parse(["why", f"{prefix}n1"]) == WhyOptions(name="n1", is_host=True)
    for prefix in ("task/", "wt/", "tasks.weir.dev/"):
        assert parse(["why", f"{prefix}a"]) == WhyOptions(name="a")


def test_flags_of_kubectl_are_passed_on() -> None:
    given = ["--as", "u", "--as-group=g", "--as-group", "h", "--user=x", "--cluster", "c"]
    given += ["-s", "http://h", "--insecure-skip-tls-verify"]
    expected = ("--as=u", "--as-group=g", "--as-group=h", "--user=x", "--cluster=c")
    expected += ("--server=http://h", "--insecure-skip-tls-verify")
    assert parse([*given, "hosts"]).kubectl == expected
    assert parse(["hosts", *given]).kubectl == expected
    assert parse([*given[:3], "hosts", *given[3:]]).kubectl == expected


def test_every_flag_by_which_kubectl_connects_is_known() -> None:
    done = subprocess.run(
        ["kubectl", "options"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=with_kubectl(),
    )
    of_kubectl = set(re.findall(r"^    (?:-\w, )?(--[a-z-]+)=", done.stdout, re.MULTILINE))
    # What kubectl logs and measures of itself, and its warnings: of no use to us.
    of_no_use = {"--log-flush-frequency", "--profile", "--profile-output", "--v", "--vmodule"}
    of_no_use |= {"--warnings-as-errors"}
    assert {flag.names[-1] for flag in COMMON_FLAGS} == of_kubectl - of_no_use


def test_switches_are_written_as_kubectls_too() -> None:
    assert parse(["logs", "--follow=true", "a"]) == LogsOptions(name="a", follow=True)
    assert parse(["logs", "--follow=false", "a"]) == LogsOptions(name="a")
    assert parse(["hosts", "--insecure-skip-tls-verify=true"]).kubectl == (
        "--insecure-skip-tls-verify",
    )
    assert parse(["logs", "-f", "--", "a"]) == LogsOptions(name="a", follow=True)


def test_short_flags_may_be_written_as_one() -> None:
    expected = LogsOptions(name="a", follow=True, previous=True, namespace="team")
    for written in (["-fpn", "team"], ["-fpnteam"], ["-pfn=team"]):
        assert parse(["logs", *written, "a"]) == expected
        assert parse(["logs", "a", *written]) == expected
    assert parse(["logs", "a", "-fs", "http://h"]).kubectl == ("--server=http://h",)
    assert parse(["top", "tasks", "a", "-Ao", "json"]) == TopOptions(
        what="tasks", names=("a",), all_namespaces=True, output="json"
    )


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["hots"], 'unknown command "hots" for "kubectl weir"\n\nDid you mean this?\n\thosts\n'),
        (["logs", "--folow", "a"], "unknown flag: --folow\n\nDid you mean this?\n\t--follow\n"),
        (["--contxt=a", "top"], "unknown flag: --contxt\n\nDid you mean this?\n\t--context\n"),
        (["xyz"], 'unknown command "xyz" for "kubectl weir"'),
    ],
)
def test_typos_get_a_hint(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    err = capsys.readouterr().err
    assert err.startswith(f"error: {meant}\nSee 'kubectl weir")


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("5s", 5), ("1m30s", 90), ("250ms", 0.25), ("0", 366 * 86400)]
)
def test_a_deadline_is_written_as_kubectls(text: str, seconds: float) -> None:
    assert deadline_of([f"--request-timeout={text}"]) == seconds


def test_top() -> None:
    assert parse(["top"]) == TopOptions()
    assert parse(["top", "hosts", "n1"]) == TopOptions(what="hosts", names=("n1",))
    assert parse(["-n", "team", "top", "tasks", "a", "-A", "b", "-o", "json", "c"]) == TopOptions(
        what="tasks", namespace="team", names=("a", "b", "c"), all_namespaces=True, output="json"
    )
    assert parse(["top", "tasks", "wt/a", "-A", "--sort-by=cpu", "-ojson"]) == TopOptions(
        what="tasks", names=("a",), all_namespaces=True, sort_by="cpu", output="json"
    )


NAMES = [command.name for command in COMMANDS]
# Each would be the path of something else, a list say.
NO_NAMES = ["", ".", "..", "a/b", "a?b", "a%2fb", "\udcff", "\x1b[31m"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs"],
        ["logs", "a", "b"],
        ["logs", "--run", "0", "a"],
        ["logs", "--tail=-2", "a"],
        ["logs", "--stream", "both", "a"],
        ["why", "--request-timeout", "soon", "a"],
        ["why", "--name", "team", "a"],
        ["why", "a", "-n"],
        ["-x", "why", "a"],
        ["hosts", "-o", "xml"],
        ["hosts", "-l", "a=b", "n1"],
        ["logs", "--previous", "--run=1", "a"],
        ["top", "-l", "a=b"],
        ["help", "me"],
        ["bottom"],
        ["top", "pods"],
        ["top", "--sort-by", "age"],
        ["logs", "--follow=maybe", "a"],
        ["logs", "-fx", "a"],
        *([command, name] for command in ("logs", "why", "hosts") for name in NO_NAMES),
        *(["top", "hosts", name] for name in NO_NAMES),
        ["why", "host/"],
        ["hosts", "host/"],
        ["logs", "task/"],
        ["logs", "-n", "a/b", "a"],
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
    command = next((f" {word}" for word in arguments if word in NAMES), "")
    assert err.endswith(f"\nSee 'kubectl weir{command} --help' for usage.\n")


@pytest.mark.parametrize("arguments", [[], ["-n", "team"], ["help"]])
def test_without_a_command_there_is_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As of kubectl, and of its own groups of commands."""
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (help_of(None), "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            KubectlError("Unable to connect to the server: no"),
            "Unable to connect to the server: no",
        ),
        (CommandError("no"), "error: no"),
        (DaemonRefusedError("n1", "NoOutput", "gone", 409), "Error from host n1 (NoOutput): gone"),
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
    assert message_of(error) == line


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom weir_cli.main import run\n"
        "try: run(['logs', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'kubernetes', 'pydantic', 'asyncio'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "kubectl weir logs -f train-1" in done.stdout


def test_without_a_kubeconfig_kubectl_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weir_cli", "--kubeconfig", str(tmp_path / "no"), "hosts"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=with_kubectl(),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: stat {tmp_path / 'no'}: no such file or directory\n"


def test_without_kubectl(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weir_cli", "hosts"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: kubectl cannot be run: No such file or directory\n"


UNASKED = [["version", "--client"], ["help"], ["help", "logs"], ["--help"], ["logs", "--help"]]


@pytest.mark.parametrize("command", UNASKED)
@pytest.mark.parametrize(
    ("stdout", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_output_that_cannot_be_written_is_said(command: list[str], stdout: str, why: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m weir_cli "$@" {stdout}', sys.executable, *command],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"error: cannot write the output: {why}\n")


def test_a_closed_stderr_hides_nothing_but_words() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m weir_cli logs --nonsense a 2>&-', sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
