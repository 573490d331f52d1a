"""What clients send and get about tasks. These models go no further than the routes."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

TAG = "Tasks"
NOT_FOUND = {404: "There is no such task."}

MAX_TARGETS = 256
MAX_ROWS = 10_000
_INT32 = 2**31 - 1
_EXACT = 2**53 - 1

TaskId = Annotated[int, Field(description="Id of the task, as the task objects have it.")]
GpuId = Annotated[int, Field(ge=-_INT32, le=_INT32)]


class SubmitRequest(BaseModel):
    """A command to run, once for each target."""

    task_type: str = Field("command", description="`command`.")
    command: str = Field(
        "",
        description="Plain words are run as they are; anything else by the shell of the image."
        " Empty: what the image runs by itself.",
    )
    arguments: list[str] = Field([], description="Further words, never read by a shell.")
    env_vars: dict[str, str] = Field({}, description="Added to the image's environment.")
    required_cores: int = Field(
        1, ge=0, le=_INT32, description="Cores of its own; 0: shared ones, without a limit."
    )
    required_gpus: list[list[GpuId]] | None = Field(
        None, description="Ids of the GPUs, one list for each target."
    )
    required_memory_bytes: int | None = Field(
        None, ge=0, le=_EXACT, description="The most it may use; null: no limit."
    )
    targets: list[str] | None = Field(
        None,
        max_length=MAX_TARGETS,
        description="Hosts, each with a task of its own: `host[:numa][::gpu,gpu]`. None: one task,"
        " wherever it fits.",
    )
    container_name: str | None = Field(
        None, description="The environment, which names an image. Null: the usual one."
    )
    registry_image: str | None = Field(None, description="An image; goes before container_name.")
    privileged: bool | None = Field(
        None, description="All of the host's devices. Refused where it is not allowed."
    )
    additional_mounts: list[str] | None = Field(
        None, description="`source:destination[:ro]`, of the host. Refused where not allowed."
    )
    ip_reservation_token: str | None = Field(None, description="Without effect yet.")


class Status(StrEnum):
    """The words of ``status`` in a task object."""

    PENDING_APPROVAL = "pending_approval"
    REJECTED = "rejected"
    ASSIGNING = "assigning"
    """It waits for a host."""
    PENDING = "pending"
    """It has a host, which prepares it."""
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"
    KILLED_OOM = "killed_oom"
    LOST = "lost"
    """Nothing is heard of its host: it may come back, unless it has ended."""
    STOPPED = "stopped"


class TaskOut(BaseModel):
    """A task as clients see it; every key is always there."""

    task_id: str
    task_type: str = Field(description="`command`.")
    batch_id: str | None = Field(description="Id of the first task of the same submission.")
    name: str | None
    owner_id: int | None
    owner_username: str | None
    approval_status: str | None = Field(description="pending, approved or rejected; null: none.")
    approved_by_id: int | None
    approved_by_username: str | None
    approved_at: str | None
    rejection_reason: str | None
    command: str
    arguments: list[str]
    env_vars: dict[str, str] = Field(description="Values are `***` to who may not see them.")
    required_cores: int
    required_gpus: list[int]
    required_memory_bytes: int | None
    target_numa_node_id: int | None
    status: Status
    assigned_node: str | None
    container_name: str | None = Field(description="The environment.")
    docker_image_name: str | None
    docker_privileged: bool
    docker_mount_dirs: list[str]
    ssh_port: int | None
    vps_backend: str
    vm_image: str | None
    vm_disk_size: str | None
    vm_ip: str | None
    stdout_path: str
    stderr_path: str
    exit_code: int | None
    error_message: str | None
    submitted_at: str | None
    started_at: str | None
    completed_at: str | None


class AssignedNode(BaseModel):
    """Where a submitted task went; both empty: it still waits."""

    hostname: str
    url: str


class Submitted(BaseModel):
    """All targets got their task."""

    message: str
    task_ids: list[str]
    assigned_node: AssignedNode = Field(description="Of the last target.")
    runner_response: Any = Field(description='true, or `{"status": "pending_approval"}`.')


class FailedTarget(BaseModel):
    """A target without a task."""

    target: str
    reason: str


class PartlySubmitted(BaseModel):
    """Some targets got their task, and some did not."""

    message: str
    task_ids: list[str]
    failed_targets: list[FailedTarget]


class Approved(BaseModel):
    """The task goes on."""

    message: str
    task_id: str


class Rejected(BaseModel):
    """The task has ended."""

    message: str
    task_id: str
    reason: str | None


class Page(BaseModel):
    """Which part of a list is wanted."""

    limit: int = Field(100, ge=0, le=MAX_ROWS, description="How many at most.")
    offset: int = Field(0, ge=0, le=_EXACT, description="How many of the newest to leave out.")


class TaskQuery(Page):
    """Which tasks are wanted; those that everything given holds for."""

    status: str | None = Field(None, description="In this status.")
    node: str | None = Field(None, description="On this host, or meant for it.")
    task_type: str | None = Field(None, description="Of this type.")


class RejectQuery(BaseModel):
    """Why it is rejected."""

    reason: str | None = Field(None, max_length=4096, description="For its owner.")


class OutputQuery(BaseModel):
    """How much of the output is wanted."""

    lines: int | None = Field(
        None, ge=0, le=_INT32, description="The last lines; absent or 0: all that is kept."
    )


_ID = "1734029384756102938"

TASK_EXAMPLE: dict[str, Any] = {
    "task_id": _ID,
    "task_type": "command",
    "batch_id": _ID,
    "name": None,
    "owner_id": 4173239615688981,
    "owner_username": "ann",
    "approval_status": None,
    "approved_by_id": None,
    "approved_by_username": None,
    "approved_at": None,
    "rejection_reason": None,
    "command": "python train.py",
    "arguments": ["--epochs", "3"],
    "env_vars": {"SEED": "7"},
    "required_cores": 4,
    "required_gpus": [0],
    "required_memory_bytes": 8589934592,
    "target_numa_node_id": None,
    "status": "running",
    "assigned_node": "n1",
    "container_name": "torch",
    "docker_image_name": "registry.example.org/torch:2.9",
    "docker_privileged": False,
    "docker_mount_dirs": [],
    "ssh_port": None,
    "vps_backend": "docker",
    "vm_image": None,
    "vm_disk_size": None,
    "vm_ip": None,
    "stdout_path": f"/api/tasks/{_ID}/stdout",
    "stderr_path": f"/api/tasks/{_ID}/stderr",
    "exit_code": None,
    "error_message": None,
    "submitted_at": "2026-11-22T10:00:00.123456+00:00",
    "started_at": "2026-11-22T10:00:01.234567+00:00",
    "completed_at": None,
}

SUBMIT_EXAMPLE: dict[str, Any] = {
    "command": "python",
    "arguments": ["train.py", "--epochs", "3"],
    "env_vars": {"SEED": "7"},
    "required_cores": 4,
    "targets": ["n1:0", "n2"],
    "required_gpus": [[0], [1]],
    "container_name": "torch",
}

SUBMITTED_EXAMPLE: dict[str, Any] = {
    "message": "2 tasks submitted",
    "task_ids": [_ID, "2136698683232758466"],
    "assigned_node": {"hostname": "n2", "url": "https://10.0.0.6:8443"},
    "runner_response": True,
}

APPROVED_EXAMPLE = {"message": "task approved", "task_id": _ID}
REJECTED_EXAMPLE = {"message": "task rejected", "task_id": _ID, "reason": "too big"}

_FIELDS = (
    ("spec.command", "command"),
    ("spec.args", "arguments"),
    ("spec.env", "env_vars"),
    ("spec.image", "registry_image"),
    ("spec.mounts", "additional_mounts"),
    ("spec.privileged", "privileged"),
    ("spec.placement", "targets"),
    ("spec.resources.cpu", "required_cores"),
    ("spec.resources.memory", "required_memory_bytes"),
    ("spec.resources.gpus", "required_gpus"),
)
"""Where in a submission each part of a Task's spec comes from."""


def place_of(path: str) -> tuple[str | int, ...]:
    """Return where in a submission stands what the API server means by ``spec.resources.cpu``."""
    for prefix, name in _FIELDS:
        if path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")):
            return (name,)
    return tuple(filter(None, path.split(".")))
