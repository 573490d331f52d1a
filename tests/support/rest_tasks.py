"""Builders for Tasks and Users as the facade reads them."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from weir_crds import ids, names

TIME = "2026-11-22T10:00:00.123456Z"
WIRE_TIME = "2026-11-22T10:00:00.123456+00:00"


def uid_of(name: str) -> str:
    """Return the uid that an object of this name has."""
    return str(uuid5(NAMESPACE_URL, name))


def id_of(name: str) -> int:
    """Return the id of the Task of this name."""
    return ids.task_id(uid_of(name))


def made_task(
    name: str = "t1",
    *,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    owner: int | str | None = None,
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    created: str = "2026-11-22T10:00:00Z",
    version: int = 1,
    namespace: str = "weir",
) -> dict[str, Any]:
    """Return a Task; what is not given is as the API server would have it."""
    labels = dict(labels or {})
    if owner is not None:
        labels[names.LABEL_OWNER] = str(owner)
    full_spec = {
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "5"],
        "resources": {"cpu": 1},
        "desiredState": "Running",
        "approval": "Approved",
        **(spec or {}),
    }
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Task",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid_of(name),
            "resourceVersion": str(version),
            "creationTimestamp": created,
            "labels": labels,
            "annotations": annotations or {},
        },
        "spec": full_spec,
        "status": status or {},
    }


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    """Return one condition."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": TIME,
    }


def running(node: str = "n1", **fields: Any) -> dict[str, Any]:
    """Return the status of a Task that runs."""
    return {
        "nodeName": node,
        "runID": 1,
        "cpus": [0],
        "startedAt": TIME,
        "conditions": [
            condition("Scheduled", "True", "Bound", f"{node}, core 0 (NUMA 0)"),
            condition("Started", "True", "ContainerStarted"),
        ],
        **fields,
    }


def ended(reason: str = "Completed", message: str = "", **fields: Any) -> dict[str, Any]:
    """Return the status of a Task that has ended."""
    status = "True" if reason == "Completed" else "False"
    base = running()
    conditions = [*base["conditions"], condition("Succeeded", status, reason, message)]
    return {**base, "finishedAt": TIME, "conditions": conditions, **fields}


def made_user(
    name: str, *, role: str = "user", username: str | None = None, version: int = 1
) -> dict[str, Any]:
    """Return a User."""
    spec: dict[str, Any] = {"displayName": name, "role": role, "active": True}
    if username is not None:
        spec["username"] = username
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "User",
        "metadata": {
            "name": name,
            "uid": uid_of(name),
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-22T09:00:00Z",
        },
        "spec": spec,
    }
