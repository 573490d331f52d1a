"""What the daemon needs of an engine: small Protocols, so that each kind asks for what it uses.

Every call is idempotent, keyed by the instance's deterministic name, and has a deadline inside the
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

    def __init__(self, message: str, *, permanent: bool, hosts_fault: bool = False) -> None:
        """Say what it is.

        Args:
            message: the engine's words.
            permanent: for good: unknown image, denied, bad name; waiting cannot help.
            hosts_fault: no image would come here, as the disk is full, say.
        """
        super().__init__(message)
        self.permanent = permanent
        self.hosts_fault = hosts_fault


class RegistryLoginError(ImagePullError):
    """The registry refused, and this host's own stored login could not be read."""

    reason = "RegistryLoginFailed"


class EngineRefusedError(WeirError):
    """The engine answered that it could not, and the caller is not known to be at fault.

    It is not away: asking all anew helps nothing. It may be able to the next time.
    """

    reason = "EngineRefused"


class CreateRefusedError(WeirError):
    """What is asked for cannot be had: bad mount, bad option, no such user. Final."""

    reason = "CreateFailed"


class InstanceLostError(WeirError):
    """The engine lost a container whose program had begun: how it goes on cannot be known."""

    reason = "HostLost"


class InstanceGoneError(WeirError):
    """No container of that name exists (any more)."""

    reason = "ContainerGone"
    retry_after_seconds = 0.2


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    REMOVING = "removing"
    UNKNOWN = "unknown"  # it is there, and the engine could not show it in time


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
class RegistryLogin:
    """Credentials for a registry (``host:port``) or what is below a path of it."""

    registry: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PullAccess:
    """With whose logins an image is pulled."""

    logins: tuple[RegistryLogin, ...] = ()
    host_login: bool = True  # those stored on the host may be used too, after the others


BY_HOST_LOGIN = PullAccess()


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
    layer_bytes: int | None = None  # of what it writes, where the engine can; None: no limit
    mounts: tuple[Mount, ...] = ()
    privileged: bool = False
    network_mode: str = "Bridge"  # Bridge, Host, None
    gpu_uuids: tuple[str, ...] = ()
    stop_grace_seconds: int = 10
    log_buffer_bytes: int = 16 * 2**20  # of output are there for a follower who was away


@dataclass(frozen=True, slots=True)
class ContainerDefaults:
    """What all containers of a host have, unless a spec says otherwise.

    Attributes:
        host: the name of this host.
        pids_limit: processes and threads at a time.
        always_pull: the registry is asked before each start, with the logins of the work alone.
    """

    host: str
    pids_limit: int = 4096
    always_pull: bool = False


@dataclass(frozen=True, slots=True)
class ObservedInstance:
    """A container or machine of this host as the engine shows it now."""

    name: str
    labels: Mapping[str, str]
    state: InstanceState
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
    gap: bool = False  # what was printed just before them is not to be had


@dataclass(frozen=True, slots=True)
class LogPosition:
    """How far somebody has got in an instance's output: at its beginning, unless it says more."""

    came: Mapping[Stream, int] = field(default_factory=lambda: dict.fromkeys(Stream, 0))
    recent: Mapping[Stream, bytes] = field(default_factory=lambda: dict.fromkeys(Stream, b""))
    exact: bool = True  # nothing is missing before it, so that counting finds it again

    @property
    def is_beginning(self) -> bool:
        """Whether nothing came yet."""
        return not any(self.came.values())


BEGINNING = LogPosition()
"""Before the first byte."""


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened to a container of this host: look at it."""

    name: str
    action: str  # create, start, die, pause, unpause, oom, destroy; "" = anything: look at all


@dataclass(frozen=True, slots=True)
class InstanceUsage:
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


class Lifecycle(Protocol):
    """What every engine does with instances: this is all that ``instances/`` asks of it.

    An engine shows only what is this host's: its name is ``weir-<uid>-<n>``, and its labels say
    this host and that same uid. Whatever else bears our labels (somebody committed one of our
    containers, and runs the image) is not seen and not touched. One of ours that somebody renamed
    gets its name back.
    """

    async def info(self) -> EngineInfo:
        """Return name and version; raises EngineUnavailableError when it does not answer."""
        ...

    async def observe(self) -> dict[str, ObservedInstance]:
        """Return all instances of this host, by name."""
        ...

    async def inspect(self, name: str) -> ObservedInstance | None:
        """Return one instance of this host, or None."""
        ...

    async def start(self, name: str) -> None:
        """Start a created instance; a running or ended one is left as it is.

        A missing program is no error here: the instance runs, and ends with ``error`` set. Raises
        InstanceLostError when the engine died in an earlier start, and the program had begun.
        """
        ...

    async def start_again(self, name: str) -> None:
        """Start an ended instance once more, with all that it wrote; a running one is left."""
        ...

    async def pause(self, name: str) -> None:
        """Freeze a running instance; one in any other state is left as it is."""
        ...

    async def resume(self, name: str) -> None:
        """Thaw a paused instance; one in any other state is left as it is."""
        ...

    async def signal(self, name: str, signal_number: int) -> None:
        """Send a signal to an instance, which thaws it; an ended or missing one is no error."""
        ...

    async def remove(self, name: str) -> None:
        """Remove an instance, killing it if it runs; a missing one is no error."""
        ...

    async def update_cpus(self, name: str, cpus: tuple[int, ...]) -> None:
        """Move an instance to these cores; an ended one is left as it is."""
        ...

    def events(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield events of this host's instances until the engine's stream ends or fails.

        The first one has the action ``""``: what happened before it is not reported, so observe
        all.
        """
        ...

    async def close(self) -> None:
        """Release connections and threads."""
        ...


class Images(Protocol):
    """Images that containers are made from."""

    async def has_image(self, image: str) -> bool:
        """Tell whether the image is on the host."""
        ...

    async def pull(self, image: str, access: PullAccess = BY_HOST_LOGIN) -> None:
        """Pull an image; raises ImagePullError. Cancelling the call ends the pull."""
        ...


class Logs(Protocol):
    """The output of instances."""

    def follow(self, name: str, after: LogPosition = BEGINNING) -> AsyncGenerator[LogChunk, None]:
        """Yield what the instance writes after a position, at once and as it is.

        The first chunk is empty: what is written from then on is not missed. A chunk with ``gap``
        says that what came before it is not to be had. It ends when the instance has ended, and
        only when all was yielded; it may never end of an instance that is removed before its start.
        Closing the iterator (``aclosing``) or cancelling its reader closes the connection. A reader
        that stands still may hold the program up.

        Raises:
            InstanceGoneError: there is no such instance.
            EngineUnavailableError: it was cut off; it can go on after what was yielded.
        """
        ...


class Usage(Protocol):
    """What instances use."""

    async def usage(self, name: str) -> InstanceUsage | None:
        """Return what a running instance has used; None when it does not run."""
        ...

    async def layer_bytes(self, name: str) -> int | None:
        """Return how much an instance has written to its own file system; None: it is gone.

        It may take as long as it takes to read all of that.
        """
        ...


class Commit(Protocol):
    """Images made of instances."""

    async def commit(self, name: str, image: str) -> None:
        """Keep the files of an instance as ``<repository>:<tag>``; what it runs goes on.

        The image carries none of our labels: what is run from it is not taken for ours.
        """
        ...


class Containers(Protocol):
    """Makes containers."""

    async def create(self, spec: ContainerSpec) -> None:
        """Create a container; one that exists under that name already is left as it is.

        Raises:
            CreateRefusedError: the spec cannot be had here; waiting cannot help.
            ImagePullError: the image is not (any more) on the host.
            EngineRefusedError: the engine answered that it could not; it may the next time.
        """
        ...


class ContainerEngine(Lifecycle, Containers, Images, Logs, Usage, Commit, Protocol):
    """An engine of containers."""
