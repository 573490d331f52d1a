"""An API server in memory: what ``weir_kube.api.Api`` promises, as far as tests here need it."""

import asyncio
import copy
import datetime as dt
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from weir_crds.kinds import Kind
from weir_kube.answers import Event
from weir_kube.api import ObjectList
from weir_kube.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidObjectError,
    NotFoundError,
)
from weir_kube.reflector import selection
from weir_kube.store import Key, Object, key_of


class FakeApi:
    """Objects by kind and key, with resourceVersions, watches, and the rule that an end is final.

    Attributes:
        writes: every write that changed something, as (kind, key, subresource).
        forbidden: (kind, namespace) pairs that may not be read.
        before_write: called with the kind before each patch: a place to interfere.
        loses: tells whether the request or reply that is on its way now gets lost.
    """

    server = "fake"

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Object]] = {}
        self._version = itertools.count(1)
        self._watches: dict[asyncio.Queue[Event | None], tuple[Kind, Callable[[Object], bool]]] = {}
        self._history: list[tuple[int, Kind, str, Object, Object | None]] = []
        self._available = True
        self.writes: list[tuple[str, Key, str | None]] = []
        self.forbidden: set[tuple[str, str]] = set()
        self.reads: Counter[str] = Counter()
        self.before_write: Callable[[Kind], None] = lambda _: None
        self.loses: Callable[[], bool] = lambda: False

    @property
    def available(self) -> bool:
        """Whether it answers; going away also cuts the watches."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        self._available = value
        if not value:
            for queue in self._watches:
                queue.put_nowait(None)

    # -- what tests do --------------------------------------------------------------------------

    def put(self, kind: Kind, obj: Mapping[str, Any]) -> Object:
        """Create or replace as an administrator would; returns the object."""
        new = copy.deepcopy(dict(obj))
        old = self._of(kind).get(key_of(new))
        metadata = new["metadata"]
        metadata.setdefault("uid", old["metadata"]["uid"] if old else str(uuid.uuid4()))
        metadata.setdefault("generation", 1)
        self._store(kind, new, old)
        return copy.deepcopy(new)

    def change_spec(self, kind: Kind, key: Key, **changes: Any) -> None:
        """Change fields of ``spec``."""
        old = self._of(kind)[key]
        new = copy.deepcopy(old)
        new["spec"].update(changes)
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] += 1
            self._store(kind, new, old)

    def change_status(self, kind: Kind, key: Key, **changes: Any) -> None:
        """Change fields of ``status`` as another writer would."""
        old = self._of(kind)[key]
        new = copy.deepcopy(old)
        new.setdefault("status", {}).update(changes)
        self._store(kind, new, old)

    def remove(self, kind: Kind, key: Key) -> None:
        """Delete an object, if it is there."""
        old = self._of(kind).pop(key, None)
        if old is not None:
            gone = copy.deepcopy(old)
            gone["metadata"]["resourceVersion"] = str(next(self._version))
            self._tell(kind, "DELETED", gone, old)

    def peek(self, kind: Kind, key: Key) -> Object | None:
        """Return an object, also while the server does not answer."""
        return copy.deepcopy(self._of(kind).get(key))

    def objects(self, kind: Kind) -> Mapping[Key, Object]:
        """Return all objects of a kind, not to be changed."""
        return self._of(kind)

    def lose_events(self, kind: Kind, *keys: Key) -> None:
        """Delete objects so that no watch tells of it; all watches of the kind have expired then.

        Whoever lists sees it.
        """
        for key in keys:
            del self._of(kind)[key]
        self._history = [item for item in self._history if item[1] != kind]
        for queue, (watched, _) in self._watches.items():
            if watched == kind:
                queue.put_nowait(Event("EXPIRED", {}))

    def backup(self) -> object:
        """Return all that there is, for ``restore``."""
        return copy.deepcopy(self._objects), next(self._version)

    def restore(self, backup: object) -> None:
        """Go back in history, versions and all, as etcd does; the watches are cut."""
        assert isinstance(backup, tuple)
        self._objects, version = copy.deepcopy(backup[0]), backup[1]
        self._version = itertools.count(version + 1)
        self._history = [item for item in self._history if item[0] <= version]
        for queue in self._watches:
            queue.put_nowait(None)

    # -- what the daemon does -------------------------------------------------------------------

    async def get(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        deadline_seconds: float = 15.0,
    ) -> Object:
        """As ``Api.get``."""
        self.reads[kind.kind] += 1
        await self._reach()
        if (kind.kind, namespace or "") in self.forbidden:
            raise ForbiddenError("forbidden", status=403)
        found = self._of(kind).get(Key(namespace or "", name))
        if found is None:
            raise NotFoundError("not found", status=404)
        return copy.deepcopy(found)

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        field_selector: str | None = None,
        label_selector: str | None = None,
        resource_version: str | None = None,
        *,
        transform: Callable[[Object], Object] | None = None,
    ) -> ObjectList:
        """As ``Api.list``."""
        await self._reach()
        accepts = selection(field_selector) or (lambda _: True)
        items = [copy.deepcopy(obj) for obj in self._of(kind).values() if accepts(obj)]
        kept = [transform(obj) for obj in items] if transform else items
        return ObjectList(kept, str(next(self._version)))

    async def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        field_selector: str | None = None,
        label_selector: str | None = None,
        *,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncIterator[Event]:
        """As ``Api.watch``; what happened while nobody watched comes first."""
        await self._reach()
        accepts = selection(field_selector) or (lambda _: True)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._watches[queue] = (kind, accepts)
        for version, other, event_type, obj, old in list(self._history):
            if other == kind and version > int(resource_version):
                self._offer(queue, accepts, event_type, obj, old)
        if on_open is not None:
            on_open()
        try:
            while (event := await queue.get()) is not None:
                if event.type == "EXPIRED":
                    raise GoneError("too old", status=410)
                yield event
            raise ApiUnavailableError("cut")
        finally:
            del self._watches[queue]

    async def create(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        deadline_seconds: float = 15.0,
    ) -> Object:
        """As ``Api.create``."""
        await self._reach()
        new = copy.deepcopy(dict(body))
        if namespace:
            new["metadata"]["namespace"] = namespace
        if key_of(new) in self._of(kind):
            raise AlreadyExistsError("exists", status=409)
        made_at = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        new["metadata"].update(uid=str(uuid.uuid4()), generation=1, creationTimestamp=made_at)
        self.writes.append((kind.kind, key_of(new), None))
        self._store(kind, new, None)
        await self._reply()
        return copy.deepcopy(new)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        deadline_seconds: float = 15.0,
    ) -> Object:
        """As ``Api.patch``."""
        await self._reach()
        self.before_write(kind)
        key = Key(namespace or "", name)
        old = self._of(kind).get(key)
        if old is None:
            raise NotFoundError("not found", status=404)
        wanted = patch.get("metadata") or {}
        if wanted.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise ConflictError("conflict", status=409)
        if wanted.get("uid") not in (None, old["metadata"]["uid"]) and subresource is None:
            raise ConflictError("another object", status=409)
        new = copy.deepcopy(old)
        for part in ("annotations", "labels") if subresource is None else ():
            if part in wanted:
                new["metadata"][part] = _merged(new["metadata"].get(part) or {}, wanted[part])
        part = subresource or "spec"
        new[part] = _merged(new.get(part) or {}, patch.get(part) or {})
        _check_final(old, new)
        if new != old:
            self.writes.append((kind.kind, key, subresource))
            self._store(kind, new, old)
        await self._reply()
        return copy.deepcopy(self._of(kind).get(key) or new)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        *,
        deadline_seconds: float = 15.0,
    ) -> bool:
        """As ``Api.delete``."""
        await self._reach()
        key = Key(namespace or "", name)
        found = self._of(kind).get(key)
        if found is None:
            return False
        if uid not in (None, found["metadata"]["uid"]):
            raise ConflictError("another object", status=409)
        if resource_version not in (None, found["metadata"]["resourceVersion"]):
            raise ConflictError("it has changed", status=409)
        self.writes.append((kind.kind, key, "delete"))
        self.remove(kind, key)
        await self._reply()
        return True

    # -- inside ---------------------------------------------------------------------------------

    def _of(self, kind: Kind) -> dict[Key, Object]:
        return self._objects.setdefault(kind.kind, {})

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self._available or self.loses():
            raise ApiUnavailableError("the fake API server is away")

    async def _reply(self) -> None:
        await asyncio.sleep(0)  # a kill may come before the reply is seen
        if self.loses():
            raise ApiUnavailableError("the reply is lost")

    def _store(self, kind: Kind, new: Object, old: Object | None) -> None:
        new["metadata"]["resourceVersion"] = str(next(self._version))
        self._of(kind)[key_of(new)] = new
        self._tell(kind, "MODIFIED" if old else "ADDED", new, old)

    def _tell(self, kind: Kind, event: str, obj: Object, old: Object | None) -> None:
        version = int(obj["metadata"]["resourceVersion"])
        self._history.append((version, kind, event, obj, old))
        for queue, (watched, accepts) in self._watches.items():
            if watched == kind:
                self._offer(queue, accepts, event, obj, old)

    @staticmethod
    def _offer(
        queue: "asyncio.Queue[Event | None]",
        accepts: Callable[[Object], bool],
        event: str,
        obj: Object,
        old: Object | None,
    ) -> None:
        if event != "DELETED" and accepts(obj):
            queue.put_nowait(Event(event, copy.deepcopy(obj)))
        elif old is not None and accepts(old):
            gone = copy.deepcopy(old)
            gone["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
            queue.put_nowait(Event("DELETED", gone))


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _check_final(old: Object, new: Object) -> None:
    """The CRD's rule that a finished Task is final."""
    before, after = old.get("status") or {}, new.get("status") or {}
    if before.get("finishedAt") and any(
        before.get(name) != after.get(name) for name in ("finishedAt", "exitCode", "runID")
    ):
        raise InvalidObjectError("a finished Task is final", status=422)
