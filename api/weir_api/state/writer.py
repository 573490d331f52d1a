"""The facade's one door to writing resources: a deadline each, and what was written can be read."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from weir_api.errors import UnavailableError
from weir_api.state import audit
from weir_api.state.caches import Caches
from weir_crds.kinds import Kind
from weir_kube.api import Api
from weir_kube.errors import ApiError, ConflictError, NotFoundError
from weir_kube.events import Occurrence
from weir_kube.kinds import LEASE
from weir_kube.status import patch_status
from weir_kube.store import Key, Object, key_of

DEADLINE_SECONDS = 10.0
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody does to an object, as its Event says it once it is done.

    Attributes:
        verb: ``Kill``, the Event's ``action``.
        reason: ``KillRequested``.
        summary: ``kill requested``; who does it, and from where, is added.
        message: what they say about it.
    """

    verb: str
    reason: str
    summary: str
    message: str = ""


class Events(Protocol):
    """Takes Events; see ``weir_kube.events.EventRecorder``."""

    def record(self, kind: Kind, obj: Object, occurrence: Occurrence, source: str = "") -> None:
        """Have one written, some time; ``source`` has caused it."""
        ...


class Writer:
    """Writes to the API server and puts the replies into the caches.

    Each change is a line in the audit log; one that is an Action is an Event of its object besides.

    Every method raises ``weir_kube.errors.ApiError``. A write that ended with ApiUnavailableError
    may have taken effect.
    """

    def __init__(self, api: Api, caches: Caches, events: Events | None = None) -> None:
        """Write with ``api``; Actions are recorded with ``events``."""
        self._api = api
        self._caches = caches
        self._events = events

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None
    ) -> Object:
        """Create an object and return it; raises AlreadyExistsError."""
        what = _name_of(kind, body, namespace)
        with _audited("create", kind, what):
            obj = await self._api.create(kind, body, namespace, deadline_seconds=DEADLINE_SECONDS)
        self._caches.note(kind, obj)
        return obj

    async def patch(
        self,
        kind: Kind,
        obj: Object,
        patch: Mapping[str, Any],
        *,
        unchanged: bool = False,
        action: Action | None = None,
    ) -> Object:
        """Apply a JSON merge patch to an object and return it.

        Args:
            kind: of the object.
            obj: as it was read.
            patch: what to change, without metadata of its own that is a precondition.
            unchanged: True: refuse with ConflictError if the object has changed since. The uid is a
                precondition always: another object of that name is never written.
            action: what somebody does by that.
        """
        metadata = obj["metadata"]
        wanted = dict(patch.get("metadata") or {})
        wanted["uid"] = metadata["uid"]
        if unchanged:
            wanted["resourceVersion"] = metadata["resourceVersion"]
        with _audited("patch", kind, _name_of(kind, obj), _fields_of(patch)):
            written = await self._api.patch(
                kind,
                metadata["name"],
                {**patch, "metadata": wanted},
                metadata.get("namespace"),
                deadline_seconds=DEADLINE_SECONDS,
            )
        self._caches.note(kind, written)
        self._record(kind, obj, action)
        return written

    async def patch_status(self, kind: Kind, obj: Object, changes: Mapping[str, Any]) -> Object:
        """Write top-level status fields decided on ``obj``; ConflictError when it has changed."""
        fields = _fields_of({"status": changes})
        with _audited("patch status", kind, _name_of(kind, obj), fields):
            written = await patch_status(self._api, kind, obj, changes)
        self._caches.note(kind, written)
        return written

    async def update(
        self,
        kind: Kind,
        obj: Object,
        decide: Callable[[Object], Mapping[str, Any]],
        *,
        status: bool = False,
        tries: int = 5,
        action: Action | None = None,
    ) -> Object:
        """Write what is decided on an object as it is now; on a conflict read it and decide anew.

        Args:
            kind: of the object.
            obj: as it was read.
            decide: returns a JSON merge patch; or with ``status`` the top-level status fields that
                are to differ. It may raise, which ends it.
            status: what is written.
            tries: how often at most.
            action: what somebody does by that; not with ``status``.

        Returns:
            The object as it was written.

        Raises:
            NotFoundError: it is gone, or another one has its name.
            UnavailableError: others change it all the time.
        """
        key, uid = key_of(obj), obj["metadata"]["uid"]
        for attempt in range(tries):
            try:
                if status:
                    return await self.patch_status(kind, obj, decide(obj))
                return await self.patch(kind, obj, decide(obj), unchanged=True, action=action)
            except ConflictError:
                await asyncio.sleep(_PAUSE_SECONDS * attempt * random.random())  # noqa: S311
                found = await self.fresh(kind, key)
                if found is None or found["metadata"]["uid"] != uid:
                    raise NotFoundError(f"{kind.kind} {key} is gone", status=404) from None
                obj = found
        raise UnavailableError(f"{kind.kind} {key} changes all the time; try again")

    async def delete(
        self, kind: Kind, obj: Object, *, unchanged: bool = False, action: Action | None = None
    ) -> bool:
        """Delete an object; False when it was gone already.

        Args:
            kind: of the object.
            obj: as it was read.
            unchanged: True: refuse with ConflictError if the object has changed since.
            action: what somebody does by that.
        """
        metadata = obj["metadata"]
        with _audited("delete", kind, _name_of(kind, obj)):
            done = await self._api.delete(
                kind,
                metadata["name"],
                metadata.get("namespace"),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"] if unchanged else None,
                deadline_seconds=DEADLINE_SECONDS,
            )
        self._caches.note(kind, obj, deleted=True)
        if done:
            self._record(kind, obj, action)
        return done

    async def fresh(self, kind: Kind, key: Key) -> Object | None:
        """Return an object as it is now, not as the cache has it; None: there is none."""
        try:
            obj = await self._api.get(
                kind, key.name, key.namespace or None, deadline_seconds=DEADLINE_SECONDS
            )
        except NotFoundError:
            known = self._caches[kind].get(key)
            if known is not None:
                self._caches.note(kind, known, deleted=True)
            return None
        obj["metadata"].pop("managedFields", None)
        self._caches.note(kind, obj)
        return self._caches[kind].get(key_of(obj)) or obj

    def _record(self, kind: Kind, obj: Object, action: Action | None) -> None:
        if action is None or self._events is None:
            return
        actor = audit.ACTOR.get()
        origin = "" if actor is audit.OURSELVES else f" from {actor.peer}, over REST"
        message = f": {action.message}" if action.message else ""
        note = f"{action.summary} by {actor.caller}{origin}{message}"
        occurrence = Occurrence(action.verb, action.reason, note)
        self._events.record(kind, obj, occurrence, actor.caller)


# Signs of life: many, and nobody's decision.
_UNAUDITED = frozenset({LEASE})


@contextmanager
def _audited(verb: str, kind: Kind, what: str, fields: str = "") -> Iterator[None]:
    if kind in _UNAUDITED or fields == "status.lastUsedAt":
        yield
        return
    try:
        yield
    except ApiError as exc:
        audit.note(verb, what, exc.reason, fields)
        raise
    except BaseException:  # given up without an answer: it may have taken effect
        audit.note(verb, what, audit.UNKNOWN, fields)
        raise
    audit.note(verb, what, audit.DONE, fields)


def _name_of(kind: Kind, obj: Mapping[str, Any], namespace: str | None = None) -> str:
    metadata = obj["metadata"]
    parts = (kind.kind, metadata.get("namespace") or namespace, metadata["name"])
    return "/".join(filter(None, parts))


def _fields_of(patch: Mapping[str, Any]) -> str:
    """Return which fields are changed; of what is desired of a Task, how."""
    found = []
    for part in ("spec", "status"):
        for name, value in (patch.get(part) or {}).items():
            shown = f"={value}" if name in _SHOWN else ""
            found.append(f"{part}.{name}{shown}")
    return ",".join(found)


_SHOWN = frozenset({"desiredState", "approval", "role", "active"})
