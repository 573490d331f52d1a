"""Whatever becomes of stdout, a command ends with one line and the right code."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.aio import until
from support.served_host import ServedHost, start_weir, with_kubectl
from weir_kube.errors import DaemonUnavailableError

COMMANDS = [["logs", "train"], ["why", "train"], ["hosts"], ["hosts", "-o", "json"], ["top"]]


@pytest.mark.parametrize(
    ("stdout", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
async def test_output_that_cannot_be_written_is_one_line_and_exit_1(
    host: ServedHost, kubeconfig: Path, stdout: str, why: str
) -> None:
    await host.print_and_end("train", b"here\n")
    for command in COMMANDS:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'exec "$0" -m weir_cli "$@" {stdout}', sys.executable, *command),
            *("--kubeconfig", str(kubeconfig), "-n", host.namespace),
            stderr=subprocess.PIPE,
            env=with_kubectl(),
        )
        async with asyncio.timeout(60):
            _, err = await process.communicate()
        expected = (1, f"error: cannot write the output: {why}\n")
        assert (process.returncode, err.decode()) == expected, command


async def test_a_stdout_that_does_not_block_gets_every_byte(
    host: ServedHost, kubeconfig: Path
) -> None:
    """As a terminal's is, once some other program has set it so."""
    lines = b"".join(b"line %d\n" % number for number in range(40_000))
    await host.print_and_end("train", lines)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    process = await start_weir(kubeconfig, "logs", "-n", host.namespace, "train", stdout=writes)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        got = await asyncio.wait_for(asyncio.to_thread(pipe.read), 60)
    _, err = await process.communicate()
    assert (process.returncode, err, got == lines) == (0, b"", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
async def test_a_signal_to_all_of_a_terminal_ends_top_and_leaves_nothing(
    host: ServedHost,
    kubeconfig: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hangs(name: str) -> None:
        asked.set()
        await go_on.wait()
        raise DaemonUnavailableError("the test is over")

    monkeypatch.setattr(host.runs, "usage", hangs)
    await host.run_task("train")
    env = with_kubectl() | {"TMPDIR": str(scratch)}
    process = await start_weir(
        kubeconfig, "top", "hosts", host.name, env=env, start_new_session=True
    )
    async with asyncio.timeout(60):
        await asked.wait()
        await until(lambda: len(list(scratch.iterdir())) == 1)
        os.killpg(process.pid, number)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (-number, b"", b"")
    await until(lambda: not list(scratch.iterdir()))
    go_on.set()
