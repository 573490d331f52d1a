"""Decisions on tasks that need one: each is made once, whoever else decides at the same time."""

import datetime as dt

from weir_api.access.capabilities import Capability
from weir_api.access.identity import Identity
from weir_api.errors import StateConflictError, UnknownObjectError
from weir_api.hostapi.tasks import examples
from weir_api.hostapi.tasks.entries import Entry
from weir_api.hostapi.tasks.index import TaskIndex
from weir_api.hostapi.tasks.lookup import NOT_FOUND, TAG, find
from weir_api.hostapi.tasks.wire import Approved, Rejected, RejectQuery, TaskId
from weir_api.state.writer import Writer
from weir_api.web.endpoint import Answer, Call, endpoint
from weir_crds import names
from weir_crds.kinds import TASK
from weir_crds.times import now_rfc3339
from weir_kube.errors import NotFoundError
from weir_kube.store import Object

# What comes between is another write to the Task: its queue's word, at most every 30 seconds.

_ERRORS = {**NOT_FOUND, 409: "It does not wait for a decision."}


class TaskApproval:
    """Approves and rejects."""

    def __init__(self, index: TaskIndex, writer: Writer) -> None:
        """Find Tasks in the index and write with ``writer``."""
        self._index = index
        self._writer = writer

    @endpoint(
        "POST",
        "/api/approve/{task_id}",
        Capability.DECIDE_APPROVAL,
        "Approve a task",
        tag=TAG,
        answers={200: Answer("It is queued.", Approved, example=examples.APPROVED)},
        errors=_ERRORS,
        params={"task_id": TaskId},
        description="The queue chooses the host, unless the task was submitted for one.",
    )
    async def approve(self, call: Call) -> Object:
        """Let a Task go on."""
        entry = find(self._index, call, Capability.DECIDE_APPROVAL)
        await self._decide(entry, "Approved", call.identity, None)
        return {"message": "task approved", "task_id": str(entry.id)}

    @endpoint(
        "POST",
        "/api/reject/{task_id}",
        Capability.DECIDE_APPROVAL,
        "Reject a task",
        tag=TAG,
        answers={200: Answer("It has ended.", Rejected, example=examples.REJECTED)},
        errors=_ERRORS,
        query=RejectQuery,
        params={"task_id": TaskId},
    )
    async def reject(self, call: Call) -> Object:
        """End a Task before it begins."""
        entry = find(self._index, call, Capability.DECIDE_APPROVAL)
        reason: str | None = call.query.reason
        await self._decide(entry, "Rejected", call.identity, reason)
        return {"message": "task rejected", "task_id": str(entry.id), "reason": reason}

    async def _decide(
        self, entry: Entry, decision: str, decider: Identity, reason: str | None
    ) -> None:
        annotations = {names.ANNOTATION_DECIDED_AT: now_rfc3339(dt.datetime.now(dt.UTC))}
        if decider.owner is not None:
            annotations[names.ANNOTATION_DECIDED_BY] = decider.owner
        if reason:
            annotations[names.ANNOTATION_DECISION_MESSAGE] = reason
        patch = {"metadata": {"annotations": annotations}, "spec": {"approval": decision}}

        def decide(task: Object) -> Object:
            if not _awaits_decision(task):
                raise StateConflictError("the task does not wait for a decision")
            return patch

        try:
            await self._writer.update(TASK, entry.obj, decide)
        except NotFoundError:
            raise UnknownObjectError(f"there is no task {entry.id}") from None


def _awaits_decision(obj: Object) -> bool:
    finished = (obj.get("status") or {}).get("finishedAt")
    return obj["spec"].get("approval") == "Pending" and not finished
