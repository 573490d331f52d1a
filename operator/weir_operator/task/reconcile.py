"""Bring one Task a step nearer to its spec: end it, unbind it, say why it waits, let it go."""

import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from weir_crds import retry
from weir_crds.conditions import Reason
from weir_crds.kinds import HOST, TASK
from weir_kube.api import Api
from weir_kube.store import Key, Object, Store, key_of
from weir_operator import metrics
from weir_operator.host.liveness import Liveness
from weir_operator.scheduling.messages import WaitReport
from weir_operator.scheduling.scheduler import Scheduler
from weir_operator.scheduling.watched import Placed
from weir_operator.scheduling.workload import Changes, workload_key
from weir_operator.task import status
from weir_operator.task.decide import (
    End,
    LostAction,
    LostVerdict,
    Standing,
    end_of,
    held_back,
    lost_verdict,
    report_verdict,
    scheduled_condition,
    scheduled_reason,
    standing_of,
)
from weir_operator.task.workload import TaskWorkload
from weir_operator.writes import refresh, write_status

logger = logging.getLogger(__name__)

AT_ONCE = 0.0
_WHY_AGAIN_SECONDS = 1.0


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
        tasks: Placed[TaskWorkload],
        scheduler: Scheduler,
        hosts: Store,
        liveness: Liveness,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a reconciler.

        Args:
            api: where to write.
            tasks: the cache of all Tasks, and what the scheduler judges them by.
            scheduler: what places them; it learns every change.
            hosts: cache of all Hosts.
            liveness: which of them are lost.
            now: the time, for what is written.
            clock: monotonic seconds, for how long a Task has waited.
        """
        self._api = api
        self._store = tasks.store
        self._hosts = hosts
        self._liveness = liveness
        self._scheduler = scheduler
        self._back_offs = tasks.workload.back_offs
        self._now = now
        self._clock = clock
        self._waits: dict[Key, _Wait] = {}

    def observe(self, key: Key) -> None:
        """As ``Reconciler.observe``."""
        self._scheduler.observe_workload(workload_key(TASK, key))

    async def reconcile(self, key: Key) -> float | None:
        """Look at a Task; safe at any time, any number of times.

        Returns:
            In how many seconds to look again; None: when something changes.

        Raises:
            WeirError: a write failed, or the Task asks for something invalid.
        """
        task = self._store.get(key)
        if task is None:
            self._waits.pop(key, None)
            self._back_offs.forget(key)
            return None
        time = self._back_offs.time_of(task, self._now())
        standing = standing_of(task, time)
        if standing is Standing.FINISHED:
            self._waits.pop(key, None)
            return None
        if self._scheduler.is_binding(workload_key(TASK, key)):
            return None  # its end has us look again
        if standing is Standing.STOPPED:
            return await self._unbind(key, task)
        if standing is Standing.BOUND:
            self._waits.pop(key, None)
            return await self._watch_host(key, task)
        if end := end_of(standing):
            return await self._end(key, task, end)
        self.observe(key)  # its back-off may be over, which is no change
        waiting = held_back(standing, task) or self._scheduler.why(workload_key(TASK, key))
        if waiting is None:
            if self._scheduler.is_waiting(workload_key(TASK, key)):
                return _WHY_AGAIN_SECONDS
            self._waits.pop(key, None)
            return None
        look_again = await self._report_waiting(key, task, standing, waiting)
        pause = retry.pause_of(task["spec"], task.get("status") or {})
        if standing is not Standing.BACKING_OFF or pause is None:
            return look_again
        return min(look_again, max(0.0, (pause.ends_at - time).total_seconds()))

    async def _watch_host(self, key: Key, task: Object) -> float | None:
        """See to a Task whose host is lost; the acknowledgement of a lost daemon never comes."""
        verdict = self._lost_verdict(task)
        if verdict.action is LostAction.WAIT:
            return verdict.look_again_seconds
        host = task["status"]["nodeName"]
        await self._refresh_host(host)
        verdict = self._lost_verdict(task)
        if verdict.action is LostAction.WAIT:
            return verdict.look_again_seconds
        if verdict.action is LostAction.UNBIND:
            return await self._unbind(key, task, lost=True)
        return await self._end(key, task, End(Reason.HOST_LOST, f"its host {host} was lost"))

    def _lost_verdict(self, task: Object) -> LostVerdict:
        return lost_verdict(task["spec"], self._liveness.lost_seconds(task["status"]["nodeName"]))

    async def _refresh_host(self, name: str) -> None:
        """Put into the cache what the API server has: one that is behind must not cost a run."""
        await refresh(self._api, HOST, self._hosts, Key("", name))
        self._scheduler.observe_host(name)

    async def _unbind(self, key: Key, task: Object, *, lost: bool = False) -> float:
        changes = status.unbound(task, self._now(), lost=lost)
        if await self._write(task, changes):
            why = Reason.HOST_LOST if lost else scheduled_reason(changes)
            metrics.UNBINDS.labels(why).inc()
            run, host = task["status"]["runID"], task["status"]["nodeName"]
            logger.info("unbound task=%s run=%d host=%s why=%s", key, run, host, why)
        return AT_ONCE

    async def _report_waiting(
        self, key: Key, task: Object, standing: Standing, waiting: WaitReport
    ) -> float:
        now = self._clock()
        wait = self._waits.get(key)
        if wait is None or wait.uid != task["metadata"]["uid"]:
            wait = self._waits[key] = _Wait(task["metadata"]["uid"], standing, now)
        elif wait.standing is not standing:
            wait.standing, wait.since = standing, now
        verdict = report_verdict(
            waiting,
            scheduled_condition(task),
            waited_seconds=now - wait.since,
            written_seconds_ago=None if wait.written_at is None else now - wait.written_at,
        )
        if verdict.write:
            if not await self._write(task, status.waiting(task, waiting, self._now())):
                return AT_ONCE
            wait.written_at = self._clock()
            logger.info("waits task=%s reason=%s: %s", key, waiting.reason, waiting.message)
        return verdict.look_again_seconds

    async def _end(self, key: Key, task: Object, end: End) -> float:
        if await self._write(task, status.ended(task, end, self._now())):
            logger.info("ended task=%s reason=%s", key, end.reason)
        return AT_ONCE

    async def _write(self, task: Object, changes: Changes) -> bool:
        is_written = await write_status(self._api, TASK, self._store, task, changes)
        self.observe(key_of(task))
        return is_written
