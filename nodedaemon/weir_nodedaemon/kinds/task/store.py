"""The Tasks bound to this host, kept small: of thousands that have ended little is needed."""

import sys
from collections.abc import Mapping
from typing import Any

from weir_kube.reflector import selection
from weir_kube.store import Object
from weir_nodedaemon.instances.kind import InstanceStore

_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation")
_SPEC = ("image", "desiredState", "stopGraceSeconds")
_STATUS = ("nodeName", "runID", "startedAt", "finishedAt", "exitCode")
_CONDITION = ("type", "status", "reason")


class TaskStore(InstanceStore):
    """Tasks by key, by uid, and those whose end is not reported yet.

    Of an ended Task it keeps what clean-up and log readers need; its status is final and is not
    written again. Of the others it leaves out what only the API server needs.
    """

    def __init__(self, host_name: str) -> None:
        """Hold the Tasks that are bound to this host."""
        super().__init__(
            accepts=selection(f"status.nodeName={host_name}"),
            is_active=lambda task: not has_ended(task),
            trim=trimmed,
        )


def has_ended(task: Mapping[str, Any]) -> bool:
    """Tell whether the end of a Task is reported."""
    return bool((task.get("status") or {}).get("finishedAt"))


def trimmed(task: Object) -> Object:
    """Return a Task without what the daemon does not need."""
    if not has_ended(task):
        metadata = {name: v for name, v in task["metadata"].items() if name != "managedFields"}
        return {**task, "metadata": metadata}
    status = _only(task["status"], _STATUS)
    status["conditions"] = [
        {name: sys.intern(condition[name]) for name in _CONDITION}
        for condition in task["status"].get("conditions") or ()
    ]
    return {
        "metadata": _only(task["metadata"], _METADATA),
        "spec": _only(task["spec"], _SPEC),
        "status": status,
    }


def _only(values: Mapping[str, Any], names: tuple[str, ...]) -> Object:
    return {name: values[name] for name in names if name in values}
