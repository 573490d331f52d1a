"""From a Task to the task object of REST, and its one word of status. Pure."""

import datetime as dt
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from weir_api.hostapi.entries import Reading, UsernameOf
from weir_api.hostapi.tasks.request import text_of
from weir_api.hostapi.tasks.wire import Status
from weir_api.hostapi.wire import wire_now, wire_time
from weir_crds import ids, names
from weir_crds.conditions import FALSE, TRUE, ConditionType, Reason
from weir_crds.demand import holding_of, request_of
from weir_crds.kinds import TASK
from weir_crds.times import InvalidTimeError, parse_time
from weir_kube.store import Object

_ENDS: dict[str, Status] = {
    Reason.KILLED: Status.KILLED,
    Reason.OOM_KILLED: Status.KILLED_OOM,
    Reason.REJECTED: Status.REJECTED,
    Reason.HOST_LOST: Status.LOST,
}


def status_of(spec: Mapping[str, Any], status: Mapping[str, Any], *, host_ready: bool) -> Status:
    """Return the word for a Task; what comes first here counts.

    Args:
        spec: of the Task.
        status: of the Task.
        host_ready: whether the Host that it is bound to is Ready; no matter when it has none.
    """
    found = {item["type"]: item for item in status.get("conditions") or ()}
    if status.get("finishedAt"):
        succeeded = found.get(ConditionType.SUCCEEDED) or {}
        if succeeded.get("status") == TRUE:
            return Status.COMPLETED
        return _ENDS.get(succeeded.get("reason", ""), Status.FAILED)
    approval = spec.get("approval")
    if approval == "Pending":
        return Status.PENDING_APPROVAL
    if approval == "Rejected":
        return Status.REJECTED
    if not status.get("nodeName"):
        return Status.ASSIGNING
    if not host_ready:
        return Status.LOST
    if _holds(found.get(ConditionType.PAUSED)):
        return Status.PAUSED
    return Status.RUNNING if _holds(found.get(ConditionType.STARTED)) else Status.PENDING


def _holds(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition["status"] == TRUE


HIDDEN = "***"
"""In the place of a value that the caller may not see, or that the Task only refers to."""

_NO_EXIT_CODE = -1
_LABEL_DIGITS = 16  # what 53 bits need
_NEAR = dt.timedelta(seconds=5)

_STILLBORN = frozenset({Reason.IMAGE_PULL_FAILED, Reason.CREATE_FAILED, Reason.SECRET_NOT_READABLE})
"""Why a Task that could still start does not, as far as a person has to know."""


class TaskWorkload:
    """Tasks, as the index of all workloads reads them."""

    kind = TASK

    def read(self, obj: Object) -> Reading:
        """Read a Task."""
        metadata, status = obj["metadata"], obj.get("status") or {}
        notes = metadata.get("annotations") or {}
        bound_to = None if status.get("finishedAt") else status.get("nodeName")
        cpu_millis = 0
        gpus: tuple[int, ...] = ()
        if bound_to:
            holding = holding_of(obj)
            gpus = holding.gpus
            cpu_millis = (
                1000 * len(holding.cpus) if holding.shared_millis is None else holding.shared_millis
            )
        return Reading(
            submitted_at(metadata),
            owner_of(metadata),
            user_id_of(notes.get(names.ANNOTATION_DECIDED_BY)),
            host_name_of(obj),
            bound_to,
            cpu_millis,
            gpus,
        )

    def status(self, obj: Object, *, host_ready: bool) -> StrEnum:
        """Return the word for a Task."""
        return status_of(obj["spec"], obj.get("status") or {}, host_ready=host_ready)

    def is_queued(self, obj: Object, status: StrEnum) -> bool:
        """Tell whether it waits for a host."""
        spec = obj["spec"]
        return (
            status is Status.ASSIGNING
            and not spec.get("suspend")
            and spec.get("desiredState") != "Killed"
        )

    def out(
        self, obj: Object, status: StrEnum, username_of: UsernameOf, *, secrets: bool
    ) -> Mapping[str, Any]:
        """Return the task object."""
        return task_out(obj, status, username_of, secrets=secrets)

    def has_secrets(self, obj: Object) -> bool:
        """Tell whether what is shown depends on who asks."""
        return has_secrets(obj)


def submitted_at(metadata: Mapping[str, Any]) -> str:
    """Return when a Task was submitted, as clients read it.

    The facade's own note counts if the API server's clock does not contradict it: only that says
    more than the second.
    """
    created: str = metadata["creationTimestamp"]
    noted = (metadata.get("annotations") or {}).get(names.ANNOTATION_SUBMITTED_AT)
    time = _time_noted(noted)
    if time is not None and abs(time - parse_time(created)) <= _NEAR:
        return wire_now(time)
    return wire_time(created)


def owner_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the owner label, or None."""
    return (metadata.get("labels") or {}).get(names.LABEL_OWNER)


def user_id_of(label: str | None) -> int | None:
    """Return the user id that a label or annotation holds, or None: it holds none."""
    if label and len(label) <= _LABEL_DIGITS and label.isascii() and label.isdigit():
        return int(label)
    return None


def host_name_of(task: Mapping[str, Any]) -> str | None:
    """Return the host that a Task is on, or else the one that it is meant for."""
    node: str | None = (task.get("status") or {}).get("nodeName")
    return node or (task["spec"].get("placement") or {}).get("hostName")


def task_out(
    task: Mapping[str, Any], status_word: StrEnum, username_of: UsernameOf, *, secrets: bool
) -> dict[str, Any]:
    """Return the task object of a Task.

    Args:
        task: the Task.
        status_word: its status.
        username_of: the name of the user of an id; None: there is none.
        secrets: whether values of the environment are shown.
    """
    metadata, spec, status = task["metadata"], task["spec"], task.get("status") or {}
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    number = str(ids.task_id(metadata["uid"]))
    request = request_of(task)
    found = {item["type"]: item for item in status.get("conditions") or ()}
    owner = user_id_of(labels.get(names.LABEL_OWNER))
    decider = user_id_of(notes.get(names.ANNOTATION_DECIDED_BY))
    decided = _time_noted(notes.get(names.ANNOTATION_DECIDED_AT))
    approval = _approval(spec, notes)
    gpus = status.get("gpus")
    return {
        "task_id": number,
        "task_type": "command",
        "batch_id": labels.get(names.LABEL_BATCH) or number,
        "name": notes.get(names.ANNOTATION_DISPLAY_NAME),
        "owner_id": owner,
        "owner_username": None if owner is None else username_of(owner),
        "approval_status": approval,
        "approved_by_id": decider,
        "approved_by_username": None if decider is None else username_of(decider),
        "approved_at": None if decided is None else wire_now(decided),
        "rejection_reason": (
            notes.get(names.ANNOTATION_DECISION_MESSAGE) if approval == "rejected" else None
        ),
        "command": text_of(spec.get("command"), spec.get("args")),
        "arguments": spec.get("args") or [],
        "env_vars": {item["name"]: _value(item, secrets) for item in spec.get("env") or ()},
        "required_cores": math.ceil(request.cpu_millis / 1000),
        "required_gpus": [gpu["index"] for gpu in gpus] if gpus else [*request.gpu_indices],
        "required_memory_bytes": request.memory_bytes or None,
        "target_numa_node_id": request.numa_node,
        "status": status_word.value,
        "assigned_node": status.get("nodeName") or request.host_name,
        "container_name": notes.get(names.ANNOTATION_ENVIRONMENT),
        "docker_image_name": spec["image"],
        "docker_privileged": bool(spec.get("privileged")),
        "docker_mount_dirs": [_mount(mount) for mount in spec.get("mounts") or ()],
        "ssh_port": None,
        "vps_backend": "docker",
        "vm_image": None,
        "vm_disk_size": None,
        "vm_ip": None,
        "stdout_path": f"/api/tasks/{number}/stdout",
        "stderr_path": f"/api/tasks/{number}/stderr",
        "exit_code": _exit_code(status, status_word),
        "error_message": _error(status, found),
        "submitted_at": submitted_at(metadata),
        "started_at": _time(status.get("startedAt")),
        "completed_at": _time(status.get("finishedAt")),
    }


def has_secrets(task: Mapping[str, Any]) -> bool:
    """Tell whether what is shown depends on who asks."""
    return any(item.get("value") for item in task["spec"].get("env") or ())


def _approval(spec: Mapping[str, Any], notes: Mapping[str, str]) -> str | None:
    match spec.get("approval"):
        case "Pending":
            return "pending"
        case "Rejected":
            return "rejected"
    # Approved is what every Task is that never needed it: only a decision makes it one.
    return "approved" if names.ANNOTATION_DECIDED_AT in notes else None


def _time(time: str | None) -> str | None:
    return wire_time(time) if time else None


def _time_noted(noted: str | None) -> dt.datetime | None:
    """Return a time of an annotation, in which anything may stand."""
    try:
        return parse_time(noted) if noted else None
    except InvalidTimeError:
        return None


def _value(item: Mapping[str, Any], secrets: bool) -> str:
    if item.get("valueFrom"):
        return HIDDEN
    value: str = item.get("value") or ""
    return value if secrets or not value else HIDDEN


def _mount(mount: Mapping[str, Any]) -> str:
    suffix = ":ro" if mount.get("readOnly") else ""
    return f"{mount['hostPath']}:{mount['mountPath']}{suffix}"


def _exit_code(status: Mapping[str, Any], status_word: StrEnum) -> int | None:
    code: int | None = status.get("exitCode")
    if code is None and status_word in (Status.FAILED, Status.LOST):
        return _NO_EXIT_CODE
    return code


def _error(status: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str | None:
    if status.get("finishedAt"):
        succeeded = found.get(ConditionType.SUCCEEDED) or {}
        if succeeded.get("status") == TRUE:
            return None
        return succeeded.get("message") or succeeded.get("reason")
    started = found.get(ConditionType.STARTED) or {}
    if started.get("status") == FALSE and started.get("reason") in _STILLBORN:
        return started.get("message") or started.get("reason")
    scheduled = found.get(ConditionType.SCHEDULED) or {}
    if scheduled.get("status") == FALSE and scheduled.get("reason") == Reason.UNSCHEDULABLE:
        return scheduled.get("message") or scheduled.get("reason")
    return None


def awaits_decision(task: Object) -> bool:
    """Tell whether somebody still has to approve or reject a Task."""
    finished = (task.get("status") or {}).get("finishedAt")
    return task["spec"].get("approval") == "Pending" and not finished
