"""One workload as the index keeps it, and lists of them that stay sorted. No I/O."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import Any, Protocol

import orjson

from weir_crds.ids import task_id
from weir_crds.kinds import Kind
from weir_kube.store import Key, Object

UsernameOf = Callable[[int], str | None]
"""Tells the name of the user of an id; None: there is none."""

IsReady = Callable[[str | None], bool]
"""Tells whether there is a Host of that name, and it is Ready."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the index needs to know of an object, whatever its kind.

    Attributes:
        submitted_at: as clients read it; lists are sorted by it.
        owner: the owner label.
        decider: id of the user who approved or rejected it.
        host: the host that it is on, or else the one that it is meant for.
        bound_to: the host of which it holds something now.
        cpu_millis: what it holds of that host's cores.
        gpus: which GPUs it holds, by index.
    """

    submitted_at: str
    owner: str | None = None
    decider: int | None = None
    host: str | None = None
    bound_to: str | None = None
    cpu_millis: int = 0
    gpus: tuple[int, ...] = ()


class Workload(Protocol):
    """How objects of one kind are read and shown; pure."""

    @property
    def kind(self) -> Kind:
        """Which kind."""
        ...

    def read(self, obj: Object) -> Reading:
        """Read an object; raises InvalidQuantityError for what the CRD should have refused."""
        ...

    def status(self, obj: Object, *, host_ready: bool) -> StrEnum:
        """Return the word for it; ``host_ready`` is about the Host that it is bound to."""
        ...

    def is_queued(self, obj: Object, status: StrEnum) -> bool:
        """Tell whether it waits for a host."""
        ...

    def out(
        self, obj: Object, status: StrEnum, username_of: UsernameOf, *, secrets: bool
    ) -> Mapping[str, Any]:
        """Return what clients get; ``secrets``: values of its environment, too."""
        ...

    def has_secrets(self, obj: Object) -> bool:
        """Tell whether what is shown depends on who asks."""
        ...


class Entry:
    """An object as it was at one moment, what lists and sums need of it, its rows as last sent."""

    __slots__ = (
        "_hidden",
        "_shown",
        "_workload",
        "id",
        "key",
        "obj",
        "order",
        "queued",
        "reading",
        "status",
        "uid",
    )

    def __init__(self, workload: Workload, key: Key, obj: Object, is_ready: IsReady) -> None:
        """Read an object.

        Raises:
            InvalidQuantityError: a quantity that the CRD should have refused.
        """
        self._workload = workload
        self.key = key
        self.obj = obj
        self.uid: str = obj["metadata"]["uid"]
        self.id = task_id(self.uid)
        self.reading = workload.read(obj)
        self.order = (self.reading.submitted_at, self.id)
        self.status = self.status_now(is_ready)
        self.queued = workload.is_queued(obj, self.status)
        self.forget_rows()

    @property
    def kind(self) -> Kind:
        """Which kind of object it is."""
        return self._workload.kind

    @property
    def owner(self) -> str | None:
        """The owner label."""
        return self.reading.owner

    @property
    def decider(self) -> int | None:
        """Id of the user who approved or rejected it."""
        return self.reading.decider

    @property
    def host(self) -> str | None:
        """The host that it is on, or else the one that it is meant for."""
        return self.reading.host

    def status_now(self, is_ready: IsReady) -> StrEnum:
        """Return the word that its Host gives it now."""
        return self._workload.status(self.obj, host_ready=is_ready(self.reading.bound_to))

    def forget_rows(self) -> None:
        """Have the rows made anew when they are next asked for."""
        self._shown: bytes | None = None
        self._hidden: bytes | None = None

    def row(self, username_of: UsernameOf, *, secrets: bool) -> bytes:
        """Return what clients get, as JSON."""
        found = self._shown if secrets else self._hidden
        if found is None:
            out = self._workload.out(self.obj, self.status, username_of, secrets=secrets)
            made = orjson.dumps(out)
            found = bytes(memoryview(made))  # as large as it is: orjson keeps room for eight times
            if not self._workload.has_secrets(self.obj):
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
