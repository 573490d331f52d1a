"""What the operator has of a kind: the cache of its objects, and the queue of its reconciles."""

from dataclasses import dataclass

from weir_kube.store import Key, Store
from weir_kube.workqueue import WorkQueue
from weir_operator.scheduling.workload import Workload


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind that the operator watches: the cache of its objects, and the queue of reconciles."""

    store: Store
    queue: WorkQueue[Key]


@dataclass(frozen=True, slots=True)
class Placed(Watched):
    """A kind whose objects are placed on hosts."""

    workload: Workload
