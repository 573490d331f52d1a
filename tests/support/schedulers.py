"""A scheduler of Tasks over stores that a test fills by hand."""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from weir_kube.store import Store
from weir_kube.workqueue import WorkQueue
from weir_operator.scheduling.binder import Binder
from weir_operator.scheduling.scheduler import Scheduler
from weir_operator.scheduling.watched import Placed, Watched
from weir_operator.task.workload import TaskWorkload


def task_scheduler(
    api: Any,
    tasks: Store,
    hosts: Store,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    workload: TaskWorkload | None = None,
    **more: Any,
) -> Scheduler:
    """Return a scheduler whose queues of reconciles nobody works off; ``more`` as it takes."""
    return Scheduler(
        Binder(api, now=now),
        [Placed(tasks, WorkQueue("tasks"), workload or TaskWorkload(time.monotonic))],
        Watched(hosts, WorkQueue("hosts")),
        now=now,
        **more,
    )
