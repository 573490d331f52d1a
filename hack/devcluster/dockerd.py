"""The Docker daemon of an instance: the one that answers already, else one of its own."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devcluster.console import say
from devcluster.errors import DevClusterError
from devcluster.machine import bridge_name, claim_network, one_at_a_time, release_network
from devcluster.state import State, is_locked, read_json, socket_path, wait_until_gone, write_file
from devcluster.supervise import Program, Runner, wait_for

_SYSTEM_SOCKET = "unix:///var/run/docker.sock"
_READY_SECONDS = 60.0
_SURELY_HELD_SECONDS = 60.0
PROGRAM = "dockerd"


@dataclass(frozen=True)
class Docker:
    """A Docker daemon that an instance uses."""

    host: str
    ours: bool


def find_or_start(state: State, runner: Runner, *, own: bool = False) -> Docker:
    """Return a Docker daemon that answers; start one if none does. Idempotent.

    Args:
        own: start one even if another answers.

    Raises:
        DevClusterError: none answers and none can be started.
    """
    docker = chosen(state)
    if docker is None:
        found = None if own else _answering(excluding=_own_host(state))
        docker = Docker(found or _own_host(state), ours=found is None)
        write_file(_choice(state), json.dumps({"host": docker.host, "ours": docker.ours}))
    if docker.ours:
        _start(state, runner)
    elif not answers(docker.host):
        raise DevClusterError(
            f"The Docker daemon at {docker.host}, which this instance uses, does not answer.",
            "Start it again; or `make down` forgets it, and a new start looks for another.",
        )
    else:
        say(f"using the Docker daemon at {docker.host}")
    return docker


def chosen(state: State) -> Docker | None:
    """Return the daemon that the instance uses; None: none was chosen yet."""
    found = read_json(_choice(state))
    return Docker(found["host"], found["ours"]) if found else None


def answers(host: str) -> bool:
    """Tell whether a Docker daemon answers at ``unix:///…`` or ``tcp://host:port``."""
    try:
        address = urlsplit(host)
        if address.scheme == "unix":
            connection = http.client.HTTPConnection("localhost", timeout=5)
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(5)
            connection.sock.connect(address.path)
        elif address.scheme == "tcp" and address.hostname:
            port = address.port or 2375
            connection = http.client.HTTPConnection(address.hostname, port, timeout=5)
        else:
            return False  # ssh:// say, or no address
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, ValueError, http.client.HTTPException):  # ValueError: no port, or no address
        return False


def clean_up(state: State) -> None:
    """Remove all that the instance's own daemon left: containers, mounts, network; idempotent.

    To be called when that daemon has stopped.
    """
    docker = chosen(state)
    if docker is None or not docker.ours:
        return
    _kill_containers(state)
    for mount in _mounts_below(_root(state)):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    release_network(state)
    shutil.rmtree(_root(state), ignore_errors=True)


def sweep(prefix: Path) -> None:
    """Remove what is left of instances whose runs were killed.

    Args:
        prefix: how the paths of their state directories begin. Those that somebody holds, or that
            are too new to be held already, are left alone.
    """
    for root in prefix.parent.glob(f"{prefix.name}*"):
        old = time.time() - root.stat().st_mtime > _SURELY_HELD_SECONDS
        if old and os.access(root, os.W_OK) and not is_locked(root):
            remove_all(root)


def remove_all(root: Path) -> None:
    """Remove a folder, and what the Docker daemons left whose state directories are in it."""
    for pattern in ("docker.json", "*/docker.json", "*/*/docker.json"):
        for choice in root.glob(pattern):
            clean_up(State(choice.parent))
    shutil.rmtree(root)


def _answering(excluding: str) -> str | None:
    for host in (os.environ.get("DOCKER_HOST"), _SYSTEM_SOCKET):
        if host and host != excluding and answers(host):
            return host
    return None


def _start(state: State, runner: Runner) -> None:
    binary = shutil.which("dockerd")
    if binary is None:
        raise DevClusterError(
            "No Docker daemon answers, and dockerd is not installed.",
            "hack/setup installs it (as root), or start the machine's own and set DOCKER_HOST.",
        )
    if os.geteuid() != 0:
        raise DevClusterError(
            "No Docker daemon answers, and starting one needs root.",
            "Run as root, or start the machine's own Docker and set DOCKER_HOST.",
        )
    claim_network(state)
    config = _root(state) / "daemon.json"
    write_file(config, json.dumps(_config(state), indent=1) + "\n")
    program = Program(PROGRAM, _argv(state, binary, config), stop_grace_seconds=30)
    host = _own_host(state)
    with one_at_a_time():
        runner.ensure(program)
        took = wait_for(runner, PROGRAM, lambda: answers(host), _READY_SECONDS)
    say(f"dockerd is ready at {host} ({took:.1f} s)")


def _argv(state: State, binary: str, config: Path) -> tuple[str, ...]:
    """Return the command line that starts dockerd whatever became of the last one.

    It takes its own pid file, and the one of its containerd, at their word, even when the process
    is a zombie or, after a reboot, somebody else's. We know better: one supervisor starts it, and
    its containerd dies with it.
    """
    stale = (_root(state) / "dockerd.pid", _root(state) / "exec" / "containerd" / "containerd.pid")
    script = 'rm -f "$1" "$2" && shift 2 && exec "$@"'
    return ("sh", "-c", script, "dockerd", *map(str, stale), binary, f"--config-file={config}")


def _config(state: State) -> dict[str, object]:
    root = _root(state)
    return {
        "data-root": str(root / "data"),
        "exec-root": str(root / "exec"),
        "pidfile": str(root / "dockerd.pid"),
        "hosts": [_own_host(state)],
        # A second daemon without a bridge of its own would take docker0 from the first.
        "bridge": bridge_name(state.id),
        "ip6tables": False,
        # Containers go on when this daemon dies or restarts, as on any machine set up with care.
        "live-restore": True,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        # A parent of its own: so whatever runs in it is known to be ours when all else is lost.
        "cgroup-parent": f"/{bridge_name(state.id)}",
        "log-level": "warn",
    }


def _root(state: State) -> Path:
    return state.root / "docker"


def _choice(state: State) -> Path:
    return state.root / "docker.json"


def _own_host(state: State) -> str:
    # The longest socket path is one that dockerd makes below its exec-root.
    socket_path(_root(state) / "exec" / "containerd" / "containerd.sock.ttrpc")
    return f"unix://{socket_path(_root(state) / 'docker.sock')}"


def _kill_containers(state: State) -> None:
    """Kill what is in our cgroups, and the shims that belong to our containerd."""
    groups = [
        folder
        for parent in ("/sys/fs/cgroup", *map(str, Path("/sys/fs/cgroup").glob("*/")))
        if (folder := Path(parent) / bridge_name(state.id)).is_dir()
    ]
    address = os.fsencode(_root(state) / "exec" / "containerd" / "containerd.sock")
    pids = {
        int(pid)
        for group in groups
        for listing in group.rglob("cgroup.procs")
        for pid in listing.read_text().split()
    }
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if address in cmdline.read_bytes().split(b"\0"):
                pids.add(int(cmdline.parent.name))
        except OSError:
            continue  # it ended meanwhile
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until_gone(pids, 10)
    for group in groups:
        for folder in sorted(group.rglob("*/"), reverse=True):
            folder.rmdir()
        group.rmdir()


def _mounts_below(folder: Path) -> list[str]:
    """Return the mount points below a folder, the innermost first."""
    points = [
        line.split()[4].encode().decode("unicode_escape")
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    ]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)
