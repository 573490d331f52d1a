"""A second kind that is placed, as unlike a Task as a kind may be: the Box.

It runs, stops and runs again on its host, as often as one likes: ``status.finishedAt`` is the end
of a run and nothing more. What ends it is ``status.retiredAt``.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weir_crds.demand import holding_of, request_of
from weir_crds.kinds import GROUP, VERSION, Kind
from weir_crds.schema import Component, Lifetime, Model, Resource
from weir_kube.api import Api
from weir_kube.store import Key, Store
from weir_operator.host.liveness import Liveness
from weir_operator.scheduling.messages import WaitReport
from weir_operator.scheduling.place import Placement
from weir_operator.scheduling.scheduler import Scheduler
from weir_operator.scheduling.watched import Placed
from weir_operator.scheduling.workload import NO_CLAIM, Changes, Claim, workload_key
from weir_operator.wiring import WorkloadKind
from weir_operator.writes import write_status

BOX = Kind(GROUP, VERSION, "boxes", "Box", namespaced=True)
RESOURCE = Resource(
    kind=BOX,
    model=Model,
    singular="box",
    short_names=("wb",),
    columns=(),
    watched_by=frozenset(Component),
    is_workload=True,
    lifetime=Lifetime(ended_at=("status", "retiredAt"), ttl_seconds=("spec", "keepSeconds")),
)


def box(name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """Return a Box of one core that is to run."""
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"running": True, **spec},
    }


class BoxWorkload:
    """Implements ``Workload``."""

    kind = BOX

    def claim(self, obj: Mapping[str, Any], now: dt.datetime) -> Claim:
        """Running it holds; stopped it holds nothing, and wants its host again to run."""
        status = obj.get("status") or {}
        host = status.get("nodeName")
        if status.get("retiredAt"):
            return NO_CLAIM
        if host and not status.get("stopped"):
            return Claim(holds=holding_of(obj))
        if not obj["spec"]["running"]:
            return NO_CLAIM
        return Claim(wants=replace(request_of(obj), host_name=host))

    def bound(self, obj: Mapping[str, Any], placement: Placement, now: dt.datetime) -> Changes:
        """As ``Workload.bound``."""
        return {
            "nodeName": placement.host,
            "cpus": list(placement.cpus),
            "stopped": None,
            "waiting": None,
        }

    def waiting(self, obj: Mapping[str, Any], why: WaitReport, now: dt.datetime) -> Changes:
        """As ``Workload.waiting``."""
        return {"waiting": str(why.reason)}


class BoxReconciler:
    """Says why a Box waits."""

    def __init__(
        self,
        api: Api,
        boxes: Placed[BoxWorkload],
        scheduler: Scheduler,
        hosts: Store,
        liveness: Liveness,
    ) -> None:
        self._api = api
        self._store = boxes.store
        self._scheduler = scheduler
        self._liveness = liveness
        self._workload = boxes.workload

    def observe(self, key: Key) -> None:
        self._scheduler.observe_workload(workload_key(BOX, key))

    async def reconcile(self, key: Key) -> float | None:
        self.observe(key)
        obj = self._store.get(key)
        if obj is None:
            return None
        host = (obj.get("status") or {}).get("nodeName")
        changes: Changes = {}
        if host:
            changes["isLost"] = self._liveness.lost_seconds(host) is not None
        if why := self._scheduler.why(workload_key(BOX, key)):
            changes |= self._workload.waiting(obj, why, dt.datetime.now(dt.UTC))
        await write_status(self._api, BOX, self._store, obj, changes)
        return None


BOXES = WorkloadKind(RESOURCE, BoxWorkload, BoxReconciler)
