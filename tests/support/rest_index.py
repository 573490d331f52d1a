"""A WorkloadIndex over caches that a test fills itself."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from weir_api.hostapi.entries import Workload
from weir_api.hostapi.known_hosts import KnownHosts
from weir_api.hostapi.tasks.view import TaskWorkload
from weir_api.hostapi.usernames import Usernames
from weir_api.hostapi.workloads import WorkloadIndex
from weir_api.state.caches import Caches
from weir_crds.kinds import HOST, TASK, USER, Kind
from weir_kube.api import Api

_KINDS = {"Task": TASK, "Host": HOST, "User": USER}


@dataclass
class World:
    """Caches that follow nothing, and what stands on them."""

    caches: Caches = field(default_factory=lambda: Caches(cast(Api, None)))
    workloads: Sequence[Workload] = (TaskWorkload(),)
    clock: Callable[[], float] = time.monotonic
    hosts: KnownHosts = field(init=False)
    usernames: Usernames = field(init=False)
    index: WorkloadIndex = field(init=False)

    def __post_init__(self) -> None:
        """Put the index over the caches."""
        self.hosts = KnownHosts(self.caches)
        self.usernames = Usernames(self.caches)
        self.index = WorkloadIndex(
            self.caches, self.hosts, self.usernames, self.workloads, self.clock
        )

    def put(self, *objects: dict[str, Any]) -> None:
        """Have objects be there, in this order."""
        for obj in objects:
            self.caches.note(self._kind(obj), obj)

    def take(self, *objects: dict[str, Any]) -> None:
        """Have objects be gone."""
        for obj in objects:
            self.caches.note(self._kind(obj), obj, deleted=True)

    @staticmethod
    def _kind(obj: dict[str, Any]) -> Kind:
        return _KINDS[obj["kind"]]
