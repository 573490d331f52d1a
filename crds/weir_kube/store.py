"""A cache of objects that never goes back in time. Pure: no I/O, no tasks."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

Object = dict[str, Any]
Objects = list[Object]
IndexFunction = Callable[[Object], Iterable[Hashable]]

# Longer than any request can take, so that no reply to our own write outlives the tombstone.
_TOMBSTONE_SECONDS = 120.0


class Key(NamedTuple):
    """Names one object of a kind; the namespace of a cluster-scoped one is empty."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``namespace/name``, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Mapping[str, Any]) -> Key:
    """Return the key of an object."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace") or "", metadata["name"])


def version_number(resource_version: str | None) -> int | None:
    """Return a resourceVersion as a number, or None where it is opaque.

    Versions of one kind grow with every write, whatever object it is on:
    https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
    """
    if resource_version is None:
        return None
    try:
        return int(resource_version)
    except ValueError:
        return None


class Store:
    """Objects of one kind by key, with indexes.

    Events, lists and the replies to our own writes may come in any order: an older version never
    replaces a newer one, and what was deleted is not brought back by what was on its way. Objects
    handed in or out are shared and must not be changed.

    One thing takes the store back: a consistent read, begun when the store knew some version, that
    shows an older one. A consistent read is never behind what was known before it, so the API
    server's history itself went back: etcd was restored from a backup.
    """

    def __init__(
        self,
        *,
        accepts: Callable[[Object], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty store.

        Args:
            accepts: the selection that is watched; an object outside of it counts as deleted, even
                when it comes as the reply to our own write.
            clock: seconds, for the age of tombstones.
        """
        self._accepts = accepts
        self._clock = clock
        self._objects: dict[Key, Object] = {}
        self._versions: dict[Key, int | None] = {}
        self._tombstones: dict[Key, tuple[int, float]] = {}
        self._index_functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[Hashable, dict[Key, None]]] = {}
        self._indexed: dict[str, dict[Key, tuple[Hashable, ...]]] = {}
        self._resource_version = ""
        self._listed_at: int | None = None
        self._newest: int | None = None
        self._synced = False

    @property
    def newest(self) -> int | None:
        """The newest version seen in any way; a list begun now shows nothing older."""
        return self._newest

    @property
    def has_synced(self) -> bool:
        """Tell whether a full list has been put in."""
        return self._synced

    @property
    def resource_version(self) -> str:
        """The version that list and watch have reached; empty before the first list."""
        return self._resource_version

    def advance(self, resource_version: str) -> None:
        """Note the version that list or watch (not a reply to our own write) has reached."""
        new, old = version_number(resource_version), version_number(self._resource_version)
        if new is None or old is None or new > old:
            self._resource_version = resource_version
        self._note(new)

    def __len__(self) -> int:
        """Return how many objects there are."""
        return len(self._objects)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is an object of that key."""
        return key in self._objects

    def get(self, key: Key) -> Object | None:
        """Return the object, or None."""
        return self._objects.get(key)

    def list(self) -> Objects:
        """Return all objects, in no particular order."""
        return [*self._objects.values()]

    def keys(self) -> set[Key]:
        """Return the keys of all objects."""
        return set(self._objects)

    def add_index(self, index: str, function: IndexFunction) -> None:
        """Index by whatever values ``function`` returns for an object; it must never raise."""
        self._index_functions[index] = function
        self._indexes[index] = defaultdict(dict)
        self._indexed[index] = {}
        for key, obj in self._objects.items():
            self._index(index, key, tuple(function(obj)))

    def by_index(self, index: str, value: Hashable) -> Objects:
        """Return the objects for which the index's function returned this value."""
        found = self._indexes[index].get(value)
        return [self._objects[key] for key in found] if found else []

    def has_seen(self, obj: Object) -> bool:
        """Tell whether the store has this version of an object already, or a newer one.

        The reply to our own write is mostly here before the watch tells of it.
        """
        version = version_number(obj["metadata"].get("resourceVersion"))
        known = self._versions.get(key_of(obj))
        return version is not None and known is not None and version <= known

    def apply(self, event_type: str | None, obj: Object) -> Key | None:
        """Take one watch event, or the reply to our own write (as ``MODIFIED``).

        Args:
            event_type: ADDED, MODIFIED or DELETED; None (kopf's listing) counts as MODIFIED.
            obj: the object. The one of a DELETED may be as it was before it left the selection.

        Returns:
            The key when something changed; None when the event told nothing new.
        """
        key = key_of(obj)
        version = version_number(obj["metadata"].get("resourceVersion"))
        self._note(version)
        if event_type == "DELETED" or (self._accepts is not None and not self._accepts(obj)):
            return self._apply_deleted(key, version)
        return key if self._put(key, version, obj) else None

    def confirm(self, live: Object, *, seen: Object | None) -> Key | None:
        """Take the answer of a consistent GET that was sent when the store had ``seen``.

        Where the store still has that, the answer is put in even if it is older.

        Returns:
            The key when something changed.
        """
        key = key_of(live)
        version, known = (
            version_number(live["metadata"]["resourceVersion"]),
            self._versions.get(key),
        )
        if seen is not None and self._objects.get(key) is seen and _older(version, known):
            logger.warning("%s went back from version %s to %s: restored?", key, known, version)
            self._forget_history(key)
        return self.apply("MODIFIED", live)

    def replace(
        self, items: Iterable[Object], resource_version: str, *, newest: int | None = None
    ) -> set[Key]:
        """Take a full list that was made at ``resource_version``: what it lacks is gone.

        Objects newer than the list stay as they are, unless the history went back.

        Args:
            items: all objects that are selected.
            resource_version: of the list.
            newest: the store's ``newest`` when a consistent list was begun; None: it was not one,
                or it is not known.

        Returns:
            The keys of what changed or vanished.
        """
        listed_at = version_number(resource_version)
        if _older(listed_at, newest):
            logger.warning("a list went back from version %s to %s: restored?", newest, listed_at)
            return self._restart(items, resource_version)
        if not _older(listed_at, self._listed_at):
            self._listed_at = None  # what this list shows is there, whatever an older one showed
        changed: set[Key] = set()
        seen: set[Key] = set()
        for obj in items:
            if self._accepts is not None and not self._accepts(obj):
                continue
            key = key_of(obj)
            seen.add(key)
            version = version_number(obj["metadata"].get("resourceVersion"))
            if self._put(key, version, obj):
                changed.add(key)
        for key in self._objects.keys() - seen:
            if _older(listed_at, self._versions[key]):
                continue  # made after the list
            self._remove(key, listed_at)
            changed.add(key)
        if self._listed_at is None:
            self._listed_at = listed_at
        self.advance(resource_version)
        self._synced = True
        return changed

    def _restart(self, items: Iterable[Object], resource_version: str) -> set[Key]:
        """Begin anew with a list of another history; versions of the two cannot be compared."""
        before = self.keys()
        for key in before:
            self._forget_history(key)
        self._tombstones.clear()
        self._newest = None
        self._resource_version = ""
        self.replace(items, resource_version)
        return before | self.keys()

    def _forget_history(self, key: Key) -> None:
        """Drop an object and whatever would keep an older one from taking its place."""
        del self._objects[key]
        del self._versions[key]
        for name in self._index_functions:
            self._index(name, key, ())
        self._tombstones.pop(key, None)
        self._listed_at = None

    def _note(self, version: int | None) -> None:
        if version is not None and (self._newest is None or version > self._newest):
            self._newest = version

    def _apply_deleted(self, key: Key, version: int | None) -> Key | None:
        if key not in self._objects:
            self._bury(key, version)
            return None
        if _older(version, self._versions[key]):
            return None
        self._remove(key, version)
        return key

    def _put(self, key: Key, version: int | None, obj: Object) -> bool:
        current = self._objects.get(key)
        if current is None:
            if version is not None and self._listed_at is not None and version <= self._listed_at:
                return False  # the last full list did not show it, so it is gone
        else:
            known = self._versions[key]
            if version is None or known is None:
                same = current["metadata"].get("resourceVersion")
                if same == obj["metadata"].get("resourceVersion"):
                    return False
            elif version <= known:
                return False
        tombstone = self._tombstones.get(key)
        if tombstone is not None:
            if version is not None and version <= tombstone[0]:
                return False
            del self._tombstones[key]
        indexed = [(name, tuple(fn(obj))) for name, fn in self._index_functions.items()]
        self._objects[key] = obj
        self._versions[key] = version
        for name, values in indexed:
            self._index(name, key, values)
        return True

    def _remove(self, key: Key, version: int | None) -> None:
        known = self._versions.pop(key)
        del self._objects[key]
        for name in self._index_functions:
            self._index(name, key, ())
        if version is not None and known is not None:
            version = max(version, known)
        self._bury(key, version)

    def _bury(self, key: Key, version: int | None) -> None:
        now = self._clock()
        while self._tombstones:
            oldest = next(iter(self._tombstones))
            if now - self._tombstones[oldest][1] < _TOMBSTONE_SECONDS:
                break
            del self._tombstones[oldest]
        if version is None:
            return
        earlier = self._tombstones.pop(key, None)  # so that the dict stays ordered by age
        self._tombstones[key] = (max(version, earlier[0]) if earlier else version, now)

    def _index(self, name: str, key: Key, values: tuple[Hashable, ...]) -> None:
        indexed, index = self._indexed[name], self._indexes[name]
        before = indexed.get(key, ())
        if before == values:
            return
        for value in before:
            members = index[value]
            members.pop(key, None)
            if not members:
                del index[value]
        for value in values:
            index[value][key] = None
        if values:
            indexed[key] = values
        else:
            indexed.pop(key, None)


def _older(version: int | None, than: int | None) -> bool:
    return version is not None and than is not None and version < than
