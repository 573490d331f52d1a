"""All workloads, of whatever kind, by what clients ask for: id, status, host, owner; and what they
hold of each host.

It is fed by the watch caches and only follows: an entry changes when its object does, or its Host's
readiness, or a username in it. Nothing that is asked goes through all of them.
"""

import asyncio
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

from weir_api.access.capabilities import Capability, may_touch
from weir_api.access.identity import Identity
from weir_api.errors import AccessDeniedError, UnknownObjectError
from weir_api.hostapi.entries import Entry, Facets, NewestFirst, Workload
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.usernames import Usernames
from weir_api.state.caches import Caches
from weir_crds.kinds import Kind
from weir_kube.store import Key, Object, key_of

_STATUS, _HOST, _OWNER, _DECIDER, _KIND = range(5)

# A watch tells of what another replica has made within milliseconds, unless it is held up.
_NEWS_SECONDS = 0.3
# So many ids one caller may wait for news of at a time, and so many are known to be of nothing.
_MOST_AWAITED = 64
_MOST_UNKNOWN = 4096
_UNKNOWN_SECONDS = 10.0

WorkloadKey = tuple[Kind, Key]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which workloads are wanted; None: any."""

    status: str | None = None
    host: str | None = None
    owner: str | None = None
    kind: Kind | None = None


@dataclass(slots=True)
class HostUse:
    """What the workloads on one host hold of it."""

    entries: dict[WorkloadKey, Entry] = field(default_factory=dict)
    cpu_millis: int = 0
    gpus: Counter[int] = field(default_factory=Counter)


class WorkloadIndex:
    """The workloads of all namespaces."""

    def __init__(
        self,
        caches: Caches,
        hosts: KnownHosts,
        usernames: Usernames,
        workloads: Iterable[Workload],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow the caches of these kinds."""
        self._caches = caches
        self._hosts = hosts
        self._usernames = usernames
        self._clock = clock
        self._by_key: dict[WorkloadKey, Entry] = {}
        self._by_id: dict[int, Entry] = {}
        self._all = NewestFirst()
        self._facets = Facets(*map(attrgetter, ("status", "host", "owner", "decider", "kind")))
        self._uses: dict[str, HostUse] = {}
        self._queued = 0
        self._waiters: defaultdict[WorkloadKey | int, list[asyncio.Event]] = defaultdict(list)
        self._unknown: OrderedDict[int, float] = OrderedDict()
        self._awaited_by: Counter[str] = Counter()
        for workload in workloads:
            changed = partial(self._changed, workload)
            for obj in caches[workload.kind].list():
                changed(key_of(obj))
            caches.listen(workload.kind, changed)
        hosts.on_readiness(self._readiness_changed)
        usernames.on_change(self._username_changed)

    def __len__(self) -> int:
        """Return how many workloads there are."""
        return len(self._by_key)

    def get(self, number: int) -> Entry | None:
        """Return the workload of an id, or None."""
        return self._by_id.get(number)

    def of_key(self, kind: Kind, key: Key) -> Entry | None:
        """Return the workload of a kind, namespace and name, or None."""
        return self._by_key.get((kind, key))

    async def find(
        self, number: int, kind: Kind, identity: Identity, capability: Capability
    ) -> Entry:
        """Return a workload that the caller may do that to.

        What another replica has made just now may not have been heard of here: an id that is not
        known is waited for, for a moment and once.

        Raises:
            UnknownObjectError: there is none of that kind with that id.
            AccessDeniedError: the caller may do that to its own only.
        """
        entry = self._by_id.get(number) or await self._news_of(number, identity)
        if entry is None or entry.kind is not kind:
            raise UnknownObjectError(f"there is no {kind.kind.lower()} {number}")
        if not may_touch(identity, capability, entry.owner):
            raise AccessDeniedError(f"that is not your {kind.kind.lower()}")
        return entry

    def row(self, entry: Entry, *, secrets: bool) -> bytes:
        """Return a workload as JSON."""
        return entry.row(self._usernames.of, secrets=secrets)

    def rows(self, selection: Selection, limit: int, offset: int, *, secrets: bool) -> bytes:
        """Return workloads as a JSON array, newest first."""
        username_of = self._usernames.of
        page = self.page(selection, limit, offset)
        return b"[%b]" % b",".join([entry.row(username_of, secrets=secrets) for entry in page])

    def page(self, selection: Selection, limit: int, offset: int = 0) -> list[Entry]:
        """Return workloads, newest first."""
        given = [
            (place, value)
            for place, value in (
                (_STATUS, selection.status),
                (_HOST, selection.host),
                (_OWNER, selection.owner),
                (_KIND, selection.kind),
            )
            if value is not None
        ]
        if not given:
            return [*self._all.page(limit, offset, None)]
        lists = [self._facets.list(place, value) for place, value in given]
        shortest = min(lists, key=len)
        if len(given) == 1:
            return [*shortest.page(limit, offset, None)]
        status, host, owner, kind = (
            selection.status,
            selection.host,
            selection.owner,
            selection.kind,
        )

        def wanted(entry: Entry) -> bool:
            return (
                (status is None or entry.status == status)
                and (host is None or entry.host == host)
                and (owner is None or entry.owner == owner)
                and (kind is None or entry.kind is kind)
            )

        return [*shortest.page(limit, offset, wanted)]

    def cores_in_use(self, host: str) -> float:
        """Return how many cores workloads on a host have; shares of the others count in part."""
        use = self._uses.get(host)
        return use.cpu_millis / 1000 if use else 0.0

    def gpus_in_use(self, host: str) -> frozenset[int]:
        """Return which GPUs of a host belong to workloads, by index."""
        use = self._uses.get(host)
        return frozenset(use.gpus) if use else frozenset()

    def on_host(self, host: str) -> list[Entry]:
        """Return the unfinished workloads that are bound to a host."""
        use = self._uses.get(host)
        return [*use.entries.values()] if use else []

    @property
    def queued(self) -> int:
        """How many workloads wait for a host."""
        return self._queued

    @property
    def waited_for(self) -> int:
        """How many workloads and ids somebody waits for."""
        return len(self._waiters)

    async def until(
        self, kind: Kind, key: Key, done: Callable[[Object], bool], seconds: float
    ) -> Object | None:
        """Wait until something holds of a workload, but not longer than that.

        Returns:
            The object as it is then; None: it is gone.
        """
        store = self._caches[kind]

        def is_done() -> bool:
            obj = store.get(key)
            return obj is None or done(obj)

        await self._wait((kind, key), is_done, seconds)
        return store.get(key)

    async def _news_of(self, number: int, identity: Identity) -> Entry | None:
        now, caller = self._clock(), identity.name
        if self._unknown.get(number, 0.0) > now or self._awaited_by[caller] >= _MOST_AWAITED:
            return None
        self._awaited_by[caller] += 1
        try:
            await self._wait(number, lambda: number in self._by_id, _NEWS_SECONDS)
        finally:
            self._awaited_by -= Counter([caller])
        entry = self._by_id.get(number)
        if entry is None:
            self._unknown[number] = now + _UNKNOWN_SECONDS
            self._unknown.move_to_end(number)
            while len(self._unknown) > _MOST_UNKNOWN:
                self._unknown.popitem(last=False)
        return entry

    async def _wait(
        self, of: WorkloadKey | int, is_done: Callable[[], bool], seconds: float
    ) -> None:
        """Wait until something holds, asking at each change of an object, or of an id's."""
        changed = asyncio.Event()
        waiters = self._waiters[of]
        waiters.append(changed)
        try:
            async with asyncio.timeout(seconds):
                while not is_done():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        finally:
            waiters.remove(changed)
            if not waiters:
                self._waiters.pop(of, None)

    def _changed(self, workload: Workload, key: Key) -> None:
        obj = self._caches[workload.kind].get(key)
        # Read before anything is moved: what cannot be read leaves the old entry as it is.
        fresh = None if obj is None else Entry(workload, key, obj, self._hosts.is_ready)
        entry = self._by_key.get((workload.kind, key))
        if entry is not None:
            self._remove(entry)
        if fresh is not None:
            self._add(fresh)
            for waiter in self._waiters.get(fresh.id, ()):
                waiter.set()
        for waiter in self._waiters.get((workload.kind, key), ()):
            waiter.set()

    def _add(self, entry: Entry) -> None:
        self._by_key[entry.kind, entry.key] = entry
        self._by_id[entry.id] = entry
        self._all.add(entry)
        self._facets.move(entry, None, self._facets.values(entry))
        self._count(entry, 1)

    def _remove(self, entry: Entry) -> None:
        del self._by_key[entry.kind, entry.key]
        del self._by_id[entry.id]
        self._all.remove(entry)
        self._facets.move(entry, self._facets.values(entry), None)
        self._count(entry, -1)

    def _count(self, entry: Entry, sign: int) -> None:
        self._queued += sign * entry.queued
        reading = entry.reading
        if reading.bound_to is None:
            return
        use = self._uses.setdefault(reading.bound_to, HostUse())
        if sign > 0:
            use.entries[entry.kind, entry.key] = entry
        else:
            del use.entries[entry.kind, entry.key]
        use.cpu_millis += sign * reading.cpu_millis
        for gpu in reading.gpus:
            use.gpus[gpu] += sign
            if not use.gpus[gpu]:
                del use.gpus[gpu]
        if not use.entries:
            del self._uses[reading.bound_to]

    def _readiness_changed(self, host: str) -> None:
        for entry in self.on_host(host):
            status = entry.status_now(self._hosts.is_ready)
            if status is entry.status:
                continue
            before = self._facets.values(entry)
            entry.status = status
            entry.forget_rows()
            self._facets.move(entry, before, self._facets.values(entry))

    def _username_changed(self, number: int) -> None:
        for entry in self._facets.list(_OWNER, str(number)):
            entry.forget_rows()
        for entry in self._facets.list(_DECIDER, number):
            entry.forget_rows()
