"""Real processes that are started, killed and started again without a supervisor."""

import os
import signal
import subprocess
import threading
from pathlib import Path

from devcluster.state import State
from devcluster.supervise import Program, tail


class Process:
    """One program, running or not; its output is appended to its log across restarts.

    Start it from a thread that lives long: the kernel kills it when the thread that started it
    ends, so that nothing outlives whoever runs it. Threads may start and end it at the same time:
    one at a time does, so that there is never a second one that nobody knows of.
    """

    def __init__(self, program: Program, log: Path) -> None:
        """Start nothing yet."""
        self.program = program
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        assert self._process is not None, f"{self.program.name} was never started"
        return self._process.pid

    def start(self) -> None:
        """Start it, if it does not run."""
        with self._changing:
            if not self.running():
                self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.program.argv_tied_to(os.getpid()),
                env=os.environ | self.program.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )

    def running(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        """Send TERM and wait for the end, with KILL after its grace; return the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Send KILL, as a crash would end it, and wait."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop its clock: it holds all it has, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> int:
        with self._changing:
            if self._process is None:
                return 0
            if self._process.poll() is None:
                self._process.send_signal(how)
            try:
                return self._process.wait(self.program.stop_grace_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                return self._process.wait()


class ProcessRunner:
    """Runs programs as children of this process: what supervisord is to an instance."""

    def __init__(self, state: State) -> None:
        """Run nothing yet; logs go into the state directory."""
        self._state = state
        self._processes: dict[str, Process] = {}

    def __getitem__(self, name: str) -> Process:
        """Return the process of that name."""
        return self._processes[name]

    def ensure(self, program: Program) -> None:
        """Make the program run as described; restarts it when the description changed."""
        process = self._processes.get(program.name)
        if process is None or process.program != program:
            if process is not None:
                process.stop()
            process = Process(program, self._state.log_of(program.name))
            self._processes[program.name] = process
        process.start()

    def running(self) -> dict[str, Process]:
        """Return what runs, by name."""
        return {name: one for name, one in self._processes.items() if one.running()}

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the end of a program's log."""
        return tail(self._state.log_of(name), lines)

    def stop_all(self) -> None:
        """Stop all, the last started first."""
        for process in reversed(self._processes.values()):
            process.stop()
        self._processes.clear()
