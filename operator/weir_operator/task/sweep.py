"""Delete the finished Tasks that the retention gives up."""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from typing import NoReturn

from weir_crds.errors import WeirError
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.errors import ConflictError
from weir_kube.store import Key
from weir_operator import metrics
from weir_operator.task.retention import Overdue, Retention

logger = logging.getLogger(__name__)

_AT_ONCE = 4
_LONGEST_SLEEP_SECONDS = 600.0  # the wall clock may be set meanwhile
_GATHER_SECONDS = 0.2


class Sweep:
    """Deletes what is overdue, a few at a time; sleeps until the next one is."""

    def __init__(
        self,
        api: Api,
        retention: Retention,
        *,
        on_failed: Callable[[Key], None],
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Make a sweep.

        Args:
            api: where to delete.
            retention: what is overdue.
            on_failed: told the key of a Task that could not be deleted, to be tracked again.
            now: the time that expiry is judged by.
        """
        self._api = api
        self._retention = retention
        self._on_failed = on_failed
        self._now = now
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Have the retention looked at again: something finished or changed its time."""
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
        key, uid = overdue.task.key, overdue.task.uid
        try:
            await self._api.delete(TASK, key.name, key.namespace, uid=uid)
        except ConflictError:
            logger.debug("another of that name by now task=%s", key)
        except WeirError as exc:
            logger.warning("could not delete finished task=%s: %s", key, exc)
            self._on_failed(key)
            await asyncio.sleep(1.0)
        else:
            metrics.DELETED.labels(overdue.why).inc()
            logger.info("deleted finished task=%s why=%s", key, overdue.why)
