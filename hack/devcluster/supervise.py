"""Supervision of an instance's processes: one supervisord per state directory.

A program that ends is started again, at once when it had run for a while, else after 1, 2, 3, …
seconds, without end. Each is started so that the kernel kills it when supervisord dies: nothing
goes on unsupervised, and the next ``up`` starts from a clean table.
"""

import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from devcluster.console import ticker
from devcluster.errors import DevClusterError
from devcluster.state import State, socket_path, wait_until_gone, write_file

_START_SECONDS = 20.0
_STOP_SECONDS = 60.0
_STOPPED = ("STOPPED", "EXITED", "FATAL")


@dataclass(frozen=True)
class Program:
    """A process that is to run: what a unit file would say."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    stop_grace_seconds: int = 15

    def argv_tied_to(self, parent: int) -> tuple[str, ...]:
        """Return the command line with which the process dies when its parent dies.

        Args:
            parent: process id of who starts it. The shell looks whether it is still there, because
                it may have died before the kernel knew that its death matters.
        """
        started_by_parent = '[ "$PPID" = "$0" ] && exec "$@"'
        tie = ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", started_by_parent, str(parent))
        return (*tie, *self.argv)


class Runner(Protocol):
    """Runs programs: supervisord for an instance, the tests' own processes for a test."""

    def ensure(self, program: Program) -> None:
        """Make the program run as described; restarts it when the description changed."""

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the end of a program's log."""


def wait_for(
    runner: Runner, name: str, ready: Callable[[], bool], deadline_seconds: float
) -> float:
    """Wait until a program is ready; return how long it took, in seconds.

    Raises:
        DevClusterError: it was not at the deadline; the hint holds the end of its log.
    """
    started = time.monotonic()
    with ticker() as line:
        while not ready():
            took = time.monotonic() - started
            if took > deadline_seconds:
                raise DevClusterError(
                    f"{name} is not ready after {deadline_seconds:.0f} s.", runner.log_tail(name)
                )
            line.show(f"waiting for {name}, {took:.0f} s")
            time.sleep(0.1)
    return time.monotonic() - started


class Supervisor:
    """The supervisord of a state directory, running or not."""

    def __init__(self, state: State) -> None:
        """Start nothing yet.

        Raises:
            DevClusterError: the state directory's path is too long.
        """
        self._state = state
        self._socket = socket_path(state.run / "supervisor.sock")
        self._pid_file = state.run / "supervisord.pid"
        self._programs = state.run / "programs"
        self.log = state.log / "supervisord.log"

    def pid(self) -> int | None:
        """Return the process id of our supervisord; None when it does not run."""
        try:
            pid = int(self._pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._config) in words else None

    @property
    def _config(self) -> Path:
        return self._state.run / "supervisord.conf"

    def start(self) -> bool:
        """Start supervisord with no programs; False when it runs already.

        Raises:
            DevClusterError: it does not answer.
        """
        if self.pid() is not None:
            self._wait_until_it_answers()
            return False
        self._programs.mkdir(exist_ok=True)
        for left in self._programs.glob("*.ini"):
            left.unlink()
        write_file(self._config, self._config_text())
        started = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=_START_SECONDS,
            check=False,
        )
        if started.returncode != 0:
            raise DevClusterError("supervisord does not start.", started.stderr.strip())
        self._wait_until_it_answers()
        return True

    def kill(self) -> None:
        """End supervisord and with it, at once, all programs; idempotent.

        Those that should end in order are to be stopped before.
        """
        pid = self.pid()
        if pid is None:
            return
        children = {info["pid"] for info in self.infos() if info["pid"]}
        os.kill(pid, signal.SIGKILL)
        wait_until_gone({pid, *children}, 10)

    def ensure(self, program: Program) -> None:
        """Make the program run as described; start at once one that waits after failures."""
        pid = self.pid()
        if pid is None:
            raise DevClusterError("supervisord has ended.", tail(self.log, 15))
        write_file(self._programs / f"{program.name}.ini", self._program_text(program, pid))
        self._apply_changes()
        info = next(info for info in self.infos() if info["name"] == program.name)
        if info["statename"] not in ("RUNNING", "STARTING"):
            if info["statename"] == "BACKOFF":
                self._call("stopProcess", program.name)
            self._call("startProcess", program.name, False)

    def remove(self, name: str) -> None:
        """Stop a program and forget it; idempotent."""
        (self._programs / f"{name}.ini").unlink(missing_ok=True)
        self._apply_changes()

    def stop_programs(self, names: Collection[str]) -> None:
        """Stop programs, all at the same time, and keep them stopped; idempotent."""
        for info in self.infos():
            if info["name"] in names and info["statename"] not in _STOPPED:
                self._call("stopProcess", info["name"], False)
        deadline = time.monotonic() + _STOP_SECONDS
        while any(i["name"] in names and i["statename"] not in _STOPPED for i in self.infos()):
            if time.monotonic() > deadline:
                raise DevClusterError(f"Some of {', '.join(names)} do not stop.")
            time.sleep(0.05)

    def infos(self) -> list[dict[str, Any]]:
        """Return what supervisord knows of each program; empty when it does not run."""
        if self.pid() is None:
            return []
        found: list[dict[str, Any]] = self._call("getAllProcessInfo")
        return found

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the end of a program's log."""
        return tail(self._state.log_of(name), lines)

    def _apply_changes(self) -> None:
        [[added, changed, removed]] = self._call("reloadConfig")
        for name in [*changed, *removed]:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def _call(self, method: str, *arguments: Any) -> Any:
        proxy = xmlrpc.client.ServerProxy(
            "http://localhost/RPC2", transport=_UnixTransport(self._socket), allow_none=True
        )
        return getattr(proxy.supervisor, method)(*arguments)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._call("getState")
            except (OSError, http.client.HTTPException) as exc:
                if time.monotonic() > deadline:
                    raise DevClusterError(
                        f"supervisord does not answer: {exc}", tail(self.log, 15)
                    ) from exc
                time.sleep(0.05)
            else:
                return

    def _config_text(self) -> str:
        user = "user=root\n" if os.geteuid() == 0 else ""
        return (
            f"[supervisord]\n{user}"
            f"logfile={self.log}\nlogfile_maxbytes=5MB\nlogfile_backups=1\nloglevel=info\n"
            f"pidfile={self._pid_file}\ndirectory=/\nnodaemon=false\n"
            f"identifier=weir-{self._state.id}\n"
            f"[unix_http_server]\nfile={self._socket}\nchmod=0700\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[include]\nfiles={self._programs.name}/*.ini\n"
        ).replace("%", "%%")

    def _program_text(self, program: Program, supervisor: int) -> str:
        env = ",".join(f'{name}="{value}"' for name, value in sorted(program.env.items()))
        return (
            f"[program:{program.name}]\n"
            f"command={shlex.join(program.argv_tied_to(supervisor))}\n"
            f"environment={env}\n"
            "autostart=true\nautorestart=true\nstartsecs=3\nstartretries=1000000\n"
            f"stopsignal=TERM\nstopwaitsecs={program.stop_grace_seconds}\n"
            f"redirect_stderr=true\nstdout_logfile={self._state.log_of(program.name)}\n"
            "stdout_logfile_maxbytes=20MB\nstdout_logfile_backups=1\n"
        ).replace("%", "%%")


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a log that may be long."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return f"({path} does not exist)"
    return "\n".join([f"last lines of {path}:", *text.splitlines()[-lines:]])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_STOP_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002
        return _UnixConnection(self._path)
