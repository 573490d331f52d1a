"""Decisions on tasks that need one: each is made once, whoever else decides at the same time."""

import asyncio
import datetime as dt
import logging

from weir_api.access.capabilities import Capability
from weir_api.errors import StateConflictError, UnknownObjectError
from weir_api.hostapi.entries import Entry
from weir_api.hostapi.tasks.view import awaits_decision
from weir_api.hostapi.tasks.wire import (
    APPROVED_EXAMPLE,
    NOT_FOUND,
    REJECTED_EXAMPLE,
    TAG,
    Approved,
    Rejected,
    RejectQuery,
    Status,
    TaskId,
)
from weir_api.hostapi.workloads import Selection, WorkloadIndex
from weir_api.state.writer import Action, Writer
from weir_api.web.endpoint import Answer, Call, endpoint
from weir_crds import names
from weir_crds.errors import WeirError
from weir_crds.kinds import TASK
from weir_crds.times import now_rfc3339, parse_time
from weir_kube.errors import NotFoundError
from weir_kube.store import Object

logger = logging.getLogger(__name__)

_EXPIRY_SECONDS = 300.0

_ACTIONS = {"Approved": "Approve", "Rejected": "Reject"}

_ERRORS = {**NOT_FOUND, 409: "It does not wait for a decision."}


class TaskApproval:
    """Approves and rejects."""

    def __init__(self, index: WorkloadIndex, writer: Writer) -> None:
        """Find Tasks in the index and write with ``writer``."""
        self._index = index
        self._decisions = Decisions(writer)

    @endpoint(
        "POST",
        "/api/approve/{task_id}",
        Capability.DECIDE_APPROVAL,
        "Approve a task",
        tag=TAG,
        answers={200: Answer("It is queued.", Approved, example=APPROVED_EXAMPLE)},
        errors=_ERRORS,
        params={"task_id": TaskId},
        description="The queue chooses the host, unless the task was submitted for one.",
    )
    async def approve(self, call: Call) -> Object:
        """Let a Task go on."""
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.DECIDE_APPROVAL
        )
        await self._decisions.decide(entry, "Approved", call.identity.owner, None)
        return {"message": "task approved", "task_id": str(entry.id)}

    @endpoint(
        "POST",
        "/api/reject/{task_id}",
        Capability.DECIDE_APPROVAL,
        "Reject a task",
        tag=TAG,
        answers={200: Answer("It has ended.", Rejected, example=REJECTED_EXAMPLE)},
        errors=_ERRORS,
        query=RejectQuery,
        params={"task_id": TaskId},
    )
    async def reject(self, call: Call) -> Object:
        """End a Task before it begins."""
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.DECIDE_APPROVAL
        )
        reason: str | None = call.query.reason
        await self._decisions.decide(entry, "Rejected", call.identity.owner, reason)
        return {"message": "task rejected", "task_id": str(entry.id), "reason": reason}


class Decisions:
    """Decides on Tasks, each once."""

    def __init__(self, writer: Writer) -> None:
        """Write with ``writer``."""
        self._writer = writer

    async def decide(
        self, entry: Entry, decision: str, decider: str | None, reason: str | None
    ) -> None:
        """Approve or reject a Task.

        Args:
            entry: the Task.
            decision: ``Approved`` or ``Rejected``.
            decider: owner label of the user who does; None: nobody that has an account.
            reason: for its owner.

        Raises:
            UnknownObjectError: it is gone.
            StateConflictError: it does not wait for a decision, or changes too fast.
        """
        annotations = {names.ANNOTATION_DECIDED_AT: now_rfc3339(dt.datetime.now(dt.UTC))}
        if decider is not None:
            annotations[names.ANNOTATION_DECIDED_BY] = decider
        if reason:
            annotations[names.ANNOTATION_DECISION_MESSAGE] = reason
        patch = {"metadata": {"annotations": annotations}, "spec": {"approval": decision}}

        def decide(task: Object) -> Object:
            if not awaits_decision(task):
                raise StateConflictError("the task does not wait for a decision")
            return patch

        try:
            action = Action(_ACTIONS[decision], decision, decision.lower(), reason or "")
            await self._writer.update(TASK, entry.obj, decide, action=action)
        except NotFoundError:
            raise UnknownObjectError(f"there is no task {entry.id}") from None


class PendingExpiry:
    """Rejects Tasks on which nobody has decided for long: they would stay for ever."""

    def __init__(self, index: WorkloadIndex, writer: Writer, after: dt.timedelta) -> None:
        """Reject what waits for longer than ``after``."""
        self._index = index
        self._decisions = Decisions(writer)
        self._after = after

    async def run(self) -> None:
        """Look every few minutes, until cancelled."""
        while True:
            await self.expire(dt.datetime.now(dt.UTC))
            await asyncio.sleep(_EXPIRY_SECONDS)

    async def expire(self, now: dt.datetime) -> None:
        """Reject what has waited for too long at ``now``; safe on all replicas at once."""
        waiting = Selection(status=Status.PENDING_APPROVAL, kind=TASK)
        for entry in self._index.page(waiting, limit=len(self._index)):
            if parse_time(entry.obj["metadata"]["creationTimestamp"]) + self._after > now:
                continue
            reason = f"nobody decided within {self._after.days} days"
            try:
                await self._decisions.decide(entry, "Rejected", None, reason)
            except WeirError as exc:
                logger.info("not expired task=%s: %s", entry.key, exc)
            else:
                logger.info("expired task=%s", entry.key)
