"""What a Docker daemon of the tests' own has left on the machine, beside what it tells of."""

import os
from pathlib import Path

from devcluster.state import State


def shims(state: State) -> list[str]:
    """Return the process ids of the shims that belong to its containerd."""
    address = os.fsencode(state.root / "docker" / "exec" / "containerd" / "containerd.sock")
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"shim" in words[0] and address in words:
            found.append(cmdline.parent.name)
    return found


def container_mounts(state: State) -> list[str]:
    """Return the file systems of containers that are mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(f"{state.root}/docker/data/overlay2/")]
