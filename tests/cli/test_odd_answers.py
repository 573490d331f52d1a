"""What kubectl hands us may be anything: words that a terminal would obey, or no object at all."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from weir_cli.kubectl import Kubectl, KubectlError
from weir_cli.proxy import kubectl_proxy

COMMAND = [sys.executable, "-m", "weir_cli", "-n", "team"]
HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b31m\r\b\u202e\ud800"
ESCAPED = r"\x1b]0;owned\x07\x1b[31m\x9b31m\r\x08\u202e\ud800"


def scripted_kubectl(folder: Path, script: str) -> dict[str, str]:
    """Return an environment whose kubectl is this shell script."""
    path = folder / "kubectl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def weir(environment: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        env=environment,
    )


def answering(folder: Path, answer: str) -> dict[str, str]:
    """Return an environment whose kubectl answers everything with this."""
    (folder / "answer").write_text(answer)
    return scripted_kubectl(folder, f"cat '{folder}/answer'")


def ended_task(message: str) -> dict[str, Any]:
    succeeded = {"type": "Succeeded", "status": "False", "reason": "Odd", "message": message}
    return {
        "metadata": {"name": "t", "namespace": "team", "resourceVersion": "1"},
        "spec": {},
        "status": {"finishedAt": "2026-11-22T10:00:00Z", "conditions": [succeeded]},
    }


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_no_terminal_obeys_what_others_wrote(tmp_path: Path, encoding: str) -> None:
    """What Docker says of a command that somebody made up stands in a condition's message."""
    environment = answering(tmp_path, json.dumps(ended_task(f"no such program: {HOSTILE}")))
    environment["PYTHONIOENCODING"] = encoding
    done = weir(environment, "why", "t")
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"no such program: {ESCAPED}\n" in done.stdout.decode()
    done = weir(environment, "logs", "t")  # the same on stderr
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"no such program: {ESCAPED})\n" in done.stderr.decode()


def test_a_word_that_the_stream_cannot_encode_is_escaped(tmp_path: Path) -> None:
    environment = answering(tmp_path, json.dumps(ended_task("für \u4f60")))
    environment["PYTHONIOENCODING"] = "latin-1"
    done = weir(environment, "why", "t")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "für \\u4f60\n" in done.stdout.decode("latin-1")


@pytest.mark.parametrize(
    "answer", ["<html>", "", "null", "[]", "{}", '{"items": 5}', "[" * 100_000]
)
@pytest.mark.parametrize("command", [["why", "t"], ["logs", "t"], ["hosts"], ["hosts", "n1"]])
def test_what_is_no_answer_of_an_api_server_is_said(
    tmp_path: Path, command: list[str], answer: str
) -> None:
    """``--server`` may lead to anything that speaks HTTP."""
    done = weir(answering(tmp_path, answer), *command)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"error: what answered is no API server: it sent no object\n"


@pytest.mark.parametrize(
    "command", [["why", "t"], ["why", "host/n1"], ["logs", "t"], ["hosts"], ["top"]]
)
def test_a_cluster_without_weir_is_named(tmp_path: Path, command: list[str]) -> None:
    """What the API server says of a path that it does not have names nothing that one could do."""
    said = "Error from server (NotFound): the server could not find the requested resource"
    done = weir(scripted_kubectl(tmp_path, f"echo '{said}' >&2; exit 1"), *command)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"error: the server doesn't have a resource type " in done.stderr
    assert done.stderr.endswith(b".weir.dev: Weir is not installed there\n")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("command", ["why", "top"])
def test_a_signal_to_the_plugin_alone_ends_its_kubectl_too(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    """One that waits for a login in a browser, say, which no deadline of a request ends."""
    pid = tmp_path / "pid"
    environment = scripted_kubectl(
        tmp_path, f"echo $$ >'{pid}.new'; mv '{pid}.new' '{pid}'; exec sleep 60"
    )
    process = subprocess.Popen(
        [*COMMAND, command, *(["t"] if command == "why" else [])],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until(pid.exists)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (-number, b"")
    wait_until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def test_in_the_background_ctrl_c_is_for_others(tmp_path: Path) -> None:
    """A shell starts what ends with ``&`` in a script with that signal ignored."""
    asked, go_on = tmp_path / "asked", tmp_path / "go_on"
    (tmp_path / "answer").write_text(json.dumps(ended_task("done")))
    environment = scripted_kubectl(
        tmp_path,
        f"touch '{asked}'; until [ -e '{go_on}' ]; do sleep 0.05; done; cat '{tmp_path}/answer'",
    )
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *COMMAND, "why", "t"],
        env=environment,
        stdout=subprocess.PIPE,
    )
    wait_until(asked.exists)
    process.send_signal(signal.SIGINT)
    go_on.touch()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"done" in out


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_without_a_folder_for_its_socket_no_proxy_is_run(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch / "none"))  # not too long for a socket
    with (
        pytest.raises(KubectlError, match="needs a folder for its socket: No such file"),
        kubectl_proxy(Kubectl()),
    ):
        pass


def test_a_proxy_whose_folder_is_gone_is_said(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = scripted_kubectl(tmp_path, f"rm -r {scratch}/kubectl-weir-*")
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with (
        pytest.raises(KubectlError, match="needs a folder for its socket: No such file"),
        kubectl_proxy(Kubectl()),
    ):
        pass
    assert not list(scratch.iterdir())


def test_a_name_in_no_encoding_ends_no_completion_with_a_traceback(tmp_path: Path) -> None:
    environment = scripted_kubectl(tmp_path, r"printf 'caf\351\n:4\n'")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from weir_cli.complete import main; main()",
            "why",
            "--context",
            "",
        ],
        capture_output=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert (done.stdout, done.stderr) == (b"caf\\xe9\n:4\n", b"")
