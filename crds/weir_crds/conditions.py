"""Conditions of ``status``: a list of dicts, one per type. Dicts in, dicts out, nothing is mutated.

A condition says what was observed. Its writer is fixed per type (see ``docs/tasks.md``), and
``lastTransitionTime`` moves only when ``status`` does.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from weir_crds.times import now_rfc3339

Condition = dict[str, Any]

MAX_MESSAGE = 4096
"""The longest message that the API accepts; ``set_condition`` cuts longer ones."""

TRUE = "True"
FALSE = "False"
UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """What a condition is about."""

    # Task
    SCHEDULED = "Scheduled"
    STARTED = "Started"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    # Host
    READY = "Ready"
    APPROVED = "Approved"
    DOCKER_READY = "DockerReady"
    QEMU_READY = "QemuReady"
    GPU_READY = "GPUReady"
    DISK_PRESSURE = "DiskPressure"
    STARTS_FAILING = "StartsFailing"
    KEPT_FREE = "KeptFree"


class Reason(StrEnum):
    """Why a condition is as it is. Part of the API: people and scripts match on them."""

    # Task Scheduled, True
    BOUND = "Bound"
    # Task Scheduled, False
    QUEUED = "Queued"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    DRAINING_HOST = "DrainingHost"  # Host KeptFree, True, too
    UNSCHEDULABLE = "Unschedulable"
    SUSPENDED = "Suspended"
    AWAITING_APPROVAL = "AwaitingApproval"
    NO_HOSTS = "NoHosts"
    BACK_OFF = "BackOff"
    # Task Started, True
    CONTAINER_STARTED = "ContainerStarted"
    # Task Started, False
    PULLING_IMAGE = "PullingImage"
    IMAGE_PULL_FAILED = "ImagePullFailed"  # Succeeded=False too
    PULL_SECRET_NOT_READABLE = "PullSecretNotReadable"  # noqa: S105 (a reason, no password)
    REGISTRY_LOGIN_FAILED = "RegistryLoginFailed"
    WAITING_FOR_CORES = "WaitingForCores"
    SECRET_NOT_READABLE = "SecretNotReadable"  # noqa: S105 (a reason, no password)
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    CREATE_FAILED = "CreateFailed"  # Succeeded=False too
    STOPPED = "Stopped"  # the daemon acknowledges an unbind
    # Task Paused, True and False
    PAUSED = "Paused"
    RESUMED = "Resumed"
    # Task Succeeded, True
    COMPLETED = "Completed"
    # Task Succeeded, False
    NON_ZERO_EXIT = "NonZeroExit"
    OOM_KILLED = "OOMKilled"
    SIGNALLED = "Signalled"
    TIMED_OUT = "TimedOut"
    KILLED = "Killed"
    REJECTED = "Rejected"
    HOST_LOST = "HostLost"
    # Task Succeeded, Unknown
    RETRYING = "Retrying"
    # Host Ready
    DAEMON_READY = "DaemonReady"
    RUNNER_READY = "RunnerReady"  # of an external Host
    LEASE_EXPIRED = "LeaseExpired"
    # Host Approved
    APPROVED = "Approved"
    PENDING = "Pending"
    # Host DockerReady, QemuReady
    ENGINE_READY = "EngineReady"
    # Host GPUReady
    GPUS_READY = "GPUsReady"
    GPU_LOST = "GPULost"
    GPUS_UNKNOWN = "GPUsUnknown"
    # Host DiskPressure
    DISK_FULL = "DiskFull"
    DISK_HAS_ROOM = "DiskHasRoom"
    # Host StartsFailing, True and False
    REPEATED_FAILURES = "RepeatedFailures"
    START_SUCCEEDED = "StartSucceeded"


def get(conditions: Sequence[Mapping[str, Any]] | None, type: str) -> Condition | None:
    """Return the condition of that type (as a copy), or None."""
    for condition in conditions or ():
        if condition["type"] == type:
            return dict(condition)
    return None


def of(obj: Mapping[str, Any], type: str) -> Condition | None:
    """Return the condition of that type of an object, or None."""
    return get((obj.get("status") or {}).get("conditions"), type)


def is_true(obj: Mapping[str, Any], type: str) -> bool:
    """Say whether the object has that condition with status True."""
    condition = of(obj, type)
    return condition is not None and condition["status"] == TRUE


def set_condition(
    conditions: Sequence[Mapping[str, Any]] | None,
    type: str,
    status: str,
    reason: str,
    message: str,
    *,
    now: dt.datetime,
    observed_generation: int | None,
) -> list[Condition]:
    """Return the conditions with one set, in their order; equal to the old ones if nothing changed.

    ``lastTransitionTime`` becomes ``now`` only when the status differs from before.
    """
    result = [dict(condition) for condition in conditions or ()]
    new: Condition = {
        "type": str(type),
        "status": str(status),
        "reason": str(reason),
        "message": message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…",
        "lastTransitionTime": now_rfc3339(now),
    }
    if observed_generation is not None:
        new["observedGeneration"] = observed_generation
    for index, old in enumerate(result):
        if old["type"] == type:
            if old["status"] == status:
                new["lastTransitionTime"] = old["lastTransitionTime"]
            result[index] = new
            return result
    return [*result, new]


def without(conditions: Sequence[Mapping[str, Any]] | None, *types: str) -> list[Condition]:
    """Return the conditions but those of these types, in their order."""
    return [dict(condition) for condition in conditions or () if condition["type"] not in types]
