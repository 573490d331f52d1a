"""Remove what has no object any more: instances, and output in the state directory.

An instance whose object lives on elsewhere (its host was lost, and is back) goes too, but its
output stays here for as long as the object is there.

Unknown is not gone: the cache has had a consistent full list since the start, and before anything
is removed the API server is asked for that very object. While it does not answer, nothing goes.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from weir_crds import names
from weir_crds.errors import WeirError
from weir_kube.api import Api
from weir_kube.errors import NotFoundError
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import (
    InstanceState,
    ObservedInstance,
)
from weir_nodedaemon.instances.engines import Engines
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import Journal, JournalEntry, StopReason
from weir_nodedaemon.instances.kind import InstanceKind
from weir_nodedaemon.instances.stop import Stopper
from weir_nodedaemon.logs import Collector

logger = logging.getLogger(__name__)

_CACHE_LAG_SECONDS = 5.0
_OUTPUT_RETRY_SECONDS = 60.0
_UNKNOWN_SECONDS = 2.0
_LIVES_SECONDS = 3600.0  # how long the API server's word on an object that lives elsewhere holds


class Sweep:
    """Finds orphans and ends them: TERM, the grace, KILL, remove."""

    def __init__(
        self,
        *,
        host: str,
        api: Api,
        engines: Engines,
        kinds: Sequence[InstanceKind],
        stopper: Stopper,
        journal: Journal,
        collector: Collector,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sweep what neither the caches of ``kinds`` nor the API server know.

        ``queue`` runs ``handle``.
        """
        self.queue: WorkQueue[str] = WorkQueue("orphans")
        self._host = host
        self._api = api
        self._engines = engines
        self._kinds = {kind.kind.kind: kind for kind in kinds}
        self._stopper = stopper
        self._journal = journal
        self._collector = collector
        self._clock = clock
        self._orphans: set[str] = set()  # which the API server has confirmed to be some
        self._elsewhere: dict[str, float] = {}  # uids whose object lives, but not here
        self._asked: set[str] = set()  # about which the API server is being asked

    def enqueue_orphans(self) -> None:
        """Have every instance handled that the caches cannot explain."""
        for name, seen in self._engines.instances.items():
            if not self._is_explained(name, seen):
                self.queue.add(name)

    async def handle(self, name: str) -> float | None:
        """Bring one instance nearer to its end if it is an orphan.

        Returns:
            Seconds until the next look; None: when something changes.

        Raises:
            WeirError: the API server or the engine did not answer; nothing was removed.
        """
        known = self._engines.instances.get(name)
        kind = self._kind_of(known)
        if known is None or kind is None:
            self._orphans.discard(name)
            return None
        if not kind.store.has_synced:
            return _CACHE_LAG_SECONDS
        seen = await kind.engine.observations.observe(name)
        if seen is None or self._is_explained(name, seen):
            self._orphans.discard(name)
            return None
        if name not in self._orphans:
            if not await self._is_orphan(kind, name, seen.labels):
                return _CACHE_LAG_SECONDS
            self._orphans.add(name)
        if seen.state is InstanceState.UNKNOWN:
            return _UNKNOWN_SECONDS
        if seen.state in (InstanceState.RUNNING, InstanceState.PAUSED):
            return await self._stop(kind, name, seen)
        if seen.state is InstanceState.EXITED and not await self._keep_output(kind, name, seen):
            return _OUTPUT_RETRY_SECONDS
        await kind.engine.lifecycle.remove(name)
        kind.engine.observations.forget(name)
        self._orphans.discard(name)
        metrics.ORPHANS_REMOVED.inc()
        logger.info("removed orphan instance=%s", name)
        return None

    def lives_here(self, uid: str) -> None:
        """Forget that an object lived elsewhere: when it is gone from here, that is asked anew."""
        self._elsewhere.pop(uid, None)
        self._asked.discard(uid)  # an answer that is on its way is of before

    async def sweep_output(self) -> None:
        """Remove the output and the notes of objects that are gone.

        Raises:
            WeirError: the API server did not answer, and the rest stays for the next time; or the
                disk failed for one of them.
        """
        synced = all(kind.store.has_synced for kind in self._kinds.values())
        if not synced or not all(engine.observations.complete for engine in self._engines):
            return
        noted = self._journal.objects()
        stored = await self._collector.store.uids()
        here = {seen.labels.get(names.LABEL_UID) for seen in self._engines.instances.values()}
        left = sorted(uid for uid in (stored | noted.keys()) - here if not self._is_cached(uid))
        unnamed = {uid for uid in left if uid not in noted}
        living = await self._living(unnamed) if unnamed else frozenset()
        failure: WeirError | None = None
        for uid in left:
            entry = noted.get(uid)
            if entry is None:
                lives = uid in living
            else:
                lives = await self._lives_elsewhere(uid, entry.kind, entry.namespace, entry.name)
            if not lives:
                try:
                    await self._collector.forget(uid)
                except WeirError as exc:
                    failure = exc  # its notes name it for the next time
                    continue
                await self._journal.remove(uid)
                logger.info("removed output uid=%s", uid)
        await self._journal.remove_unreadable(but={uid for uid in here if uid})
        if failure is not None:
            raise failure

    def _is_cached(self, uid: str) -> bool:
        return any(kind.store.of_uid(uid) is not None for kind in self._kinds.values())

    def _kind_of(self, seen: ObservedInstance | None) -> InstanceKind | None:
        """Return the kind of an instance; None: of no kind that we run, so not ours to judge."""
        return None if seen is None else self._kinds.get(names.kind_of_container(seen.labels))

    def _is_explained(self, name: str, seen: ObservedInstance) -> bool:
        kind, id = self._kind_of(seen), InstanceID.parse(name)
        if kind is None or id is None:
            return True
        obj = kind.store.of_uid(id.uid)
        return obj is not None and kind.current(obj) == id

    async def _is_orphan(self, kind: InstanceKind, name: str, labels: Mapping[str, str]) -> bool:
        """Ask the API server; what it says is final: incarnations only grow, no uid returns."""
        try:
            obj = await self._api.get(
                kind.kind, labels[names.LABEL_NAME], labels[names.LABEL_NAMESPACE]
            )
        except NotFoundError:
            return True
        elsewhere = (obj.get("status") or {}).get("nodeName") != self._host
        return elsewhere or kind.current(obj) != InstanceID.parse(name)

    async def _keep_output(self, kind: InstanceKind, name: str, seen: ObservedInstance) -> bool:
        """Store the output if the object is still there; False: the container has it still."""
        labels, id = seen.labels, InstanceID.parse(name)
        namespace, of = labels[names.LABEL_NAMESPACE], labels[names.LABEL_NAME]
        if id is None or kind.output is None:
            return True
        if not await self._lives_elsewhere(id.uid, kind.kind.kind, namespace, of):
            return True
        if self._journal.get(id) is None:
            self._journal.put(id, JournalEntry(kind.kind.kind, namespace, of, started=True))
        output = await kind.output.finish_soon(*id, name, lambda: self.queue.add(name))
        return output is not None and output.complete

    async def _stop(self, kind: InstanceKind, name: str, seen: ObservedInstance) -> float:
        id, labels = InstanceID.parse(name), seen.labels
        assert id is not None  # else it would be explained
        entry = JournalEntry(
            kind.kind.kind, labels[names.LABEL_NAMESPACE], labels[names.LABEL_NAME]
        )
        return await self._stopper.stop(
            kind.engine.lifecycle, id, entry, StopReason.KILLED, float(seen.stop_grace_seconds)
        )

    async def _lives_elsewhere(self, uid: str, kind: str, namespace: str, name: str) -> bool:
        confirmed_at = self._elsewhere.get(uid)
        if confirmed_at is not None and self._clock() - confirmed_at < _LIVES_SECONDS:
            return True
        of = self._kinds.get(kind)
        if of is None:
            return True  # of a kind that this daemon does not know: not ours to judge
        self._asked.add(uid)
        try:
            obj = await self._api.get(of.kind, name, namespace)
        except NotFoundError:
            obj = None
        finally:
            came_back = uid not in self._asked
            self._asked.discard(uid)
        if obj is not None and obj["metadata"]["uid"] == uid:
            here = (obj.get("status") or {}).get("nodeName") == self._host
            if not here and not came_back:
                self._elsewhere[uid] = self._clock()
            return True
        self._elsewhere.pop(uid, None)
        return False

    async def _living(self, uids: Iterable[str]) -> frozenset[str]:
        """Return which of these uids belong to an object, wherever it lives.

        Output whose notes were lost names no object that could be asked for, so all are listed.
        """
        wanted = set(uids)
        found: set[str] = set()
        for kind in self._kinds.values():
            listed = await self._api.list(kind.kind, transform=_metadata)
            found |= {obj["metadata"]["uid"] for obj in listed.items} & wanted
        return frozenset(found)


def _metadata(obj: dict[str, object]) -> dict[str, object]:
    return {"metadata": obj["metadata"]}
