"""The operator's parts, put together in one place, and the list of what it places."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from weir_crds import host, task
from weir_crds.schema import Resource
from weir_kube.api import Api
from weir_kube.kinds import LEASE
from weir_kube.reflector import Reflector
from weir_kube.store import Store
from weir_kube.workqueue import WorkQueue
from weir_operator.cache import SlimStore
from weir_operator.controller import Controller, Reconciler, Source, WatchedKind
from weir_operator.host.liveness import Liveness
from weir_operator.host.reconcile import HostReconciler
from weir_operator.scheduling.binder import Binder
from weir_operator.scheduling.scheduler import Scheduler
from weir_operator.scheduling.watched import Placed, Watched
from weir_operator.scheduling.workload import Workload
from weir_operator.settings import Settings
from weir_operator.sweep import Sweep
from weir_operator.task.reconcile import TaskReconciler
from weir_operator.task.workload import TaskWorkload

_WORKERS = 8
_HOST_WORKERS = 4


W = TypeVar("W", bound=Workload)


@dataclass(frozen=True, slots=True)
class WorkloadKind(Generic[W]):
    """A kind that is placed on hosts."""

    resource: Resource
    workload: Callable[[], W]
    reconciler: Callable[[Api, Placed[W], Scheduler, Store, Liveness], Reconciler]
    """Of: where to write, the kind, scheduler, cache of Hosts, which of these live."""


WORKLOADS: Sequence[WorkloadKind[Any]] = (
    WorkloadKind(task.RESOURCE, partial(TaskWorkload, time.monotonic), TaskReconciler),
)


class Operator:
    """All of it but the process: what decides, over caches that a source fills."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        source: Source,
        workloads: Sequence[WorkloadKind[Any]] = WORKLOADS,
    ) -> None:
        """Put the parts together; nothing runs yet."""
        hosts = Watched(SlimStore(host.RESOURCE), WorkQueue(host.RESOURCE.kind.plural))
        placed = [
            Placed(SlimStore(one.resource), WorkQueue(one.resource.kind.plural), one.workload())
            for one in workloads
        ]
        self.scheduler = Scheduler(
            Binder(api), placed, hosts, drain_after_seconds=settings.drain_after_seconds
        )
        liveness = Liveness(hosts.store)
        leases = Reflector(
            api,
            LEASE,
            namespace=settings.system_namespace,
            on_change=lambda key: host_reconciler.observe_lease(key),  # noqa: PLW0108 (see below)
        )
        host_reconciler = HostReconciler(
            api,
            hosts.store,
            leases,
            self.scheduler,
            liveness=liveness,
            workloads=placed,
            system_namespace=settings.system_namespace,
            approve_pending=settings.approve_hosts,
        )
        kinds = [WatchedKind(host.RESOURCE, hosts, host_reconciler, _HOST_WORKERS)]
        for one, cache in zip(workloads, placed, strict=True):
            reconciler = one.reconciler(api, cache, self.scheduler, hosts.store, liveness)
            sweep = _sweep(api, settings, one.resource)
            kinds.append(WatchedKind(one.resource, cache, reconciler, _WORKERS, sweep))
        self.controller = Controller(source, kinds, [leases.run, self.scheduler.run])


def _sweep(api: Api, settings: Settings, resource: Resource) -> Sweep | None:
    if resource.lifetime is None:
        return None
    return Sweep(
        api,
        resource.kind,
        resource.lifetime,
        cap=settings.finished_tasks_per_namespace,
        default_ttl=settings.ttl_after_finished,
    )
