"""What the operator has of a kind: the cache of its objects, and the queue of its reconciles."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from weir_kube.store import Key, Store
from weir_kube.workqueue import WorkQueue
from weir_operator.scheduling.workload import Workload


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind that the operator watches: the cache of its objects, and the queue of reconciles."""

    store: Store
    queue: WorkQueue[Key]


W_co = TypeVar("W_co", bound=Workload, covariant=True)


@dataclass(frozen=True, slots=True)
class Placed(Watched, Generic[W_co]):
    """A kind whose objects are placed on hosts."""

    workload: W_co
