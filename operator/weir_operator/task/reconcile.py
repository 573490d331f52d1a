"""Bring one Task a step nearer to its spec: end it, say why it waits, or note when it is to go."""

import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.store import Key, Object, Store
from weir_operator.scheduling.loop import Scheduler
from weir_operator.scheduling.words import Waiting
from weir_operator.task import status
from weir_operator.task.decide import (
    End,
    Standing,
    end_of,
    finished_at,
    held_back,
    scheduled_condition,
    standing_of,
    word_on,
)
from weir_operator.task.retention import Finished, Retention
from weir_operator.writes import write_status

logger = logging.getLogger(__name__)

AT_ONCE = 0.0


@dataclass(slots=True)
class _Wait:
    """What this process knows of one Task's wait, in monotonic seconds."""

    uid: str
    standing: Standing
    since: float
    written_at: float | None = None


class TaskReconciler:
    """Looks at one Task at a time; the scheduler alone binds."""

    def __init__(
        self,
        api: Api,
        store: Store,
        scheduler: Scheduler,
        retention: Retention,
        *,
        default_ttl: dt.timedelta,
        on_finished: Callable[[], None],
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a reconciler.

        Args:
            api: where to write.
            store: cache of all Tasks.
            scheduler: what places them; told of every change.
            retention: told of every finished Task.
            default_ttl: how long a finished Task stays that does not say it itself.
            on_finished: called when the retention has news.
            now: the time, for what is written.
            clock: monotonic seconds, for how long a Task has waited.
        """
        self._api = api
        self._store = store
        self._scheduler = scheduler
        self._retention = retention
        self._default_ttl = default_ttl
        self._on_finished = on_finished
        self._now = now
        self._clock = clock
        self._waits: dict[Key, _Wait] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Look at a Task; safe at any time, any number of times.

        Returns:
            In how many seconds to look again; None: when something changes.

        Raises:
            WeirError: a write failed, or the Task asks for nonsense.
        """
        self._scheduler.observe_task(key)
        task = self._store.get(key)
        if task is None:
            self._waits.pop(key, None)
            self._retention.forget(key)
            return None
        standing = standing_of(task)
        if standing is Standing.FINISHED:
            self._waits.pop(key, None)
            self._retain(key, task)
            return None
        if self._scheduler.is_binding(key):
            return None  # its end has us look again
        if end := end_of(standing):
            return await self._end(key, task, end)
        waiting = held_back(standing) or self._scheduler.why(key)
        if waiting is None:
            self._waits.pop(key, None)
            return None
        return await self._say(key, task, standing, waiting)

    async def _say(self, key: Key, task: Object, standing: Standing, waiting: Waiting) -> float:
        now = self._clock()
        wait = self._waits.get(key)
        if wait is None or wait.uid != task["metadata"]["uid"]:
            wait = self._waits[key] = _Wait(task["metadata"]["uid"], standing, now)
        elif wait.standing is not standing:
            wait.standing, wait.since = standing, now
        word = word_on(
            waiting,
            scheduled_condition(task),
            waited_seconds=now - wait.since,
            written_seconds_ago=None if wait.written_at is None else now - wait.written_at,
        )
        if word.write:
            if not await self._write(task, status.waiting(task, waiting, self._now())):
                return AT_ONCE
            wait.written_at = self._clock()
            logger.info("waits task=%s reason=%s: %s", key, waiting.reason, waiting.message)
        return word.look_again_seconds

    async def _end(self, key: Key, task: Object, end: End) -> float:
        if await self._write(task, status.ended(task, end, self._now())):
            logger.info("ended task=%s reason=%s", key, end.reason)
        return AT_ONCE

    async def _write(self, task: Object, changes: status.Changes) -> bool:
        return await write_status(self._api, TASK, self._store, task, changes)

    def _retain(self, key: Key, task: Object) -> None:
        metadata = task["metadata"]
        ended_at = finished_at(task)
        if ended_at is None or metadata.get("deletionTimestamp"):
            self._retention.forget(key)
            return
        seconds = task["spec"].get("ttlSecondsAfterFinished")
        ttl = self._default_ttl if seconds is None else dt.timedelta(seconds=seconds)
        if self._retention.track(Finished(key, metadata["uid"], ended_at, ended_at + ttl)):
            self._on_finished()
