"""The operator's caches, queues and loops, put together; kopf feeds it, see ``main.py``."""

import asyncio
import logging
import random
import time
from typing import NoReturn

from weir_crds.kinds import HOST, TASK, Kind
from weir_kube.api import Api
from weir_kube.errors import ApiError
from weir_kube.kinds import LEASE
from weir_kube.reflector import Reflector
from weir_kube.store import Key, Object, Store, key_of
from weir_kube.workqueue import WorkQueue
from weir_operator import metrics
from weir_operator.cache import SlimStore, slim
from weir_operator.host.liveness import Liveness
from weir_operator.host.reconcile import HostReconciler
from weir_operator.scheduling.binder import Binder
from weir_operator.scheduling.scheduler import Placed, Scheduler, Watched
from weir_operator.scheduling.workload import workload_key
from weir_operator.settings import Settings
from weir_operator.task.reconcile import TaskReconciler
from weir_operator.task.retention import Retention
from weir_operator.task.sweep import Sweep
from weir_operator.task.workload import TaskWorkload

logger = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
_TASK_WORKERS = 8
_HOST_WORKERS = 4
_RETRY_SECONDS = 1.0
_HOST_OF = "host"
# A relist of kopf's comes as a burst of events, a thousand a second: one full list answers all.
_BURST_PAUSE_SECONDS = 1.0
_BURST_SECONDS = 15.0


def _host_of(task: Object) -> list[str]:
    """Return the host of a bound Task that has not finished."""
    status = task.get("status") or {}
    host = status.get("nodeName")
    return [] if host is None or status.get("finishedAt") else [host]


class Controller:
    """Everything but kopf: an event goes in by ``took_event``, writes come out."""

    def __init__(self, api: Api, settings: Settings) -> None:
        """Put the parts together; nothing runs yet."""
        self._api = api
        self._stores: dict[Kind, Store] = {TASK: SlimStore(), HOST: SlimStore()}
        self._task_queue: WorkQueue[Key] = WorkQueue("tasks")
        self._host_queue: WorkQueue[Key] = WorkQueue("hosts")
        self._queues = {TASK: self._task_queue, HOST: self._host_queue}
        self.scheduler = Scheduler(
            Binder(api),
            [Placed(self._stores[TASK], self._task_queue, TaskWorkload())],
            Watched(self._stores[HOST], self._host_queue),
        )
        self._stores[TASK].add_index(_HOST_OF, _host_of)
        self._liveness = Liveness(self._stores[HOST])
        retention = Retention(settings.finished_tasks_per_namespace)
        self._sweep = Sweep(api, retention, on_failed=self._task_queue.add)
        self._task_reconciler = TaskReconciler(
            api,
            self._stores[TASK],
            self.scheduler,
            retention,
            hosts=self._stores[HOST],
            liveness=self._liveness,
            default_ttl=settings.ttl_after_finished,
            on_finished=self._sweep.wake,
        )
        self._leases = Reflector(
            api,
            LEASE,
            namespace=settings.system_namespace,
            on_change=self._lease_changed,
        )
        self._host_reconciler = HostReconciler(
            api,
            self._stores[HOST],
            self._leases,
            self.scheduler,
            liveness=self._liveness,
            bound=self,
            system_namespace=settings.system_namespace,
            approve_pending=settings.approve_hosts,
        )
        self._wanted: set[Kind] = set()
        self._relisted_at = 0.0
        self._resync_now = asyncio.Event()
        self.primed = asyncio.Event()
        """Set when the caches are full, so that decisions are made."""

    def took_event(self, kind: Kind, event_type: str | None, obj: Object) -> None:
        """Take one watch event of kopf: cache it and have its key looked at, nothing more.

        A None type comes from a list of kopf's, which tells nothing of what was deleted meanwhile:
        so a full list of ours follows.
        """
        key = self._stores[kind].apply(event_type, obj)
        if key is not None:
            self._changed(kind, key)
        if event_type is None:
            self._wanted.add(kind)
            self._relisted_at = time.monotonic()
            self._resync_now.set()

    async def prime(self) -> None:
        """Fill the caches, ledger and queue; until it is done nothing may be decided."""
        for kind in (HOST, TASK):
            while True:
                try:
                    await self._list(kind, "start")
                    break
                except ApiError as exc:
                    logger.warning("cannot list %s yet: %s: %s", kind.plural, exc.reason, exc)
                    await asyncio.sleep(_RETRY_SECONDS)
        self.primed.set()
        sizes = (len(self._stores[TASK]), len(self._stores[HOST]))
        logger.info("caches are full tasks=%d hosts=%d", *sizes)

    async def run(self) -> NoReturn:
        """Decide and act for ever; ``prime`` comes first."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leases.run(), name="leases")
            group.create_task(self._task_queue.run(self._task_reconciler.reconcile, _TASK_WORKERS))
            group.create_task(self._host_queue.run(self._host_reconciler.reconcile, _HOST_WORKERS))
            group.create_task(self.scheduler.run(), name="scheduler")
            group.create_task(self._sweep.run(), name="sweep")
            group.create_task(self._resync(), name="resync")
        raise AssertionError("these run for ever")

    async def _resync(self) -> NoReturn:
        while True:
            why = "time"
            try:
                async with asyncio.timeout(RESYNC_SECONDS * random.uniform(0.9, 1.0)):  # noqa: S311
                    await self._resync_now.wait()
                    why = "relist"
            except TimeoutError:
                self._wanted.update(self._stores)
            await self._burst_over()
            self._resync_now.clear()
            wanted, self._wanted = self._wanted, set()
            for kind in sorted(wanted, key=lambda kind: kind.plural):
                try:
                    await self._list(kind, why)
                except ApiError as exc:
                    logger.warning("cannot list %s: %s: %s", kind.plural, exc.reason, exc)
                    self._wanted.add(kind)
            if self._wanted:
                await asyncio.sleep(_RETRY_SECONDS)
                self._resync_now.set()

    async def _burst_over(self) -> None:
        give_up = time.monotonic() + _BURST_SECONDS
        while (now := time.monotonic()) < give_up:
            pause = self._relisted_at + _BURST_PAUSE_SECONDS - now
            if pause <= 0:
                return
            await asyncio.sleep(pause)

    async def _list(self, kind: Kind, why: str) -> None:
        listed = await self._api.list(kind, transform=slim)
        metrics.RESYNCS.labels(why).inc()
        changed = self._stores[kind].replace(listed.items, listed.resource_version)
        if why != "start" and changed:
            logger.info("full list told news of %d %s", len(changed), kind.plural)
        for key in sorted(changed):
            self._changed(kind, key)

    def _changed(self, kind: Kind, key: Key) -> None:
        """Bring ledger and queue in step with the cache, whatever the workers are held up by."""
        try:
            if kind is TASK:
                self.scheduler.observe_workload(workload_key(TASK, key))
            else:
                self._host_reconciler.observe(key)
        except Exception as exc:  # one odd object must not hide the others
            logger.warning("left alone %s %s: %r", kind.kind, key, exc)
        self._queues[kind].add(key)

    def requeue(self, host: str) -> None:
        """Have all Tasks looked at that are bound to a host."""
        for task in self._stores[TASK].by_index(_HOST_OF, host):
            self._task_queue.add(key_of(task))

    def _lease_changed(self, key: Key) -> None:
        self._host_reconciler.observe_lease(key)
