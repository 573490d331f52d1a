"""What is left of a container when Docker dies in the middle of its start, or of its end.

Docker notes a start when all of it is done. One that dies before (with its containerd) comes back
with the container ``created`` while a shim of it lives, perhaps with the program running inside:
it shows neither, refuses to start the container, and removes it without them. One that dies when
a program ends may have made containerd forget the container before its shim was told to go: it
says that the program ended with 255, and the shim waits for ever. Seen with Docker 20.10 and
live-restore. The processes can be found where the daemon sees those of the machine
(``hostPID`` in a pod); containerd cleans up after a shim that is gone.
"""

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from weir_nodedaemon.engines.port import InstanceLostError, InstanceState, ObservedInstance

logger = logging.getLogger(__name__)

_END_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_SHIM = b"containerd-shim"
_NOT_BEGUN = b"runc\0init"  # it waits to become the program
_LOST_EXIT_CODE = 255  # containerd knew nothing of it (moby, daemon/daemon.go, restore)


@dataclass(frozen=True, slots=True)
class Leftover:
    """The processes that belong to a container.

    Attributes:
        pids: all of them.
        begun: whether the program of the container is among them.
    """

    pids: tuple[int, ...] = ()
    begun: bool = False


def find(container_id: str, proc: Path = Path("/proc")) -> Leftover:
    """Return the processes of a container, by Docker's whole id. Reads all of ``/proc``."""
    pids: list[int] = []
    begun = False
    needle = container_id.encode()
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            command = (entry / "cmdline").read_bytes()
            if not command:
                continue  # it has ended, and nobody has taken note of that yet
            inside = needle in (entry / "cgroup").read_bytes()
            if inside or (_SHIM in command and needle in command.split(b"\0")):
                pids.append(int(entry.name))
                begun = begun or (inside and not command.startswith(_NOT_BEGUN))
    return Leftover(tuple(pids), begun)


async def clear(container_id: str) -> Leftover:
    """Kill the processes of a container that Docker does not know to run; wait for their end.

    Returns:
        What there was.
    """
    found = left = await asyncio.to_thread(find, container_id)
    if found.pids:
        logger.warning("killing what Docker has left container=%s %s", container_id, found)
    deadline = time.monotonic() + _END_SECONDS
    while left.pids and time.monotonic() < deadline:
        for pid in left.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_LOOK_SECONDS)
        left = await asyncio.to_thread(find, container_id)
    return found


class Leftovers:
    """Which containers may have some: those last seen created, or with an end that Docker lost."""

    def __init__(self) -> None:
        """Begin with none."""
        self._suspects: dict[str, str] = {}

    def note(self, container_id: str, seen: ObservedInstance) -> None:
        """Take note of what Docker shows of a container."""
        if seen.state is InstanceState.CREATED or seen.exit_code == _LOST_EXIT_CODE:
            self._suspects[seen.name] = container_id
        else:
            self._suspects.pop(seen.name, None)

    async def clear(self, name: str) -> Leftover:
        """Clear away what Docker has left of a container; return what there was."""
        container_id = self._suspects.pop(name, None)
        return Leftover() if container_id is None else await clear(container_id)

    async def clear_before_start(self, name: str) -> bool:
        """Clear away what an earlier start has left; tell whether there was something.

        Raises:
            InstanceLostError: the program had begun.
        """
        left = await self.clear(name)
        if left.begun:
            raise InstanceLostError("Docker died in the middle of its start; what ran was killed")
        return bool(left.pids)
