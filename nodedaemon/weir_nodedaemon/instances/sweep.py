"""Remove what has no Task any more: containers, and logs in the state directory.

A run of a Task that lives on elsewhere (its host was lost, and is back) loses its container too,
but its output stays here for as long as the Task is there.

Unknown is not gone: the cache has had a consistent full list since the start, and before anything
is removed the API server is asked for that very object. While it does not answer, nothing goes.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable

from weir_crds import names
from weir_crds.errors import WeirError
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.errors import NotFoundError
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import (
    ContainerEngine,
    EngineUnavailableError,
    InstanceState,
    ObservedInstance,
)
from weir_nodedaemon.instances.journal import InstanceID, Journal, JournalEntry
from weir_nodedaemon.instances.observations import Observations
from weir_nodedaemon.kinds.task.store import TaskStore
from weir_nodedaemon.logs.store import LogStore

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 5.0
_KILL_AGAIN_SECONDS = 2.0
_TOLD_ELSEWHERE_SECONDS = 3600.0


class Sweep:
    """Finds orphans and ends them: TERM, the grace, KILL, remove."""

    def __init__(
        self,
        *,
        host: str,
        api: Api,
        store: TaskStore,
        engine: ContainerEngine,
        observations: Observations,
        records: Journal,
        logs: LogStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sweep what ``store`` and the API server do not know; ``queue`` runs ``handle``."""
        self.queue: WorkQueue[str] = WorkQueue("orphans")
        self._host = host
        self._api = api
        self._store = store
        self._engine = engine
        self._observations = observations
        self._journal = records
        self._logs = logs
        self._clock = clock
        self._kill_at: dict[str, float] = {}  # of orphans that were sent TERM
        self._elsewhere: dict[str, float] = {}  # uids whose Task lives, but not here

    def look(self) -> None:
        """Have a look at every container that the cache cannot explain."""
        for name, container in self._observations.containers.items():
            if not self._explained(container):
                self.queue.add(name)

    async def handle(self, name: str) -> float | None:
        """Bring one container nearer to its end if it is an orphan.

        Returns:
            Seconds until the next look; None: when something changes.

        Raises:
            WeirError: the API server or the engine did not answer; nothing was removed.
        """
        if not self._store.has_synced:
            return _LOOK_AGAIN_SECONDS
        container = await self._observations.observe(name)
        if container is None or self._explained(container):
            self._kill_at.pop(name, None)
            return None
        if name not in self._kill_at and not await self._is_orphan(container):
            return _LOOK_AGAIN_SECONDS  # the cache lags behind
        if container.state in (InstanceState.RUNNING, InstanceState.PAUSED):
            return await self._stop(name, container)
        if container.state is InstanceState.EXITED:
            await self._keep_output(container)
        await self._engine.remove(name)
        self._observations.forget(name)
        self._kill_at.pop(name, None)
        metrics.ORPHANS_REMOVED.inc()
        logger.info("removed orphan container=%s", name)
        return None

    async def sweep_logs(self) -> None:
        """Remove the logs and records of Tasks that are gone.

        Raises:
            WeirError: the API server or the disk did not answer; the rest stays for the next time.
        """
        if not self._store.has_synced:
            return
        records = self._journal.uids()
        stored = await asyncio.to_thread(self._logs.uids)
        alive = {container.labels.get(names.LABEL_UID) for container in self._containers()}
        for uid in sorted((stored | records.keys()) - alive):
            if self._store.of_uid(uid) is not None:
                continue
            record = records.get(uid)
            if record is not None and await self._lives_elsewhere(
                uid, record.namespace, record.name
            ):
                continue
            await self._logs.remove(uid)
            self._journal.remove(uid)
            logger.info("removed logs uid=%s", uid)

    def _containers(self) -> list[ObservedInstance]:
        return list(self._observations.containers.values())

    def _explained(self, container: ObservedInstance) -> bool:
        labels = container.labels
        if labels.get(names.LABEL_KIND) != TASK.kind:
            return True  # not ours to judge
        task = self._store.of_uid(labels.get(names.LABEL_UID, ""))
        return task is not None and str(task["status"].get("runID")) == labels.get(names.LABEL_RUN)

    async def _is_orphan(self, container: ObservedInstance) -> bool:
        """Ask the API server; what it says is final: runID only grows, and uids never return."""
        labels = container.labels
        try:
            task = await self._api.get(
                TASK, labels[names.LABEL_NAME], labels[names.LABEL_NAMESPACE]
            )
        except NotFoundError:
            return True
        status = task.get("status") or {}
        return (
            task["metadata"]["uid"] != labels.get(names.LABEL_UID)
            or status.get("nodeName") != self._host
            or str(status.get("runID")) != labels.get(names.LABEL_RUN)
        )

    async def _keep_output(self, container: ObservedInstance) -> None:
        """Archive the output if the Task is still there; that it fails holds nothing up."""
        labels = container.labels
        uid, run = labels[names.LABEL_UID], int(labels[names.LABEL_RUN])
        namespace, name = labels[names.LABEL_NAMESPACE], labels[names.LABEL_NAME]
        if not await self._lives_elsewhere(uid, namespace, name):
            return
        id = InstanceID(uid, run)
        if self._journal.get(id) is None:
            self._journal.put(id, JournalEntry(namespace, name, started=True))
        try:
            await self._logs.archive(uid, run, self._engine.logs(container.name))
        except EngineUnavailableError:
            raise
        except WeirError as exc:
            metrics.LOGS_LOST.labels(exc.reason).inc()
            logger.warning("output is lost container=%s: %s", container.name, exc)

    async def _stop(self, name: str, container: ObservedInstance) -> float:
        kill_at = self._kill_at.get(name)
        if kill_at is None:
            grace = float(container.stop_grace_seconds)
            logger.info("stopping orphan container=%s grace=%s", name, grace)
            await self._engine.signal(name, signal.SIGTERM)
            self._kill_at[name] = self._clock() + grace
            return grace
        left = kill_at - self._clock()
        if left > 0:
            return left
        await self._engine.signal(name, signal.SIGKILL)
        return _KILL_AGAIN_SECONDS

    async def _lives_elsewhere(self, uid: str, namespace: str, name: str) -> bool:
        told_at = self._elsewhere.get(uid)
        if told_at is not None and self._clock() - told_at < _TOLD_ELSEWHERE_SECONDS:
            return True
        try:
            task = await self._api.get(TASK, name, namespace)
        except NotFoundError:
            task = None
        if task is not None and task["metadata"]["uid"] == uid:
            self._elsewhere[uid] = self._clock()
            return True
        self._elsewhere.pop(uid, None)
        return False
