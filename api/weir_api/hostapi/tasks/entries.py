"""One Task as the index keeps it, and lists of them that stay sorted. No I/O."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

import orjson

from weir_api.hostapi.tasks.convert import (
    UsernameOf,
    account_of,
    has_secrets,
    node_of,
    owner_of,
    submitted_at,
    task_out,
)
from weir_api.hostapi.tasks.words import Status, status_word
from weir_crds import names
from weir_crds.demand import holding_of
from weir_crds.ids import task_id
from weir_kube.store import Key, Object


class Entry:
    """A Task as it was at one moment, what lists and sums need of it, and its rows as last sent."""

    __slots__ = (
        "_hidden",
        "_shown",
        "bound_to",
        "cpu_millis",
        "decider",
        "gpus",
        "id",
        "key",
        "node",
        "obj",
        "order",
        "owner",
        "queued",
        "uid",
        "word",
    )

    def __init__(self, key: Key, obj: Object, is_ready: Callable[[str | None], bool]) -> None:
        """Read a Task; ``is_ready`` tells whether a Host is.

        Raises:
            InvalidQuantityError: a quantity that the CRD should have refused.
        """
        metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        self.key = key
        self.obj = obj
        self.uid: str = metadata["uid"]
        self.id = task_id(self.uid)
        self.order = (submitted_at(metadata), self.id)
        self.owner = owner_of(metadata)
        self.decider = account_of(
            (metadata.get("annotations") or {}).get(names.ANNOTATION_DECIDED_BY)
        )
        self.node = node_of(obj)
        bound = None if status.get("finishedAt") else status.get("nodeName")
        self.bound_to: str | None = bound
        self.cpu_millis = 0
        self.gpus: tuple[int, ...] = ()
        if bound:
            holding = holding_of(obj)
            self.cpu_millis = holding.cpu_millis
            self.gpus = holding.gpus
        self.word = self.judge(is_ready)
        self.queued = (
            self.word is Status.ASSIGNING
            and not spec.get("suspend")
            and spec.get("desiredState") != "Killed"
        )
        self.forget_rows()

    def judge(self, is_ready: Callable[[str | None], bool]) -> Status:
        """Return the word that its Host gives it now."""
        return status_word(
            self.obj["spec"],
            self.obj.get("status") or {},
            host_ready=is_ready(self.bound_to),
        )

    def forget_rows(self) -> None:
        """Have the rows made anew when they are next asked for."""
        self._shown: bytes | None = None
        self._hidden: bytes | None = None

    def row(self, username_of: UsernameOf, *, secrets: bool) -> bytes:
        """Return its task object as JSON."""
        found = self._shown if secrets else self._hidden
        if found is None:
            made = orjson.dumps(task_out(self.obj, self.word, username_of, secrets=secrets))
            found = bytes(memoryview(made))  # as large as it is: orjson keeps room for eight times
            if not has_secrets(self.obj):
                self._shown = self._hidden = found
            elif secrets:
                self._shown = found
            else:
                self._hidden = found
        return found


_ORDER = attrgetter("order")


class NewestFirst:
    """Entries by their order; the same order twice is the same entry."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        """Begin without any."""
        self._entries: list[Entry] = []  # oldest first: what is new is put at the end

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Go through them, newest first."""
        return reversed(self._entries)

    def add(self, entry: Entry) -> None:
        """Put an entry in its place."""
        if not self._entries or self._entries[-1].order < entry.order:
            self._entries.append(entry)
        else:
            insort(self._entries, entry, key=_ORDER)

    def remove(self, entry: Entry) -> None:
        """Take an entry out that is in."""
        del self._entries[bisect_left(self._entries, entry.order, key=_ORDER)]

    def page(
        self, limit: int, offset: int, wanted: Callable[[Entry], bool] | None
    ) -> Iterator[Entry]:
        """Return a part of those that are wanted (None: all), newest first."""
        if wanted is None:
            end = max(0, len(self._entries) - offset)
            return reversed(self._entries[max(0, end - limit) : end])
        return islice(filter(wanted, self), offset, offset + limit)


class Facets:
    """Lists of entries by what they have in common: a status, a host, an owner."""

    def __init__(self, *of: Callable[[Entry], Any]) -> None:
        """Make lists by what each of these functions returns of an entry."""
        self._of = of
        self._lists: tuple[dict[Any, NewestFirst], ...] = tuple({} for _ in of)

    def values(self, entry: Entry) -> tuple[Any, ...]:
        """Return where an entry belongs now."""
        return tuple(of(entry) for of in self._of)

    def move(self, entry: Entry, old: tuple[Any, ...] | None, new: tuple[Any, ...] | None) -> None:
        """Move an entry from where it was to where it belongs; None: nowhere."""
        for place, lists in enumerate(self._lists):
            before = old[place] if old else None
            after = new[place] if new else None
            if before == after:
                continue
            if before is not None:
                lists[before].remove(entry)
                if not lists[before]:
                    del lists[before]
            if after is not None:
                lists.setdefault(after, NewestFirst()).add(entry)

    def list(self, place: int, value: Any) -> NewestFirst:
        """Return the list of those that have this value, by the function in that place."""
        return self._lists[place].get(value) or NewestFirst()
