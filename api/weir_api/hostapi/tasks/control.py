"""Kill, pause, resume, delete: each changes what is desired of a Task; its host does the rest."""

from typing import Any

from weir_api.access.capabilities import Capability
from weir_api.errors import BadRequestError, StateConflictError
from weir_api.hostapi.entries import Entry
from weir_api.hostapi.tasks.wire import NOT_FOUND, TAG, Status, TaskId
from weir_api.hostapi.wire import MessageOut
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state.writer import Action, Writer
from weir_api.web.endpoint import Answer, Call, endpoint
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.kinds import TASK
from weir_kube.errors import InvalidObjectError
from weir_kube.store import Object

_SEEN_SECONDS = 2.0
"""How long an answer waits for the host to have done it."""

_KILLABLE = frozenset(
    {Status.ASSIGNING, Status.PENDING, Status.RUNNING, Status.PAUSED, Status.LOST}
)
_KILLED = {202: Answer("It ends.", MessageOut, example={"message": "task is being killed"})}
_NOT_KILLABLE = {**NOT_FOUND, 409: "It has ended, or waits for a decision."}
_KILL = "It may end of itself first. Of a lost host's task the wish is kept until the host is back."
_DONE = Answer("It is done, or is about to be.", MessageOut, example={"message": "task paused"})

_KILLING = Action("Kill", "KillRequested", "kill requested")
_PAUSING = Action("Pause", "PauseRequested", "pause requested")
_RESUMING = Action("Resume", "ResumeRequested", "resume requested")
_DELETING = Action("Delete", "Deleted", "deleted")


class TaskControl:
    """Changes what is desired of Tasks."""

    def __init__(self, index: WorkloadIndex, writer: Writer) -> None:
        """Find Tasks in the index and write with ``writer``."""
        self._index = index
        self._writer = writer

    @endpoint(
        "POST",
        "/api/kill/{task_id}",
        Capability.CONTROL_TASK,
        "Kill a task",
        tag=TAG,
        answers=_KILLED,
        errors=_NOT_KILLABLE,
        params={"task_id": TaskId},
        description=_KILL,
    )
    @endpoint(
        "POST",
        "/api/tasks/{task_id}/kill",
        Capability.CONTROL_TASK,
        "Kill a task",
        tag=TAG,
        answers=_KILLED,
        errors=_NOT_KILLABLE,
        params={"task_id": TaskId},
        description=_KILL,
        alias_of="/api/kill/{task_id}",
    )
    async def kill(self, call: Call) -> Object:
        """Have a Task end; saying it again is no error while it ends."""
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.CONTROL_TASK
        )
        if entry.status not in _KILLABLE or _has_ended(entry.obj):
            raise StateConflictError(f"a task that is {entry.status} cannot be killed")
        await self._desire(entry, "Killed", _KILLING)
        return {"message": "task is being killed"}

    @endpoint(
        "POST",
        "/api/command/{task_id}/{command}",
        Capability.CONTROL_TASK,
        "Pause or resume a task",
        tag=TAG,
        answers={200: _DONE},
        errors={
            **NOT_FOUND,
            400: "There is no such command, or the task is not in a state for it.",
        },
        params={"task_id": TaskId},
        description="`pause` a running task, `resume` a paused one.",
    )
    async def command(self, call: Call) -> Object:
        """Pause or resume a Task, and wait a moment for its host to do it."""
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.CONTROL_TASK
        )
        match call.path["command"]:
            case "pause":
                fitting, desired, done = Status.RUNNING, "Paused", "task paused"
                action = _PAUSING
            case "resume":
                fitting, desired, done = Status.PAUSED, "Running", "task resumed"
                action = _RESUMING
            case _:
                raise BadRequestError("a task can be told to pause or to resume")
        if entry.status is not fitting or _is_killed(entry.obj):
            raise BadRequestError(f"that cannot be done to a task that is {_state(entry)}")
        try:
            await self._desire(entry, desired, action)
        except InvalidObjectError as exc:  # it has been killed since we looked
            raise BadRequestError("that cannot be done to the task any more") from exc
        wanted = desired == "Paused"

        def is_done(obj: Object) -> bool:
            return conditions.is_true(obj, ConditionType.PAUSED) is wanted or _has_ended(obj)

        seen = await self._index.until(TASK, entry.key, is_done, _SEEN_SECONDS)
        if seen is None or not is_done(seen):
            done = f"the host is told; {done} as soon as it has done it"
        return {"message": done}

    @endpoint(
        "DELETE",
        "/api/tasks/{task_id}",
        Capability.CONTROL_TASK,
        "Delete a task that has ended, and its output, or withdraw one that waits for an approval",
        tag=TAG,
        answers={200: Answer("It is gone.", MessageOut, example={"message": "task deleted"})},
        errors={**NOT_FOUND, 409: "It has not ended: kill it first."},
        params={"task_id": TaskId},
    )
    async def delete(self, call: Call) -> Object:
        """Delete a Task that has ended."""
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.CONTROL_TASK
        )
        if not _has_ended(entry.obj) and entry.status is not Status.PENDING_APPROVAL:
            raise StateConflictError(f"a task that is {_state(entry)} cannot be deleted")
        # Unless it has been decided on since: then it may run.
        unchanged = entry.status is Status.PENDING_APPROVAL
        await self._writer.delete(TASK, entry.obj, unchanged=unchanged, action=_DELETING)
        return {"message": "task deleted"}

    async def _desire(self, entry: Entry, state: str, action: Action) -> None:
        if entry.obj["spec"].get("desiredState", "Running") == state:
            return
        patch: dict[str, Any] = {"spec": {"desiredState": state}}
        await self._writer.patch(TASK, entry.obj, patch, action=action)


def _has_ended(obj: Object) -> bool:
    return bool((obj.get("status") or {}).get("finishedAt"))


def _is_killed(obj: Object) -> bool:
    return bool(obj["spec"].get("desiredState") == "Killed")


def _state(entry: Entry) -> str:
    return "being killed" if _is_killed(entry.obj) else str(entry.status)
