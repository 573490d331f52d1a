"""The Task: one command in one container on one host, which runs to an end."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from weir_crds.kinds import TASK
from weir_crds.meta import Conditions, Generation, ObjectMeta
from weir_crds.schema import (
    AbsolutePath,
    ByteCount,
    Column,
    Component,
    CoreID,
    Immutable,
    Integer,
    Lifetime,
    ListAtomic,
    ListMap,
    ListSet,
    Model,
    NumaNodeID,
    ObjectName,
    Resource,
    Rule,
    Text,
    Time,
    transition,
)
from weir_crds.workload import AssignedGPU, EnvVar, Mount, Network, Placement, Resources

DECADE = 10 * 366 * 24 * 3600
"""The longest time in seconds that a field accepts."""

Argument = Annotated[Text, Field(max_length=65536)]
BadEnd = Literal["NonZeroExit", "OOMKilled", "Signalled", "TimedOut"]
RunID = Annotated[Integer, Field(ge=0, le=2**31 - 1)]
ExitCode = Annotated[Integer, Field(ge=-(2**31), le=2**31 - 1)]


class Retry(Model):
    """Whether a run that ended badly is followed by another."""

    limit: Annotated[Integer, Field(ge=0, le=1000)] = 0
    """How many further runs there may be."""
    backoff_seconds: Annotated[Integer, Field(ge=0, le=86400)] = 10
    """Pause in seconds before the first further run; it doubles each time, up to an hour."""
    reasons: Annotated[
        list[BadEnd],
        ListSet(),
        Field(max_length=8),
    ] = Field(default_factory=lambda: list(get_args(BadEnd)))
    """Which ends are followed by a further run."""


class PullSecret(Model):
    """A Secret with logins of registries."""

    name: ObjectName
    """Name of the Secret."""


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
    image_pull_secrets: (
        Annotated[list[PullSecret], ListMap("name"), Field(max_length=16), Immutable()] | None
    ) = None
    """Secrets with logins of registries, in the Task's namespace, as `kubectl create secret
    docker-registry` makes them. The daemon may read them where the ClusterRole weir-secrets is
    bound. Absent: the host's own logins, if there are any."""
    command: (
        Annotated[
            list[Argument],
            ListAtomic(),
            Field(min_length=1, max_length=1024),
            Immutable(),
            Rule(
                # An empty list is the schema's to refuse, not an index out of bounds.
                "size(self) == 0 || self[0] != ''",
                "the program must not be empty",
                holds=lambda command: not command or command[0] != "",
            ),
        ]
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
    """True: not queued. Set while it runs: stopped, and queued anew with a new runID when it is
    false again. May change."""
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


class RunResult(Model):
    """How a run ended that was not the last: retried, suspended, or lost with its host."""

    run_id: RunID
    """Which run."""
    reason: Annotated[str, Field(max_length=64)]
    """Why it ended: as Succeeded would have said, Suspended, or HostLost."""
    node_name: ObjectName | None = None
    """The Host that it ran on, which keeps its output while the Task exists."""
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
            "self.?runID.orValue(-1) >= oldSelf.?runID.orValue(-1)", "never shrinks", ".runID"
        ),
        transition(
            "!has(oldSelf.nodeName) || self.?nodeName.orValue('') == oldSelf.nodeName"
            " || self.?runID.orValue(-1) > oldSelf.?runID.orValue(0)",
            "is set once per runID",
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
    """How many runs ended badly and were retried; counts against retry.limit."""
    last_result: RunResult | None = None
    """How the latest run ended that was not the last."""
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
        # Where nothing is gone the first term says so, which costs no look at a field.
        transition(
            "dyn(self).size() >= dyn(oldSelf).size() || !has(oldSelf.status) || has(self.status)",
            "must not be removed",
            ".status",
        ),
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
    watched_by=frozenset(Component),
    is_workload=True,
    lifetime=Lifetime(
        ended_at=("status", "finishedAt"), ttl_seconds=("spec", "ttlSecondsAfterFinished")
    ),
    # A write of the first status adds one; most others add fields to it or change its phase.
    is_status_write=(
        "dyn(self).size() != dyn(oldSelf).size() || (has(self.status)"
        " && (dyn(self.status).size() != dyn(oldSelf.status).size()"
        " || (has(self.status.phase) && has(oldSelf.status.phase)"
        " && self.status.phase != oldSelf.status.phase)))"
    ),
)
