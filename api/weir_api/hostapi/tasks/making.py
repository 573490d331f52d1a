"""Makes the Tasks of a submission: each once, whatever is tried again."""

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from weir_api.errors import (
    AccessDeniedError,
    InvalidRequestError,
    StateConflictError,
    UnavailableError,
)
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.admission import Wanted, admit
from weir_api.hostapi.tasks.body import Draft, keyed_name
from weir_api.hostapi.tasks.index import TaskIndex
from weir_api.state.writer import Writer
from weir_crds import names
from weir_crds.errors import WeirError
from weir_crds.ids import task_id
from weir_crds.kinds import TASK
from weir_kube.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ForbiddenError,
    InvalidObjectError,
    NotFoundError,
)
from weir_kube.store import Key, Object

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

    def name(self, place: int) -> str:
        """Return the name of the Task in that place."""
        if self.key is None:
            return f"task-{secrets.token_hex(8)}"
        return keyed_name(self.owner, self.key, place)


class TaskMaker:
    """Makes Tasks."""

    def __init__(self, index: TaskIndex, hosts: KnownHosts, writer: Writer) -> None:
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
            known = self._index.of_key(key)
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
    return InvalidRequestError(
        [
            {
                "type": "value_error",
                "loc": ["body"],
                "msg": f"{cause.get('field') or 'task'}: {cause.get('message') or ''}",
                "input": None,
            }
            for cause in causes
        ]
    )
