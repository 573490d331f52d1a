"""Processes that several threads start and end."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devcluster.processes import Process
from devcluster.supervise import Program
from support.polling import eventually

THREADS = 8


def test_threads_that_start_it_at_once_start_one(tmp_path: Path) -> None:
    """A second one would be nobody's: it could not be killed, and would outlive the test."""
    begun = tmp_path / "begun"
    script = f"echo $$ >> {begun}; exec sleep 600"
    process = Process(Program("sleeper", ("sh", "-c", script)), tmp_path / "log")
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(5):
            for one in [threads.submit(process.start) for _ in range(THREADS)]:
                one.result()
            eventually(lambda: begun.exists() and begun.read_text().endswith("\n"), "it runs")
            assert begun.read_text() == f"{process.pid}\n"
            process.kill()
            assert not process.running()
            begun.unlink()
