"""Processes of a test that are kept running, as a supervisor would."""

import threading

from devcluster.processes import Process, ProcessRunner

__all__ = ["Keeper", "Process", "ProcessRunner"]


class Keeper:
    """Starts again, within a second, what ended by itself, as a supervisor would."""

    def __init__(self, every_seconds: float = 1.0) -> None:
        self._every_seconds = every_seconds
        self._kept: set[Process] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # It lives until the end: what it starts would die with it.
        self._thread = threading.Thread(target=self._watch, name="keeper", daemon=True)
        self._thread.start()

    def start(self, process: Process) -> None:
        """Start a process, if it does not run, and keep it running."""
        with self._lock:
            process.start()
            self._kept.add(process)

    def release(self, process: Process) -> None:
        """Let it end, however it does."""
        with self._lock:
            self._kept.discard(process)

    def close(self) -> None:
        """Keep nothing any longer."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._every_seconds):
            with self._lock:
                for process in self._kept:
                    process.start()
