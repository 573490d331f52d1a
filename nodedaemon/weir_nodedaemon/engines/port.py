"""What the daemon needs of a container engine.

Every call is idempotent, keyed by the container's deterministic name, and has a deadline inside the
engine: past it ``EngineUnavailableError`` is raised, and the call may still have taken effect, so
the caller observes again and assumes nothing.
"""

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from weir_crds.errors import WeirError


class EngineUnavailableError(WeirError):
    """The engine did not answer before its deadline, or refused the connection."""

    reason = "EngineUnavailable"
    retry_after_seconds = 5.0


class ImagePullError(WeirError):
    """An image could not be pulled, or is not there and must not be pulled."""

    reason = "ImagePullFailed"

    def __init__(self, message: str, *, permanent: bool) -> None:
        """Say whether it is for good: unknown image, denied, bad name; waiting cannot help."""
        super().__init__(message)
        self.permanent = permanent


class ContainerCreateError(WeirError):
    """The engine refused to create or start a container: bad mount, missing program, bad option."""

    reason = "CreateFailed"


class ContainerLostError(WeirError):
    """The engine lost a container whose program had begun: how it goes on cannot be known."""

    reason = "HostLost"


class ContainerGoneError(WeirError):
    """No container of that name exists (any more)."""

    reason = "ContainerGone"
    retry_after_seconds = 0.2


class ContainerState(StrEnum):
    """Where a container is in its life."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    REMOVING = "removing"


class Stream(StrEnum):
    """An output stream of a container."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount of a folder or file of the host."""

    host_path: str
    mount_path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """All that a container is created from. ``None`` means: as the image or the engine has it."""

    name: str
    image: str
    labels: Mapping[str, str]
    command: tuple[str, ...] | None = None  # the entrypoint's argv
    args: tuple[str, ...] | None = None
    working_dir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()  # cpuset; () leaves the container on all cores
    memory_nodes: tuple[int, ...] = ()  # cpuset.mems; () leaves it on all NUMA nodes
    cpu_millis: int | None = None  # quota; None: no quota
    memory_bytes: int | None = None
    shm_bytes: int | None = None
    pids_limit: int | None = None  # processes and threads; None: no limit
    mounts: tuple[Mount, ...] = ()
    privileged: bool = False
    network_mode: str = "Bridge"  # Bridge, Host, None
    gpu_uuids: tuple[str, ...] = ()
    stop_grace_seconds: int = 10
    log_limit_bytes: int = 32 * 2**20


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """A container of this host as the engine shows it now."""

    name: str
    labels: Mapping[str, str]
    state: ContainerState
    exit_code: int | None = None  # of an exited container; 128 + n: ended by signal n
    oom_killed: bool = False
    error: str = ""  # the engine's own words why the program could not be started, for good
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    cpus: tuple[int, ...] = ()
    memory_bytes: int | None = None
    gpu_uuids: tuple[str, ...] = ()
    stop_grace_seconds: int = 10


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Some bytes of a container's output, as they came."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened to a container of this host: look at it."""

    name: str
    action: str  # create, start, die, pause, unpause, oom, destroy; "" = anything: look at all


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What a container has used, from the engine's counters."""

    cpu_seconds: float
    memory_bytes: int
    pids: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Which engine answers, and what it says of itself."""

    name: str
    version: str
    cpus: tuple[int, ...] | None = None  # the cores that it can give a container; None: not told
    root_dir: str = ""  # where it keeps images and containers; "": not told


class ContainerEngine(Protocol):
    """A container engine that shows only the containers labelled with this host's name."""

    async def info(self) -> EngineInfo:
        """Return name and version; raises EngineUnavailableError when it does not answer."""
        ...

    async def observe(self) -> dict[str, ObservedContainer]:
        """Return all containers of this host, by name."""
        ...

    async def inspect(self, name: str) -> ObservedContainer | None:
        """Return one container of this host, or None."""
        ...

    async def has_image(self, image: str) -> bool:
        """Tell whether the image is on the host."""
        ...

    async def pull(self, image: str) -> None:
        """Pull an image; raises ImagePullError. Cancelling the call ends the pull."""
        ...

    async def create(self, spec: ContainerSpec) -> None:
        """Create a container; one that exists under that name already is left as it is."""
        ...

    async def start(self, name: str) -> None:
        """Start a created container; a running or ended one is left as it is.

        A missing program is no error here: the container runs, and ends with ``error`` set. Raises
        ContainerLostError when the engine died in an earlier start, and the program had begun.
        """
        ...

    async def pause(self, name: str) -> None:
        """Freeze a running container; one in any other state is left as it is."""
        ...

    async def resume(self, name: str) -> None:
        """Thaw a paused container; one in any other state is left as it is."""
        ...

    async def signal(self, name: str, signal_number: int) -> None:
        """Send a signal to a container, which thaws it; an ended or missing one is no error."""
        ...

    async def remove(self, name: str) -> None:
        """Remove a container, killing it if it runs; a missing one is no error."""
        ...

    async def update_cpus(self, name: str, cpus: tuple[int, ...]) -> None:
        """Move a container to these cores; an ended one is left as it is."""
        ...

    def logs(self, name: str, *, follow: bool = False) -> AsyncGenerator[LogChunk, None]:
        """Yield the container's output from its beginning; with follow until it ends.

        Closing the iterator (``aclosing``) or cancelling its reader closes the connection.
        """
        ...

    def events(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield events of this host's containers until the engine's stream ends or fails.

        The first one has the action ``""``: what happened before it is not told, so look at all.
        """
        ...

    async def usage(self, name: str) -> ContainerUsage | None:
        """Return what a running container has used; None when it does not run."""
        ...

    async def close(self) -> None:
        """Release connections and threads."""
        ...
