"""``POST /submit``: Tasks are made, and the queue finds their hosts."""

import datetime as dt
import re
from collections.abc import Sequence

from weir_api.access.capabilities import Capability
from weir_api.errors import InvalidRequestError, NowhereError, UnavailableError
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks import examples
from weir_api.hostapi.tasks.admission import Wanted, wanted_of
from weir_api.hostapi.tasks.body import TaskDefaults, draft_of
from weir_api.hostapi.tasks.convert import node_of
from weir_api.hostapi.tasks.index import TaskIndex
from weir_api.hostapi.tasks.lookup import TAG
from weir_api.hostapi.tasks.making import Batch, Outcome, TaskMaker
from weir_api.hostapi.tasks.wire import PartlySubmitted, SubmitRequest, Submitted
from weir_api.state.writer import Writer
from weir_api.web.endpoint import Answer, Call, Json, endpoint
from weir_crds import conditions
from weir_crds.conditions import FALSE, ConditionType
from weir_crds.errors import WeirError
from weir_crds.ids import task_id
from weir_kube.errors import ApiError
from weir_kube.store import Object, key_of

KEY_HEADER = "Idempotency-Key"

_BIND_SECONDS = 2.0
"""How long an answer waits for the queue to choose a host."""

_KEY = re.compile(r"[!-~]{1,255}")


class TaskSubmit:
    """Takes submissions."""

    def __init__(
        self, index: TaskIndex, hosts: KnownHosts, writer: Writer, defaults: TaskDefaults
    ) -> None:
        """Make Tasks with ``writer``; what a submission leaves open is in ``defaults``."""
        self._index = index
        self._hosts = hosts
        self._maker = TaskMaker(index, hosts, writer)
        self._defaults = defaults

    @endpoint(
        "POST",
        "/api/submit",
        Capability.SUBMIT,
        "Submit a command",
        tag=TAG,
        answers={
            202: Answer(
                "Taken. With `failed_targets`: as far as it could be.",
                Submitted | PartlySubmitted,
                example=examples.SUBMITTED,
            )
        },
        errors={
            400: "It contradicts itself, or asks for what there cannot be.",
            403: "The cluster's policy does not let such tasks in.",
            503: "No host can ever run it, or the API server cannot be reached.",
        },
        body=Json(SubmitRequest, example=examples.SUBMIT),
        headers={
            KEY_HEADER: {
                "type": "string",
                "pattern": "^[!-~]{1,255}$",
                "description": "Any text, chosen by the client: sent again with the same,"
                " a request makes nothing new and gets the same ids.",
            }
        },
        description="A submission that fits somewhere, but not now, waits for its turn."
        " Several targets make several tasks, of which some may fail. A user's tasks wait"
        " for an approval.",
    )
    async def submit(self, call: Call) -> Object:
        """Make the Tasks of a submission."""
        request: SubmitRequest = call.body
        wanted = wanted_of(request)
        identity = call.identity
        draft = draft_of(request, identity, self._defaults, dt.datetime.now(dt.UTC))
        key = _key(call.request.headers.get(KEY_HEADER))
        batch = Batch(draft, self._defaults.namespace, identity.owner, key)
        outcomes = await self._maker.make(batch, wanted)
        made = [outcome for outcome in outcomes if not isinstance(outcome, WeirError)]
        if not made:
            raise _refusal(wanted, outcomes)
        ids = [str(task_id(obj["metadata"]["uid"])) for obj in made]
        if len(made) < len(wanted):
            return {
                "message": f"{len(made)} of {len(wanted)} tasks submitted",
                "task_ids": ids,
                "failed_targets": [
                    {"target": one.text, "reason": str(outcome)}
                    for one, outcome in zip(wanted, outcomes, strict=True)
                    if isinstance(outcome, WeirError)
                ],
            }
        pending = draft.spec.get("approval") == "Pending"
        host = await self._host_of(made[-1], wait=not pending and wanted[-1].target is None)
        return {
            "message": f"{len(ids)} task{'s' * (len(ids) > 1)} submitted",
            "task_ids": ids,
            "assigned_node": host,
            "runner_response": {"status": "pending_approval"} if pending else True,
        }

    async def _host_of(self, task: Object, *, wait: bool) -> dict[str, str]:
        """Return the host of a new Task, as far as it is known.

        It waits for the queue only while nothing else is queued: behind others, the Task is not
        placed at once.
        """
        node = node_of(task)
        if node is None and wait and self._index.queued <= 1:
            seen = await self._index.until(key_of(task), _is_decided, _BIND_SECONDS)
            node = None if seen is None else node_of(seen)
        if node is None:
            return {"hostname": "", "url": ""}
        host = self._hosts.get(node)
        return {"hostname": node, "url": "" if host is None else host.url}


def _is_decided(task: Object) -> bool:
    """Tell whether the queue has placed a Task, or said that it does not."""
    status = task.get("status") or {}
    scheduled = conditions.of(task, ConditionType.SCHEDULED)
    waits = scheduled is not None and scheduled["status"] == FALSE
    return bool(status.get("nodeName") or status.get("finishedAt") or waits)


def _key(given: str | None) -> str | None:
    if given is None or _KEY.fullmatch(given):
        return given
    fault = {
        "type": "string_pattern_mismatch",
        "loc": ["header", KEY_HEADER],
        "msg": "up to 255 visible ASCII characters",
        "input": given[:300],
    }
    raise InvalidRequestError([fault])


def _refusal(wanted: Sequence[Wanted], outcomes: Sequence[Outcome]) -> WeirError:
    """Return what to say when no target got its Task."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, WeirError)]
    for error in errors:
        if isinstance(error, ApiError | UnavailableError):
            return error
    if len(errors) == 1 and wanted[0].target is None and wanted[0].refused is None:
        return errors[0]
    parts = [f"{one.text!r}: {error}" for one, error in zip(wanted, errors, strict=True)]
    return NowhereError(f"no target could take it: {'; '.join(parts)[:4000]}")
