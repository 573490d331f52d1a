"""Looking at tasks: one by its id, and lists. All of it comes from memory."""

from weir_api.access.capabilities import Capability, sees_secrets
from weir_api.access.identity import Role
from weir_api.hostapi.tasks.wire import (
    NOT_FOUND,
    TAG,
    TASK_EXAMPLE,
    Page,
    Status,
    TaskId,
    TaskOut,
    TaskQuery,
)
from weir_api.hostapi.workloads import Selection, WorkloadIndex
from weir_api.web.dialect import Encoded
from weir_api.web.endpoint import Answer, Call, endpoint
from weir_crds.kinds import TASK

_COMMAND = "command"
_ROWS = Answer("The tasks, newest first.", list[TaskOut], example=[TASK_EXAMPLE])
_NOTHING = b"[]"


class TaskReads:
    """Answers who asks about tasks."""

    def __init__(self, index: WorkloadIndex) -> None:
        """Answer from the index."""
        self._index = index

    @endpoint(
        "GET",
        "/api/status/{task_id}",
        Capability.READ_TASK,
        "One task",
        tag=TAG,
        answers={200: Answer("The task.", TaskOut, example=TASK_EXAMPLE)},
        errors=NOT_FOUND,
        params={"task_id": TaskId},
    )
    async def status(self, call: Call) -> Encoded:
        """Answer with one task."""
        entry = await self._index.find(
            call.path["task_id"], TASK, call.identity, Capability.READ_TASK
        )
        secrets = sees_secrets(call.identity, entry.owner)
        return Encoded(self._index.row(entry, secrets=secrets))

    @endpoint(
        "GET",
        "/api/tasks",
        Capability.LIST_TASKS,
        "Tasks that the caller may see",
        tag=TAG,
        answers={200: _ROWS},
        query=TaskQuery,
        description="Who has the role `user` sees its own.",
    )
    async def tasks(self, call: Call) -> Encoded:
        """Answer with the tasks that the caller may see."""
        identity = call.identity
        owner = identity.owner if identity.role is Role.USER else None
        return self._list(call, owner)

    @endpoint(
        "GET",
        "/api/tasks/my",
        Capability.LIST_OWN_TASKS,
        "The caller's own tasks",
        tag=TAG,
        answers={200: _ROWS},
        query=TaskQuery,
    )
    async def mine(self, call: Call) -> Encoded:
        """Answer with the caller's own tasks; a pseudo user has none."""
        owner = call.identity.owner
        return Encoded(_NOTHING) if owner is None else self._list(call, owner)

    @endpoint(
        "GET",
        "/api/tasks/pending-approval",
        Capability.DECIDE_APPROVAL,
        "Tasks that wait for a decision",
        tag=TAG,
        answers={200: _ROWS},
        query=Page,
    )
    async def pending_approval(self, call: Call) -> Encoded:
        """Answer with the tasks that wait for a decision."""
        wanted = Selection(status=Status.PENDING_APPROVAL)
        return Encoded(self._index.rows(wanted, call.query.limit, call.query.offset, secrets=True))

    def _list(self, call: Call, owner: str | None) -> Encoded:
        query: TaskQuery = call.query
        if query.task_type and query.task_type != _COMMAND:
            return Encoded(_NOTHING)
        return Encoded(
            self._index.rows(
                # Clients send an empty filter for none.
                Selection(query.status or None, query.node or None, owner),
                query.limit,
                query.offset,
                secrets=sees_secrets(call.identity, owner),
            )
        )
