"""From the id in a path to a Task that the caller may touch."""

from weir_api.access.capabilities import Capability, may_touch
from weir_api.errors import AccessDeniedError, UnknownObjectError
from weir_api.hostapi.tasks.entries import Entry
from weir_api.hostapi.tasks.index import TaskIndex
from weir_api.web.endpoint import Call

TAG = "Tasks"
NOT_FOUND = {404: "There is no such task."}


def find(index: TaskIndex, call: Call, capability: Capability) -> Entry:
    """Return the Task that a call is about.

    Raises:
        UnknownObjectError: there is none of that id.
        AccessDeniedError: the caller may do that to its own Tasks only.
    """
    number = call.path["task_id"]
    entry = index.get(number)
    if entry is None:
        raise UnknownObjectError(f"there is no task {number}")
    if not may_touch(call.identity, capability, entry.owner):
        raise AccessDeniedError("that is not your task")
    return entry
