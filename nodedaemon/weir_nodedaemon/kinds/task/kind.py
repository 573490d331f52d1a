"""What Tasks give the machinery that all kinds share."""

from collections.abc import Mapping
from typing import Any

from weir_crds.kinds import TASK
from weir_kube.store import Key
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon.instances.fence_limits import FenceLimits, fence_limits
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.kind import InstanceKind
from weir_nodedaemon.instances.machinery import Machinery
from weir_nodedaemon.instances.pulls import Pulls
from weir_nodedaemon.kinds.task.reconcile import TaskReconciler
from weir_nodedaemon.kinds.task.start import Starter
from weir_nodedaemon.kinds.task.status_writer import StatusWriter
from weir_nodedaemon.kinds.task.store import TaskStore

# A host has few keys that fail at a time, and what they have to report is waited for.
_MAX_BACKOFF_SECONDS = 5.0


def task_kind(machinery: Machinery) -> InstanceKind:
    """Return Tasks on the container engine."""
    store = TaskStore(machinery.host)
    queue: WorkQueue[Key] = WorkQueue("tasks", max_backoff=_MAX_BACKOFF_SECONDS)
    status_writer = StatusWriter(machinery.api, store, machinery.clock)
    pulls = Pulls(machinery.containers, queue.add)
    starter = Starter(
        defaults=machinery.defaults,
        capacity=machinery.capacity,
        reader=machinery.api,
        engine=machinery.container_engine,
        containers=machinery.containers,
        starts=machinery.starts,
        shared_pool=machinery.shared_pool,
        pulls=pulls,
        probe=machinery.start_probe,
        status_writer=status_writer,
        collector=machinery.collector,
        queue=queue,
    )
    reconciler = TaskReconciler(
        store=store,
        engine=machinery.container_engine,
        collector=machinery.collector,
        starter=starter,
        stopper=machinery.stopper,
        fence=machinery.fence,
        status_writer=status_writer,
        journal=machinery.journal,
        queue=queue,
        clock=machinery.clock,
    )
    return InstanceKind(
        kind=TASK,
        engine=machinery.container_engine,
        store=store,
        queue=queue,
        reconcile=reconciler.reconcile,
        current=current_run,
        limits=limits,
        output=machinery.collector,
        breakers=((pulls.breaker, pulls.probe),),
        close=pulls.close,
    )


def current_run(task: Mapping[str, Any]) -> InstanceID | None:
    """Return the run of a Task; None: it has had none yet."""
    run = (task.get("status") or {}).get("runID")
    return None if run is None else InstanceID(task["metadata"]["uid"], run)


def limits(task: Mapping[str, Any]) -> FenceLimits | None:
    """Return how long a Task's container may live on while the Lease is not renewed."""
    return fence_limits(task["spec"])
