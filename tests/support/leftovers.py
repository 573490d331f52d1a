"""What a run of the tests has left on the machine: to be asked when all of it should be gone.

Several runs may go on at the same time: only what bears a mark of this one counts.
"""

import os
import shutil
from pathlib import Path

from devcluster import machine
from devcluster.state import State

# In the environment of all processes of a run: its folder.
RUN_ENV = "WEIR_TEST_RUN"
_INSTANCES = "instances"
# multiprocessing keeps one for as long as its parent lives.
_ENDS_WITH_ITS_PARENT = b"multiprocessing.resource_tracker"


def remember(run: Path, state: State) -> None:
    """Note an instance of the run, as what it makes on the machine bears its id."""
    with (run / _INSTANCES).open("a") as file:
        file.write(f"{state.id}\n")


def leftovers(run: Path) -> list[str]:
    """Return the processes, mounts, networks and cgroups of a run."""
    found = _processes(run) + _mounts(run)
    known = run / _INSTANCES
    if known.exists() and os.geteuid() == 0 and shutil.which("iptables"):  # else none was possible
        for instance in known.read_text().split():
            found += machine.traces(instance)
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
