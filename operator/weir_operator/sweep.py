"""Delete the finished objects of a kind whose time is up, or that are too many."""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from weir_crds.errors import WeirError
from weir_crds.kinds import Kind
from weir_crds.schema import Lifetime
from weir_crds.times import parse_time
from weir_kube.api import Api
from weir_kube.errors import (
    ApiUnavailableError,
    ConflictError,
    TooManyRequestsError,
    UnauthorizedError,
)
from weir_kube.store import Key, Object
from weir_operator import metrics
from weir_operator.retention import Finished, Overdue, Retention

logger = logging.getLogger(__name__)

_AT_ONCE = 4
_RETRY_SECONDS = 1.0
_REFUSED_SECONDS = 300.0
_UNANSWERED = (ApiUnavailableError, TooManyRequestsError, UnauthorizedError)
_LONGEST_SLEEP_SECONDS = 600.0  # the wall clock may be set meanwhile
_GATHER_SECONDS = 0.2


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
    ) -> None:
        """Make a sweep.

        Args:
            api: where to delete.
            kind: of the objects.
            lifetime: when one of them is over.
            cap: how many finished ones a namespace keeps.
            default_ttl: how long one stays that does not say it itself.
            now: the time that expiry is judged by.
        """
        self._api = api
        self._kind = kind
        self._lifetime = lifetime
        self._default_ttl = default_ttl
        self._retention = Retention(cap)
        self._now = now
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Return how many finished objects are kept."""
        return len(self._retention)

    def observe(self, key: Key, obj: Object | None) -> None:
        """Take what the cache has of an object.

        Raises:
            InvalidTimeError: a time that the CRD should have refused; the object stays.
        """
        end = self._lifetime.end_of(obj) if obj is not None else None
        if obj is None or end is None or obj["metadata"].get("deletionTimestamp"):
            self._retention.forget(key)
            return
        ended_at, seconds = parse_time(end), self._lifetime.ttl_of(obj)
        ttl = self._default_ttl if seconds is None else dt.timedelta(seconds=seconds)
        if self._retention.track(Finished(key, obj["metadata"]["uid"], ended_at, ended_at + ttl)):
            self._news.set()

    async def run(self) -> NoReturn:
        """Delete for ever."""
        while True:
            self._news.clear()
            overdue = self._retention.take_overdue(self._now(), _AT_ONCE)
            if overdue:
                await asyncio.gather(*map(self._delete, overdue))
                continue
            expiry = self._retention.next_expiry()
            seconds = _LONGEST_SLEEP_SECONDS
            if expiry is not None:
                seconds = min(seconds, max(0.0, (expiry - self._now()).total_seconds()))
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_GATHER_SECONDS)

    async def _delete(self, overdue: Overdue) -> None:
        finished, kind = overdue.object, self._kind
        namespace = finished.key.namespace or None
        try:
            was_there = await self._api.delete(kind, finished.key.name, namespace, uid=finished.uid)
        except ConflictError:
            logger.debug("another %s of that name by now: %s", kind.kind, finished.key)
        except _UNANSWERED as exc:
            logger.warning("could not delete finished %s %s: %s", kind.kind, finished.key, exc)
            await asyncio.sleep(_RETRY_SECONDS)
            # Behind all others that are due: it may be this one alone.
            self._take_back(replace(finished, expires_at=self._now()))
        except WeirError as exc:
            logger.warning("may not delete finished %s %s: %s", kind.kind, finished.key, exc)
            asyncio.get_running_loop().call_later(_REFUSED_SECONDS, self._take_back, finished)
        else:
            if not was_there:
                return
            metrics.DELETED.labels(kind.kind, overdue.why).inc()
            logger.info(
                "deleted finished %s=%s why=%s", kind.kind.lower(), finished.key, overdue.why
            )

    def _take_back(self, finished: Finished) -> None:
        """Keep track again of one that is still there, unless it has changed meanwhile."""
        if finished.key not in self._retention and self._retention.track(finished):
            self._news.set()
