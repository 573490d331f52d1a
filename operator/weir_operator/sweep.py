"""Delete the finished objects of a kind whose time is up, or that are too many."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from typing import NoReturn

from weir_crds.errors import WeirError
from weir_crds.kinds import Kind
from weir_crds.schema import Lifetime
from weir_crds.times import parse_time
from weir_kube.api import Api
from weir_kube.errors import UNANSWERED, ConflictError
from weir_kube.store import Key, Object
from weir_operator import metrics
from weir_operator.retention import Finished, Retention

logger = logging.getLogger(__name__)

_AT_ONCE = 4
_AGAIN_AT_ONCE = 2
"""How many deletions that were not answered are tried again beside those: they keep no other."""
_RETRY_SECONDS = 1.0
_REFUSED_SECONDS = 300.0


class Sweep:
    """Deletes what is overdue of a kind, a few at a time; sleeps until the next one is."""

    def __init__(
        self,
        api: Api,
        kind: Kind,
        lifetime: Lifetime,
        *,
        cap: int,
        default_ttl: dt.timedelta,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a sweep.

        Args:
            api: where to delete.
            kind: of the objects.
            lifetime: when one of them is over.
            cap: how many finished ones a namespace keeps.
            default_ttl: how long one stays that does not say it itself.
            now: the time, for the age of those that were finished before we began.
            clock: monotonic seconds, for all others.
        """
        self._api = api
        self._kind = kind
        self._lifetime = lifetime
        self._default_ttl = default_ttl
        self._retention = Retention(cap)
        self._now = now
        self._clock = clock
        self._unfinished: dict[Key, str] = {}
        """The uids of those that were seen and are not over yet."""
        self._unanswered: dict[Key, Finished] = {}
        """Those whose deletion was not answered, the one tried longest ago first."""
        self._deleting: dict[Key, Finished] = {}
        """Those whose deletion is under way."""
        self._under_way = {False: 0, True: 0}
        """How many deletions are, by whether it is another try."""
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many finished objects are kept."""
        return len(self._retention) + len(self._unanswered)

    def observe(self, key: Key, obj: Object | None) -> None:
        """Take what the cache has of an object.

        Raises:
            InvalidTimeError: a time that the CRD should have refused; the object stays.
        """
        tried = self._unanswered.pop(key, None)
        end = self._lifetime.end_of(obj) if obj is not None else None
        if obj is None or end is None or obj["metadata"].get("deletionTimestamp"):
            self._retention.forget(key)
            self._unfinished.pop(key, None)
            if obj is not None and end is None:
                self._unfinished[key] = obj["metadata"]["uid"]
            return
        known = self._retention.get(key) or tried or self._deleting.get(key)
        ended_at = self._ended_at(key, obj, end, known)
        seconds = self._lifetime.ttl_of(obj)
        ttl = self._default_ttl.total_seconds() if seconds is None else seconds
        if self._retention.track(Finished(key, obj["metadata"]["uid"], ended_at, ended_at + ttl)):
            self._changed.set()

    def _ended_at(self, key: Key, obj: Object, end: str, known: Finished | None) -> float:
        """Return when an object was over, by our own clock as far as we were there.

        Of one that was over before we began the wall clocks have to tell: the one who wrote its end
        may have had a wrong one, but it was not over before it was made, nor later than now.
        """
        uid, now = obj["metadata"]["uid"], self._clock()
        if known is not None and known.uid == uid:
            return known.ended_at
        if self._unfinished.pop(key, None) == uid:
            return now
        ended = parse_time(end)
        if created := obj["metadata"].get("creationTimestamp"):
            ended = max(ended, parse_time(created))
        return now - max(0.0, (self._now() - ended).total_seconds())

    async def run(self) -> NoReturn:
        """Delete for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                room = _AT_ONCE - self._under_way[False]
                for overdue in self._retention.take_overdue(self._clock(), room):
                    self._begin(group, overdue.object, overdue.why)
                while self._unanswered and self._under_way[True] < _AGAIN_AT_ONCE:
                    key = next(iter(self._unanswered))
                    self._begin(group, self._unanswered.pop(key), "ttl", is_another_try=True)
                try:
                    async with asyncio.timeout(self._seconds_to_next()):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        raise AssertionError("this runs for ever")

    def _seconds_to_next(self) -> float | None:
        """Return when to look for overdue ones again; None: when something changes."""
        expiry = self._retention.next_expiry()
        if expiry is None or self._under_way[False] >= _AT_ONCE:
            return None
        return max(0.0, expiry - self._clock())

    def _begin(
        self, group: asyncio.TaskGroup, finished: Finished, why: str, is_another_try: bool = False
    ) -> None:
        self._under_way[is_another_try] += 1
        self._deleting[finished.key] = finished
        task = group.create_task(self._delete(finished, why), name=f"delete {finished.key}")
        task.add_done_callback(lambda _: self._ended(finished, is_another_try))

    def _ended(self, finished: Finished, is_another_try: bool) -> None:
        if self._deleting.get(finished.key) is finished:
            del self._deleting[finished.key]
        self._under_way[is_another_try] -= 1
        self._changed.set()

    async def _delete(self, finished: Finished, why: str) -> None:
        kind, namespace = self._kind, finished.key.namespace or None
        try:
            was_there = await self._api.delete(kind, finished.key.name, namespace, uid=finished.uid)
        except ConflictError:
            logger.debug("another %s of that name by now: %s", kind.kind, finished.key)
        except UNANSWERED as exc:
            logger.warning("could not delete finished %s %s: %s", kind.kind, finished.key, exc)
            await asyncio.sleep(_RETRY_SECONDS)
            if finished.key not in self._retention:  # else it has changed meanwhile
                self._unanswered[finished.key] = finished
        except WeirError as exc:
            logger.warning("may not delete finished %s %s: %s", kind.kind, finished.key, exc)
            asyncio.get_running_loop().call_later(_REFUSED_SECONDS, self._take_back, finished)
        else:
            if not was_there:
                return
            metrics.DELETED.labels(kind.kind, why).inc()
            logger.info("deleted finished %s=%s why=%s", kind.kind.lower(), finished.key, why)

    def _take_back(self, finished: Finished) -> None:
        """Keep track again of one that is still there, unless it has changed meanwhile."""
        if finished.key not in self._retention and self._retention.track(finished):
            self._changed.set()
