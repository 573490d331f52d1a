"""The Task: one command in one container on one host, which runs to an end."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from weir_crds.kinds import TASK
from weir_crds.meta import Conditions, Generation, ObjectMeta
from weir_crds.quantities import cpu_millis, memory_bytes
from weir_crds.schema import (
    AbsolutePath,
    ByteCount,
    Column,
    CoreID,
    GPUIndex,
    Immutable,
    Integer,
    LabelValue,
    ListAtomic,
    ListMap,
    ListSet,
    Model,
    NumaNodeID,
    ObjectName,
    PositiveQuantity,
    Quantity,
    Resource,
    Rule,
    Text,
    Time,
    transition,
)

DECADE = 10 * 366 * 24 * 3600
"""The longest time in seconds that a field accepts."""

Argument = Annotated[Text, Field(max_length=65536)]
BadEnd = Literal["NonZeroExit", "OOMKilled", "Signalled", "TimedOut"]
RunID = Annotated[Integer, Field(ge=0, le=2**31 - 1)]
ExitCode = Annotated[Integer, Field(ge=-(2**31), le=2**31 - 1)]


class KeySelector(Model):
    """A key of a Secret or ConfigMap in the Task's own namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
    """Key within its data."""


class EnvVarSource(Model):
    """Where a value comes from."""

    rules = (
        Rule(
            "has(self.secretKeyRef) != has(self.configMapKeyRef)",
            "exactly one of secretKeyRef and configMapKeyRef must be set",
            holds=lambda s: (s.secret_key_ref is None) != (s.config_map_key_ref is None),
        ),
    )

    secret_key_ref: KeySelector | None = None
    """A key of a Secret. The daemon may read it where the ClusterRole weir-secrets is bound."""
    config_map_key_ref: KeySelector | None = None
    """A key of a ConfigMap. The daemon may read it where the ClusterRole weir-secrets is bound."""


class EnvVar(Model):
    """An environment variable: a value, or where it comes from."""

    rules = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "value and valueFrom exclude each other",
            holds=lambda e: e.value is None or e.value_from is None,
        ),
    )

    name: Annotated[str, Field(pattern=r"^[^=\x00]+$", min_length=1, max_length=256)]
    """Name of the variable."""
    value: Annotated[Text, Field(max_length=32768)] | None = None
    """The value itself, as it is: nothing is expanded. Without value and valueFrom: empty."""
    value_from: EnvVarSource | None = None
    """Where the value comes from, read when the container is made."""


class GPURequest(Model):
    """Whole GPUs for this Task alone: any number of them, or these."""

    rules = (
        Rule(
            "has(self.count) != has(self.indices)",
            "exactly one of count and indices must be set",
            holds=lambda g: (g.count is None) != (g.indices is None),
        ),
    )

    count: Annotated[Integer, Field(ge=0, le=64)] | None = None
    """How many, whichever are free."""
    indices: Annotated[list[GPUIndex], ListSet(), Field(min_length=1, max_length=64)] | None = None
    """Which ones, by their index on the host. Needs placement.hostName."""


class Resources(Model):
    """What the container may use, and what its host must have free."""

    cpu: Quantity = 1
    """A whole number: that many cores, its own and pinned. A fraction such as 500m: that share of
    the cores that nobody owns. 0: those same cores, without a limit. Write 500m, not 0.5: YAML
    makes 0.5 a float, which is refused (a quoted "0.5" works)."""
    memory: PositiveQuantity | None = None
    """Hard limit, such as 8Gi; hosts are packed by it. Absent: no limit."""
    gpus: GPURequest | None = None
    """Whole GPUs, for this Task alone. Absent: none."""
    shm_size: PositiveQuantity | None = None
    """Size of /dev/shm, such as 1Gi. Absent: the engine's default (64Mi)."""

    @property
    def exclusive_cores(self) -> int:
        """Number of cores to pin: the cpu count where it is whole, else 0."""
        millis = cpu_millis(self.cpu)
        return millis // 1000 if millis % 1000 == 0 else 0

    @property
    def shared_millis(self) -> int:
        """Quota on the shared cores in millicores: the cpu count where it is a fraction, else 0."""
        millis = cpu_millis(self.cpu)
        return millis if millis % 1000 else 0

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes; None: no limit."""
        return None if self.memory is None else memory_bytes(self.memory)

    @property
    def shm_bytes(self) -> int | None:
        """The size of /dev/shm in bytes; None: the engine's default."""
        return None if self.shm_size is None else memory_bytes(self.shm_size)

    @property
    def gpu_count(self) -> int:
        """How many GPUs are asked for, by count or by index."""
        if self.gpus is None:
            return 0
        return len(self.gpus.indices) if self.gpus.indices else self.gpus.count or 0


class Placement(Model):
    """Which hosts may run it. Everything that is given must hold."""

    host_name: ObjectName | None = None
    """The one Host to run on. Absent: any."""
    host_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Labels that the Host must have. Absent: none."""
    numa_node: NumaNodeID | None = None
    """The one NUMA node whose cores to use. Absent: one node if it fits in one, else spread."""


class Mount(Model):
    """A folder or file of the host inside the container."""

    host_path: AbsolutePath
    """Absolute path on the host."""
    mount_path: AbsolutePath
    """Absolute path in the container."""
    read_only: bool = False
    """Whether the container may not write to it."""


class Network(Model):
    """How the container is connected."""

    mode: Literal["Bridge", "Host", "None"] = "Bridge"
    """Bridge: an address of its own behind the host. Host: the host's own network (needs the label
    weir.dev/allow-privileged=true on the namespace). None: loopback only."""


class Retry(Model):
    """Whether a run that ended badly is followed by another."""

    limit: Annotated[Integer, Field(ge=0, le=1000)] = 0
    """How many further runs there may be."""
    backoff_seconds: Annotated[Integer, Field(ge=0, le=86400)] = 10
    """Pause before the first further run; it doubles each time."""
    on: Annotated[
        list[BadEnd],
        ListSet(),
        Field(max_length=8),
    ] = Field(default_factory=lambda: list(get_args(BadEnd)))
    """Which ends count as bad. Write "on" with its quotes in YAML, where a bare on means true."""


class TaskSpec(Model):
    """What is wanted. Verbs (priority, suspend, desiredState, approval, ttlSecondsAfterFinished,
    and placement while suspended) may change; all else is fixed at creation."""

    rules = (
        Rule(
            "!has(self.resources.gpus) || !has(self.resources.gpus.indices)"
            " || (has(self.placement) && has(self.placement.hostName))",
            "gpus.indices needs placement.hostName",
            field_path=".resources.gpus",
            holds=lambda s: (
                s.resources.gpus is None
                or s.resources.gpus.indices is None
                or (s.placement is not None and s.placement.host_name is not None)
            ),
        ),
        transition(
            "oldSelf.desiredState != 'Killed' || self.desiredState == 'Killed'",
            "Killed is final",
            ".desiredState",
        ),
        transition(
            "self.approval == oldSelf.approval || oldSelf.approval == 'Pending'",
            "only Pending may become Approved or Rejected",
            ".approval",
        ),
    )

    image: Annotated[str, Field(pattern=r"^[!-~]+$", min_length=1, max_length=1024), Immutable()]
    """Image of the container, as `docker pull` takes it: python:3.12-slim."""
    image_pull_policy: Annotated[Literal["Always", "IfNotPresent", "Never"], Immutable()] = (
        "IfNotPresent"
    )
    """When to ask the registry: Always; IfNotPresent: when the host lacks the image; Never."""
    command: (
        Annotated[list[Argument], ListAtomic(), Field(min_length=1, max_length=1024), Immutable()]
        | None
    ) = None
    """Program and first arguments, one item each; never a shell line. Replaces the image's
    entrypoint. Absent: the image's entrypoint."""
    args: Annotated[list[Argument], ListAtomic(), Field(max_length=1024), Immutable()] | None = None
    """Further arguments. Replaces the image's default arguments. Absent: those of the image, unless
    command is given."""
    working_dir: Annotated[AbsolutePath, Immutable()] | None = None
    """Working directory of the process. Absent: the image's."""
    env: Annotated[list[EnvVar], ListMap("name"), Field(max_length=512), Immutable()] = Field(
        default_factory=list
    )
    """Environment variables, added to those of the image."""
    resources: Annotated[Resources, Immutable()] = Field(default_factory=Resources)
    """What the container may use, and what its host must have free."""
    placement: Annotated[Placement, Immutable(unless="oldSelf.suspend")] | None = None
    """Which hosts may run it; may change while suspend is true. Absent: any."""
    mounts: Annotated[list[Mount], ListMap("mount_path"), Field(max_length=64), Immutable()] = (
        Field(default_factory=list)
    )
    """Folders and files of the host to mount. Needs the label weir.dev/allow-privileged=true on the
    namespace."""
    privileged: Annotated[bool, Immutable()] = False
    """Run with all capabilities and devices of the host. Needs the label
    weir.dev/allow-privileged=true on the namespace."""
    network: Annotated[Network, Immutable()] = Field(default_factory=Network)
    """How the container is connected."""
    queue: Annotated[ObjectName, Immutable()] = "default"
    """Name of the queue to wait in."""
    priority: Annotated[Integer, Field(ge=-1_000_000_000, le=1_000_000_000)] = 0
    """Higher goes first in the queue. May change."""
    suspend: bool = False
    """True: not queued. Set while it runs: stopped, and queued anew when it is false again. May
    change."""
    desired_state: Literal["Running", "Paused", "Killed"] = "Running"
    """Running; Paused: all processes frozen, everything kept (before its start: placed, not
    started); Killed: ended for good, which is final. May change."""
    approval: Literal["Approved", "Pending", "Rejected"] = "Approved"
    """Pending: waits for a decision. It may change once, from Pending to Approved or Rejected."""
    retry: Annotated[Retry, Immutable()] = Field(default_factory=Retry)
    """Whether a run that ended badly is followed by another."""
    timeout_seconds: Annotated[Integer, Field(ge=1, le=DECADE), Immutable()] | None = None
    """Longest running time of each run in seconds; pauses do not count. Absent: none."""
    stop_grace_seconds: Annotated[Integer, Field(ge=0, le=86400), Immutable()] = 10
    """Time in seconds between SIGTERM and SIGKILL when it is stopped."""
    ttl_seconds_after_finished: Annotated[Integer, Field(ge=0, le=DECADE)] | None = None
    """How long in seconds the finished Task and its logs are kept. May change. Absent: the
    operator's default (30 days)."""
    on_host_lost: Annotated[Literal["Wait", "Restart", "Fail"], Immutable()] = "Wait"
    """When its host is lost: Wait for the host; after the grace Restart it elsewhere; or Fail."""
    host_lost_grace_seconds: Annotated[Integer, Field(ge=0, le=DECADE), Immutable()] = 300
    """How long in seconds a host must be lost before Restart or Fail."""


class AssignedGPU(Model):
    """A GPU that the Task has for itself."""

    index: GPUIndex
    """Index on the host."""
    uuid: Annotated[str, Field(max_length=128)]
    """The device's own id, such as GPU-8f5b…; it stays when indices change."""


class RunResult(Model):
    """How a run ended that was followed by another."""

    run_id: RunID
    """Which run."""
    reason: Annotated[str, Field(max_length=64)]
    """Why it ended, as Succeeded would have said."""
    exit_code: ExitCode | None = None
    """Its exit code, where there was one."""
    finished_at: Time | None = None
    """When it ended."""


class LogSummary(Model):
    """How much output the host keeps."""

    stdout_bytes: ByteCount = 0
    """Bytes of standard output."""
    stderr_bytes: ByteCount = 0
    """Bytes of standard error."""
    truncated: bool = False
    """Whether older output was cut."""


class TaskStatus(Model):
    """What was decided and what was observed."""

    rules = (
        transition(
            "!has(oldSelf.runID) || (has(self.runID) && self.runID >= oldSelf.runID)",
            "runID never shrinks",
            ".runID",
        ),
        transition(
            "!has(oldSelf.nodeName) || (has(self.nodeName) && self.nodeName == oldSelf.nodeName)"
            " || (has(self.runID) && self.runID > (has(oldSelf.runID) ? oldSelf.runID : 0))",
            "nodeName is set once per runID",
            ".nodeName",
        ),
        transition(
            "!has(oldSelf.finishedAt) || (has(self.finishedAt)"
            " && self.finishedAt == oldSelf.finishedAt"
            " && has(self.exitCode) == has(oldSelf.exitCode)"
            " && (!has(self.exitCode) || self.exitCode == oldSelf.exitCode)"
            " && has(self.runID) == has(oldSelf.runID)"
            " && (!has(self.runID) || self.runID == oldSelf.runID))",
            "a finished Task is final",
            ".finishedAt",
        ),
        transition(
            "!has(oldSelf.finishedAt) || !has(oldSelf.conditions) || oldSelf.conditions.all(o,"
            " o.type != 'Succeeded' || (has(self.conditions) && self.conditions.exists(n,"
            " n.type == 'Succeeded' && n.status == o.status && n.reason == o.reason)))",
            "a finished Task is final",
            ".conditions",
        ),
    )

    observed_generation: Generation | None = None
    """The metadata.generation that this status is about."""
    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people, a mirror that no program should read: PendingApproval, Queued, Starting,
    Running, Paused, Stopping, Retrying, Succeeded, Failed, Killed or Rejected."""
    node_name: ObjectName | None = None
    """The Host that it is bound to; set once per run."""
    cpus: Annotated[list[CoreID], ListSet(), Field(max_length=4096)] | None = None
    """The cores that are its own, by id. Empty: it runs on the shared cores."""
    numa_node: NumaNodeID | None = None
    """The NUMA node that all its cores are on. Absent: several, or none."""
    gpus: Annotated[list[AssignedGPU], ListMap("index"), Field(max_length=64)] | None = None
    """The GPUs that are its own."""
    run_id: RunID | None = None
    """Number of the current run; it only grows. The container is named weir-<uid>-<runID>."""
    failures: Annotated[Integer, Field(ge=0, le=2**31 - 1)] | None = None
    """How many runs ended badly and count against retry.limit."""
    last_result: RunResult | None = None
    """How the latest run ended that was retried."""
    scheduled_at: Time | None = None
    """When it was bound to its host."""
    started_at: Time | None = None
    """When its process started."""
    finished_at: Time | None = None
    """When it ended: the one and only end, which never changes."""
    exit_code: ExitCode | None = None
    """Exit code of the process; 128 + n where signal n ended it."""
    signal: Annotated[Integer, Field(ge=1, le=127)] | None = None
    """Number of the signal that ended it. Absent: it ended otherwise."""
    logs: LogSummary | None = None
    """How much output is kept: kubectl weir logs NAME."""
    conditions: Conditions | None = None
    """What was observed: Scheduled (operator), Started and Paused (daemon), Succeeded (daemon, or
    operator when no daemon can). Succeeded absent or Unknown: not finished."""


class Task(Model):
    """One command in one container on one host, which runs to an end."""

    rules = (
        transition("!has(oldSelf.status) || has(self.status)", "must not be removed", ".status"),
    )

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: TaskSpec
    """What is wanted."""
    status: TaskStatus = Field(default_factory=TaskStatus)
    """What was decided and what was observed."""


RESOURCE = Resource(
    kind=TASK,
    model=Task,
    singular="task",
    short_names=("wt",),
    columns=(
        Column("State", ".status.phase", "What it does, in one word."),
        Column("Host", ".status.nodeName", "The Host that it is bound to."),
        Column("CPU", ".spec.resources.cpu", "Cores that it asked for."),
        Column(
            "GPU",
            ".spec.resources.gpus['count','indices']",
            "GPUs that it asked for: how many, or which.",
        ),
        Column("Exit", ".status.exitCode", "Exit code of the process.", type="integer"),
        Column("Age", ".metadata.creationTimestamp", "When it was made.", type="date"),
        # A path cannot choose a condition by meaning. The list keeps the order in which conditions
        # were first set (Scheduled, Started, Paused, Succeeded), so the last is the one to read.
        Column(
            "Reason", ".status.conditions[-1:].reason", "Reason of its latest condition.", wide=True
        ),
        Column("CPUs", ".status.cpus", "The cores that are its own.", wide=True),
        Column("Image", ".spec.image", "Image of its container.", wide=True),
        Column("Run", ".status.runID", "Number of the current run.", type="integer", wide=True),
    ),
    selectable_fields=(".status.nodeName",),
)
