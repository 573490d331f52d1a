"""A Docker daemon of an instance's own, from its start to no trace of it."""

import http.server
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from devcluster import dockerd, image, machine
from devcluster.state import State, is_locked, locked_directory, wait_until_gone
from devcluster.supervise import Program
from support.process import ProcessRunner

pytestmark = pytest.mark.docker


@pytest.fixture
def runner(own_state: State) -> Iterator[ProcessRunner]:
    """Runs that daemon."""
    processes = ProcessRunner(own_state)
    yield processes
    processes.stop_all()
    dockerd.clean_up(own_state)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _traces(state: State) -> list[str]:
    """Return all that an instance's Docker daemon leaves on a machine while it is there."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [*machine.traces(state.id), *(line for line in mounts if str(state.root) in line)]


class _Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    "host",
    ["word", "tcp://", "tcp://127.0.0.1:port", "tcp://[::", "unix://", "ssh://127.0.0.1:{port}"],
)
def test_a_docker_host_that_we_cannot_use_does_not_answer(host: str) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Ok) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert dockerd.answers(f"tcp://127.0.0.1:{server.server_port}")
            assert not dockerd.answers(host.replace("{port}", str(server.server_port)))
        finally:
            server.shutdown()


def test_a_killed_daemon_and_its_containers_leave_nothing(
    own_state: State, runner: ProcessRunner
) -> None:
    """Even when it can no longer be asked to remove them."""
    found = dockerd.find_or_start(own_state, runner, own=True)
    assert found.ours
    image.ensure_busybox(found.host)
    client = docker.DockerClient(base_url=found.host)
    container = client.containers.run(
        image.BUSYBOX, ["sleep", "1000"], detach=True, ports={"80/tcp": None}
    )
    container.reload()
    pid = container.attrs["State"]["Pid"]
    before = _output("iptables-save", "-t", "nat")
    address = container.attrs["NetworkSettings"]["IPAddress"]
    assert address in before
    client.close()
    assert _traces(own_state)

    runner["dockerd"].kill()
    assert wait_until_gone({pid}, 0) == {pid}  # containers outlive their daemon
    dockerd.clean_up(own_state)

    assert not wait_until_gone({pid}, 30)
    assert _traces(own_state) == []
    assert address not in _output("iptables-save", "-t", "nat")


def test_a_restarted_daemon_finds_its_containers_running(
    own_state: State, runner: ProcessRunner
) -> None:
    found = dockerd.find_or_start(own_state, runner, own=True)
    image.ensure_busybox(found.host)
    client = docker.DockerClient(base_url=found.host)
    container = client.containers.run(image.BUSYBOX, ["sleep", "1000"], detach=True)

    runner["dockerd"].kill()
    again = dockerd.find_or_start(own_state, runner)

    assert again == found
    container.reload()
    assert container.status == "running"
    client.close()


def test_an_answering_daemon_is_used_and_not_ours(
    docker_host: str, own_state: State, runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)

    found = dockerd.find_or_start(own_state, runner)

    assert found == dockerd.Docker(docker_host, ours=False)
    dockerd.clean_up(own_state)
    assert dockerd.answers(docker_host)


def test_daemons_start_one_at_a_time(own_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that make Docker's iptables chains at the same time: one of them gives up."""
    alone = []

    class Runner(ProcessRunner):
        def ensure(self, program: Program) -> None:
            alone.append(is_locked(Path("/run/weir")))

    monkeypatch.setattr(dockerd, "answers", lambda host: bool(alone))
    try:
        dockerd.find_or_start(own_state, Runner(own_state), own=True)
    finally:
        dockerd.clean_up(own_state)
    assert alone == [True]


def test_a_sweep_removes_what_nobody_holds(own_state: State) -> None:
    """As of a test run that was killed, while another one goes on."""
    long_ago = time.time() - 3600
    for name in ("run-left", "run-held", "run-new", "other"):
        (own_state.root / name).mkdir()
        if name != "run-new":
            os.utime(own_state.root / name, (long_ago, long_ago))

    held = own_state.root / "run-held"
    with locked_directory(held):
        os.utime(held, (long_ago, long_ago))
        dockerd.sweep(own_state.root / "run-")

    left = {path.name for path in own_state.root.iterdir()}
    assert {"run-held", "run-new", "other"} <= left
    assert "run-left" not in left
