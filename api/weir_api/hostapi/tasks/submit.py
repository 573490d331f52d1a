"""``POST /submit``: each Task is made once, whatever is tried again; the queue finds its host."""

import asyncio
import datetime as dt
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from weir_api.access.capabilities import Capability
from weir_api.errors import (
    AccessDeniedError,
    InvalidRequestError,
    NowhereError,
    StateConflictError,
    UnavailableError,
    shown_error,
)
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.request import (
    Draft,
    TaskDefaults,
    Wanted,
    admit,
    draft_of,
    keyed_name,
    refuse_too_much,
    size_of,
    wanted_of,
)
from weir_api.hostapi.tasks.view import awaits_decision, host_name_of
from weir_api.hostapi.tasks.wire import (
    SUBMIT_EXAMPLE,
    SUBMITTED_EXAMPLE,
    TAG,
    PartlySubmitted,
    Status,
    SubmitRequest,
    Submitted,
    place_of,
)
from weir_api.hostapi.workloads import Selection, WorkloadIndex
from weir_api.state.writer import Writer
from weir_api.web.endpoint import Answer, Call, Json, endpoint
from weir_crds import conditions, names
from weir_crds.conditions import FALSE, ConditionType
from weir_crds.errors import WeirError
from weir_crds.ids import task_id
from weir_crds.kinds import TASK
from weir_kube.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    ForbiddenError,
    InvalidObjectError,
    NotFoundError,
)
from weir_kube.store import Key, Object, key_of

KEY_HEADER = "Idempotency-Key"

_BIND_SECONDS = 2.0
"""How long an answer waits for the queue to choose a host."""

_MOST_PENDING_BYTES = 4 * 2**20
"""How much of an owner's may wait for an approval together."""

_KEY = re.compile(r"[!-~]{1,255}")
_AT_ONCE = 8
# A connection that broke is no reason to fail: the name makes trying again harmless.
_TRY_AGAIN_SECONDS = 4.0
_DENIED = "denied request: "

# What is wrong with a submission as a whole.
_OF_ALL = (InvalidRequestError, AccessDeniedError)

Outcome = Object | WeirError


@dataclass(frozen=True, slots=True)
class Batch:
    """What a submission makes, and by which names."""

    draft: Draft
    namespace: str
    owner: str | None
    key: str | None
    """The Idempotency-Key; None: each request is its own."""
    _chosen: dict[int, str] = field(default_factory=dict, compare=False)

    def name(self, place: int) -> str:
        """Return the name of the Task in that place."""
        if self.key is not None:
            return keyed_name(self.owner, self.key, place)
        return self._chosen.setdefault(place, f"task-{secrets.token_hex(8)}")


class TaskMaker:
    """Makes Tasks."""

    def __init__(self, index: WorkloadIndex, hosts: KnownHosts, writer: Writer) -> None:
        """Look Tasks and Hosts up in memory and write with ``writer``."""
        self._index = index
        self._hosts = hosts
        self._writer = writer

    async def make(self, batch: Batch, wanted: Sequence[Wanted]) -> list[Outcome]:
        """Make all Tasks of a submission, as far as they can be.

        Returns:
            For each that is wanted the Task, or why there is none.

        Raises:
            InvalidRequestError: the key was used before, for another request.
            AccessDeniedError: the cluster's policy refuses such Tasks.
        """
        outcomes: list[Outcome] = []
        batch_id: int | None = None
        for place, one in enumerate(wanted):  # the first that is made gives the batch its id
            outcome = await self._attempt(batch, place, one, None)
            if isinstance(outcome, _OF_ALL):
                raise outcome
            outcomes.append(outcome)
            if not isinstance(outcome, WeirError):
                batch_id = task_id(outcome["metadata"]["uid"])
                break
        gate = asyncio.Semaphore(_AT_ONCE)

        async def attempt(place: int) -> Outcome:
            async with gate:
                return await self._attempt(batch, place, wanted[place], batch_id)

        # None raises, so none is left behind by another's failure.
        outcomes += await asyncio.gather(*map(attempt, range(len(outcomes), len(wanted))))
        for outcome in outcomes:
            if isinstance(outcome, _OF_ALL):
                raise outcome
        return outcomes

    async def _attempt(
        self, batch: Batch, place: int, wanted: Wanted, batch_id: int | None
    ) -> Outcome:
        try:
            return await self._one(batch, place, wanted, batch_id)
        except ForbiddenError as exc:
            # Every Task of the submission asks for it, so none of them may be.
            if _DENIED not in exc.message:
                return exc
            words = exc.message.partition(_DENIED)[2]
            return AccessDeniedError(f"the cluster's policy refuses it: {words}")
        except WeirError as exc:
            return exc

    async def _one(self, batch: Batch, place: int, wanted: Wanted, batch_id: int | None) -> Object:
        name = batch.name(place)
        key = Key(batch.namespace, name)
        if batch.key is not None:
            # What a first try made is the answer to the second, whatever has happened since.
            known = self._index.of_key(TASK, key)
            if known is not None:
                return _same(batch, known.obj)
        draft = admit(batch.draft, wanted, self._hosts).in_batch(batch_id)
        body = draft.body(name, dt.datetime.now(dt.UTC))
        began = time.monotonic()
        while True:
            try:
                return await self._writer.create(TASK, body, batch.namespace)
            except AlreadyExistsError:
                made = await self._writer.fresh(TASK, key)
                if made is None:
                    raise StateConflictError("the task has just been deleted") from None
                return _same(batch, made)
            except InvalidObjectError as exc:
                raise _invalid(exc) from exc
            except NotFoundError as exc:
                raise UnavailableError(f"there is no namespace {batch.namespace}") from exc
            except ApiUnavailableError:
                if time.monotonic() - began > _TRY_AGAIN_SECONDS:
                    raise
                await asyncio.sleep(0.2)


def _same(batch: Batch, made: Object) -> Object:
    digest = batch.draft.annotations[names.ANNOTATION_REQUEST]
    noted = (made["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUEST)
    if noted != digest:
        fault = {
            "type": "value_error",
            "loc": ["header", "Idempotency-Key"],
            "msg": "the key was used before, for another request",
            "input": batch.key,
        }
        raise InvalidRequestError([fault])
    return made


def _invalid(error: InvalidObjectError) -> InvalidRequestError:
    """Return what the API server does not take, as a fault of the body."""
    causes = error.details.get("causes") or [{"message": error.message}]
    # Beside what is wrong it may be told that not all rules were looked at: of no field.
    causes = [cause for cause in causes if cause.get("field") != "<nil>"] or causes
    return InvalidRequestError(
        [
            {
                "type": "value_error",
                "loc": ["body", *place_of(cause.get("field") or "")],
                "msg": f"{cause.get('field') or 'task'}: {cause.get('message') or ''}",
                "input": None,
            }
            for cause in causes
        ]
    )


class TaskSubmit:
    """Takes submissions."""

    def __init__(
        self, index: WorkloadIndex, hosts: KnownHosts, writer: Writer, defaults: TaskDefaults
    ) -> None:
        """Make Tasks with ``writer``; what a submission leaves open is in ``defaults``."""
        self._index = index
        self._hosts = hosts
        self._maker = TaskMaker(index, hosts, writer)
        self._quota = PendingQuota(index, defaults.max_pending)
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
                example=SUBMITTED_EXAMPLE,
            )
        },
        errors={
            400: "It contradicts itself, or asks for what there cannot be.",
            403: "The cluster's policy does not let such tasks in, or too many of the caller's wait"
            " for an approval.",
            503: "No host can ever run it, or the API server cannot be reached.",
        },
        body=Json(SubmitRequest, example=SUBMIT_EXAMPLE),
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
        refuse_too_much(draft, len(wanted))
        key = _key(call.request.headers.get(KEY_HEADER))
        batch = Batch(draft, self._defaults.namespace, identity.owner, key)
        with self._quota.reserved(batch, len(wanted)):
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
                    {"target": one.text, "reason": str(shown_error(outcome))}
                    for one, outcome in zip(wanted, outcomes, strict=True)
                    if isinstance(outcome, WeirError)
                ],
            }
        # Of the Task as it is: of a request that comes again it may have been decided on.
        pending = awaits_decision(made[-1])
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
        node = host_name_of(task)
        if node is None and wait and self._index.queued <= 1:
            seen = await self._index.until(TASK, key_of(task), _is_decided, _BIND_SECONDS)
            node = None if seen is None else host_name_of(seen)
        if node is None:
            return {"hostname": "", "url": ""}
        host = self._hosts.get(node)
        return {"hostname": node, "url": "" if host is None else host.url}


class PendingQuota:
    """How much of one owner may wait for a decision, as far as it has been heard of here."""

    def __init__(self, index: WorkloadIndex, most: int) -> None:
        """Let ``most`` Tasks of an owner wait."""
        self._index = index
        self._most = most
        self._making: dict[str, list[frozenset[tuple[Key, int]]]] = {}

    @contextmanager
    def reserved(self, batch: Batch, places: int) -> Iterator[None]:
        """Count the Tasks of a batch that are not there yet while they are made.

        Raises:
            AccessDeniedError: too many would wait, or too much.
        """
        owner = batch.owner
        if owner is None or not batch.draft.is_pending:
            yield
            return
        size = size_of(batch.draft.spec)
        keys = (Key(batch.namespace, batch.name(place)) for place in range(places))
        # What an earlier try has made is counted already, or decided on.
        wanted = frozenset((key, size) for key in keys if not self._is_there(key))
        if not wanted:
            yield
            return
        selection = Selection(status=Status.PENDING_APPROVAL, owner=owner)
        pending = self._index.page(selection, self._most)
        making = self._making.get(owner, [])
        # The same key may be on its way twice: its Tasks are made once.
        coming = wanted.union(*making)
        coming_sizes = [size for key, size in coming if not self._is_there(key)]
        if len(pending) + len(coming_sizes) > self._most:
            raise AccessDeniedError(
                f"{self._most} of your tasks may wait for an approval, and {len(pending)} do:"
                " delete those that you do not need"
            )
        held = sum(size_of(entry.obj["spec"]) for entry in pending)
        if held + sum(coming_sizes) > _MOST_PENDING_BYTES:
            raise AccessDeniedError(
                f"your tasks that wait for an approval may hold {_MOST_PENDING_BYTES} bytes"
            )
        self._making[owner] = [*making, wanted]
        try:
            yield
        finally:
            self._making[owner].remove(wanted)
            if not self._making[owner]:
                del self._making[owner]

    def _is_there(self, key: Key) -> bool:
        return self._index.of_key(TASK, key) is not None


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
