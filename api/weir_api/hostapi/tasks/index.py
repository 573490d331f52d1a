"""All Tasks by what clients ask for: id, status, host, owner; and what they hold of each host.

It is fed by the watch cache and only follows: an entry changes when its Task does, or its Host's
readiness, or a username in it. Nothing that is asked goes through all Tasks.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter

from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.entries import Entry, Facets, NewestFirst
from weir_api.hostapi.usernames import Usernames
from weir_api.state.caches import Caches
from weir_crds.kinds import TASK
from weir_kube.store import Key, Object, key_of

_STATUS, _NODE, _OWNER, _DECIDER = range(4)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which Tasks are wanted; None: any."""

    status: str | None = None
    node: str | None = None
    owner: str | None = None


@dataclass(slots=True)
class HostUse:
    """What the Tasks on one host hold of it."""

    entries: dict[Key, Entry] = field(default_factory=dict)
    cpu_millis: int = 0
    gpus: Counter[int] = field(default_factory=Counter)


class TaskIndex:
    """The Tasks of all namespaces."""

    def __init__(self, caches: Caches, hosts: KnownHosts, usernames: Usernames) -> None:
        """Follow the caches."""
        self._store = caches[TASK]
        self._hosts = hosts
        self._usernames = usernames
        self._by_key: dict[Key, Entry] = {}
        self._by_id: dict[int, Entry] = {}
        self._all = NewestFirst()
        self._facets = Facets(
            attrgetter("word"), attrgetter("node"), attrgetter("owner"), attrgetter("decider")
        )
        self._uses: dict[str, HostUse] = {}
        self._queued = 0
        self._waiters: defaultdict[Key, list[asyncio.Event]] = defaultdict(list)
        for obj in self._store.list():
            self._changed(key_of(obj))
        caches.listen(TASK, self._changed)
        hosts.on_readiness(self._readiness_changed)
        usernames.on_change(self._username_changed)

    def __len__(self) -> int:
        """Return how many Tasks there are."""
        return len(self._by_key)

    def get(self, number: int) -> Entry | None:
        """Return the Task of an id, or None."""
        return self._by_id.get(number)

    def of_key(self, key: Key) -> Entry | None:
        """Return the Task of a namespace and name, or None."""
        return self._by_key.get(key)

    def row(self, entry: Entry, *, secrets: bool) -> bytes:
        """Return a Task as JSON."""
        return entry.row(self._usernames.of, secrets=secrets)

    def rows(self, selection: Selection, limit: int, offset: int, *, secrets: bool) -> bytes:
        """Return Tasks as a JSON array, newest first."""
        username_of = self._usernames.of
        page = self.page(selection, limit, offset)
        return b"[%b]" % b",".join([entry.row(username_of, secrets=secrets) for entry in page])

    def page(self, selection: Selection, limit: int, offset: int = 0) -> list[Entry]:
        """Return Tasks, newest first."""
        given = [
            (place, value)
            for place, value in (
                (_STATUS, selection.status),
                (_NODE, selection.node),
                (_OWNER, selection.owner),
            )
            if value is not None
        ]
        if not given:
            return [*self._all.page(limit, offset, None)]
        lists = [self._facets.list(place, value) for place, value in given]
        shortest = min(lists, key=len)
        if len(given) == 1:
            return [*shortest.page(limit, offset, None)]
        status, node, owner = selection.status, selection.node, selection.owner

        def wanted(entry: Entry) -> bool:
            return (
                (status is None or entry.word == status)
                and (node is None or entry.node == node)
                and (owner is None or entry.owner == owner)
            )

        return [*shortest.page(limit, offset, wanted)]

    def cores_in_use(self, host: str) -> float:
        """Return how many cores the Tasks on a host have; shares of the others count in part."""
        use = self._uses.get(host)
        return use.cpu_millis / 1000 if use else 0.0

    def gpus_in_use(self, host: str) -> frozenset[int]:
        """Return which GPUs of a host belong to Tasks, by index."""
        use = self._uses.get(host)
        return frozenset(use.gpus) if use else frozenset()

    def tasks_on(self, host: str) -> list[Entry]:
        """Return the unfinished Tasks that are bound to a host."""
        use = self._uses.get(host)
        return [*use.entries.values()] if use else []

    @property
    def queued(self) -> int:
        """How many Tasks wait for a host."""
        return self._queued

    async def until(
        self, key: Key, done: Callable[[Object], bool], seconds: float
    ) -> Object | None:
        """Wait until something holds of a Task, but not longer than that.

        Returns:
            The Task as it is then; None: it is gone.
        """
        changed = asyncio.Event()
        waiters = self._waiters[key]
        waiters.append(changed)
        try:
            async with asyncio.timeout(seconds):
                while (obj := self._store.get(key)) is not None and not done(obj):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        finally:
            waiters.remove(changed)
            if not waiters:
                self._waiters.pop(key, None)
        return self._store.get(key)

    def _changed(self, key: Key) -> None:
        obj = self._store.get(key)
        # Read before anything is moved: what cannot be read leaves the old entry as it is.
        fresh = None if obj is None else Entry(key, obj, self._hosts.is_ready)
        entry = self._by_key.get(key)
        if entry is not None:
            self._remove(entry)
        if fresh is not None:
            self._add(fresh)
        for waiter in self._waiters.get(key, ()):
            waiter.set()

    def _add(self, entry: Entry) -> None:
        self._by_key[entry.key] = entry
        self._by_id[entry.id] = entry
        self._all.add(entry)
        self._facets.move(entry, None, self._facets.values(entry))
        self._count(entry, 1)

    def _remove(self, entry: Entry) -> None:
        del self._by_key[entry.key]
        del self._by_id[entry.id]
        self._all.remove(entry)
        self._facets.move(entry, self._facets.values(entry), None)
        self._count(entry, -1)

    def _count(self, entry: Entry, sign: int) -> None:
        self._queued += sign * entry.queued
        if entry.bound_to is None:
            return
        use = self._uses.setdefault(entry.bound_to, HostUse())
        if sign > 0:
            use.entries[entry.key] = entry
        else:
            del use.entries[entry.key]
        use.cpu_millis += sign * entry.cpu_millis
        gpus: tuple[int, ...] = entry.gpus
        for gpu in gpus:
            use.gpus[gpu] += sign
            if not use.gpus[gpu]:
                del use.gpus[gpu]
        if not use.entries:
            del self._uses[entry.bound_to]

    def _readiness_changed(self, host: str) -> None:
        for entry in self.tasks_on(host):
            word = entry.judge(self._hosts.is_ready)
            if word is entry.word:
                continue
            before = self._facets.values(entry)
            entry.word = word
            entry.forget_rows()
            self._facets.move(entry, before, self._facets.values(entry))

    def _username_changed(self, number: int) -> None:
        for entry in self._facets.list(_OWNER, str(number)):
            entry.forget_rows()
        for entry in self._facets.list(_DECIDER, number):
            entry.forget_rows()
