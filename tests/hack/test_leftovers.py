"""A run of the tests that leaves something on the machine has failed, and says what it left."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import machine
from devcluster.state import CHECKOUT, State, wait_until_gone
from support.leftovers import RUN_ENV, leftovers
from support.polling import eventually

LEAVES_A_PROCESS = """
import subprocess

def test_leaves_a_process():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
"""


def test_a_process_of_the_run_is_seen_until_it_has_ended() -> None:
    run = Path(os.environ[RUN_ENV])
    process = subprocess.Popen(["sleep", "600"])
    told = f"process {process.pid}: sleep 600"
    try:
        eventually(lambda: told in leftovers(run), "it is seen")
    finally:
        process.kill()
        process.wait()
    assert told not in leftovers(run)


@pytest.mark.docker
def test_a_network_is_seen_until_it_is_released(own_state: State) -> None:
    run = Path(os.environ[RUN_ENV])
    bridge = machine.claim_network(own_state)
    rule = ("-A", "FORWARD", "-o", bridge, "-j", "ACCEPT")
    subprocess.run(("iptables", "-w", *rule), check=True)
    try:
        left = set(leftovers(run))
        assert left >= {f"bridge {bridge}", f"iptables -t filter {' '.join(rule)}"}
    finally:
        machine.release_network(own_state)
    assert not [one for one in leftovers(run) if own_state.id in one]


@pytest.mark.timeout(700)
def test_a_run_that_leaves_something_has_failed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").symlink_to(CHECKOUT / "tests" / "conftest.py")
    (tmp_path / "test_leaves.py").write_text(LEAVES_A_PROCESS)
    pytest_here = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1")
    done = subprocess.run(
        (*pytest_here, "-c", CHECKOUT / "pyproject.toml", "--rootdir", tmp_path, tmp_path),
        env={name: value for name, value in os.environ.items() if name != RUN_ENV},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    left = re.search(r"process (\d+): sleep 600", done.stdout)
    assert left is not None, done.stdout + done.stderr
    os.kill(int(left[1]), signal.SIGKILL)
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout.splitlines()[-1]
    assert not wait_until_gone({int(left[1])}, 60)
