"""What a run of the tests has left on the machine: to be asked when all of it should be gone."""

import os
import shutil
from pathlib import Path

from devcluster import machine

# In the environment of all processes of a run: its folder.
RUN_ENV = "WEIR_TEST_RUN"
# multiprocessing keeps one for as long as its parent lives.
_ENDS_WITH_ITS_PARENT = b"multiprocessing.resource_tracker"


def leftovers(run: Path) -> set[str]:
    """Return the processes and mounts of a run, and all that no instance has a claim to.

    The second may be somebody else's: compare it with what was there before the run.
    """
    found = {*_processes(run), *_mounts(run)}
    if os.geteuid() == 0 and shutil.which("iptables"):  # else there is nothing of the kind
        found |= set(machine.strays(run))
    return found


def _processes(run: Path) -> list[str]:
    """Return the processes whose environment or arguments name the run."""
    marks = (f"{RUN_ENV}={run}".encode(), f"{run}/".encode())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
            traces = arguments + b"\0" + (process / "environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if not arguments or _ENDS_WITH_ITS_PARENT in arguments:
            continue  # a zombie has no arguments
        if any(mark in traces for mark in marks):
            words = arguments.replace(b"\0", b" ").decode(errors="replace")
            found.append(f"process {process.name}: {words.strip()[:200]}")
    return found


def _mounts(run: Path) -> list[str]:
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [f"mount {point}" for point in points if point.startswith(f"{run}/")]
