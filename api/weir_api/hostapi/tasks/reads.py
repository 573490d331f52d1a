"""Looking at tasks: one by its id, and lists. All of it comes from memory."""

from aiohttp import web

from weir_api.access.capabilities import Capability, sees_secrets
from weir_api.access.identity import Role
from weir_api.hostapi.tasks import examples
from weir_api.hostapi.tasks.index import Selection, TaskIndex
from weir_api.hostapi.tasks.lookup import NOT_FOUND, TAG, find
from weir_api.hostapi.tasks.wire import Page, TaskId, TaskOut, TaskQuery
from weir_api.hostapi.tasks.words import Status
from weir_api.web.endpoint import Answer, Call, Endpoint
from weir_api.web.replies import raw_json

_COMMAND = "command"
_ROWS = Answer("The tasks, newest first.", list[TaskOut], example=[examples.TASK])
_NOTHING = b"[]"


class TaskReads:
    """Answers who asks about tasks."""

    def __init__(self, index: TaskIndex) -> None:
        """Answer from the index."""
        self._index = index

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return what it serves."""
        return (
            Endpoint(
                "GET",
                "/status/{task_id}",
                self.status,
                Capability.READ_TASK,
                "One task",
                TAG,
                {200: Answer("The task.", TaskOut, example=examples.TASK)},
                errors=NOT_FOUND,
                params={"task_id": TaskId},
            ),
            Endpoint(
                "GET",
                "/tasks",
                self.tasks,
                Capability.LIST_TASKS,
                "Tasks that the caller may see",
                TAG,
                {200: _ROWS},
                query=TaskQuery,
                description="Who has the role `user` sees its own.",
            ),
            Endpoint(
                "GET",
                "/tasks/my",
                self.mine,
                Capability.LIST_OWN_TASKS,
                "The caller's own tasks",
                TAG,
                {200: _ROWS},
                query=TaskQuery,
            ),
            Endpoint(
                "GET",
                "/tasks/pending-approval",
                self.pending_approval,
                Capability.DECIDE_APPROVAL,
                "Tasks that wait for a decision",
                TAG,
                {200: _ROWS},
                query=Page,
            ),
        )

    async def status(self, call: Call) -> web.Response:
        """Answer with one task."""
        entry = find(self._index, call, Capability.READ_TASK)
        secrets = sees_secrets(call.identity, entry.owner)
        return raw_json(self._index.row(entry, secrets=secrets))

    async def tasks(self, call: Call) -> web.Response:
        """Answer with the tasks that the caller may see."""
        identity = call.identity
        owner = identity.owner if identity.role is Role.USER else None
        return self._list(call, owner)

    async def mine(self, call: Call) -> web.Response:
        """Answer with the caller's own tasks; a pseudo user has none."""
        owner = call.identity.owner
        return raw_json(_NOTHING) if owner is None else self._list(call, owner)

    async def pending_approval(self, call: Call) -> web.Response:
        """Answer with the tasks that wait for a decision."""
        wanted = Selection(status=Status.PENDING_APPROVAL)
        return raw_json(self._index.rows(wanted, call.query.limit, call.query.offset, secrets=True))

    def _list(self, call: Call, owner: str | None) -> web.Response:
        query: TaskQuery = call.query
        if query.task_type and query.task_type != _COMMAND:
            return raw_json(_NOTHING)
        return raw_json(
            self._index.rows(
                # Clients send an empty filter for none.
                Selection(query.status or None, query.node or None, owner),
                query.limit,
                query.offset,
                secrets=sees_secrets(call.identity, owner),
            )
        )
