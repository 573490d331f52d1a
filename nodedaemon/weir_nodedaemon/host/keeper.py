"""The daemon's own Host: made if absent, kept true, never rewritten while nothing changes."""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, TRUE, Condition, ConditionType, Reason
from weir_crds.errors import WeirError
from weir_crds.facts import is_external
from weir_crds.kinds import HOST
from weir_crds.quantities import memory_bytes
from weir_kube.api import Api
from weir_kube.errors import AlreadyExistsError, ConflictError
from weir_kube.status import patch_status
from weir_kube.store import Key, Store
from weir_nodedaemon.instances.holdings import HostShare
from weir_nodedaemon.machine.gpus.watch import GpuState

logger = logging.getLogger(__name__)

_NO_GPUS = GpuState()

Object = dict[str, Any]


class ForeignHostError(WeirError):
    """The Host of our name belongs to another machine: two may not act as one."""

    reason = "ForeignHost"
    fatal = True


@dataclass(frozen=True, slots=True)
class EngineState:
    """What is known of the container engine."""

    name: str
    version: str = ""
    ready: bool = False


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What does not change while the daemon runs, as ``Host.status`` has it.

    ``capacity`` is without GPUs: those come and go.
    """

    name: str
    host_id: str
    capacity: Mapping[str, Any]
    endpoint: Mapping[str, str]
    addresses: list[dict[str, str]]
    info: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


def new_host(facts: HostFacts) -> Object:
    """Return the Host that a daemon creates; whether it may work is for others to say."""
    return {
        "metadata": {"name": facts.name, "labels": dict(facts.labels)},
        "spec": {"approval": "Pending", "hostID": facts.host_id},
    }


def host_changes(
    host: Mapping[str, Any],
    facts: HostFacts,
    engine: EngineState,
    now: dt.datetime,
    *,
    gpus: GpuState = _NO_GPUS,
    disk_pressure: bool = False,
) -> dict[str, Any]:
    """Return what the Host's status has to say; the operator's conditions stay as they are."""
    told = (host.get("status") or {}).get("conditions")
    generation = host["metadata"].get("generation")
    state = TRUE if engine.ready else FALSE
    away = "the container engine does not answer"
    for type, reason in (
        (ConditionType.READY, Reason.DAEMON_READY),
        (ConditionType.DOCKER_READY, Reason.ENGINE_READY),
    ):
        told = conditions.set_condition(
            told,
            type,
            state,
            reason if engine.ready else Reason.ENGINE_UNAVAILABLE,
            "" if engine.ready else away,
            now=now,
            observed_generation=generation,
        )
    if disk_pressure or conditions.get(told, ConditionType.DISK_PRESSURE) is not None:
        told = conditions.set_condition(
            told,
            ConditionType.DISK_PRESSURE,
            TRUE if disk_pressure else FALSE,
            Reason.DISK_FULL if disk_pressure else Reason.DISK_HAS_ROOM,
            "the disk of the daemon's state directory is nearly full" if disk_pressure else "",
            now=now,
            observed_generation=generation,
        )
    told = _with_gpus(told, gpus, generation, now)
    seen: dict[str, Any] = {"name": engine.name, "version": engine.version, "ready": engine.ready}
    if not engine.ready:
        seen["message"] = away
    return {
        "observedGeneration": generation,
        "capacity": {**facts.capacity, "gpus": [gpu.as_status() for gpu in gpus.gpus]},
        "endpoint": dict(facts.endpoint),
        "addresses": list(facts.addresses),
        "info": dict(facts.info),
        "engines": [seen],
        "conditions": told,
    }


def _with_gpus(
    told: list[Condition] | None, gpus: GpuState, generation: int | None, now: dt.datetime
) -> list[Condition]:
    """Return the conditions with GPUReady as it is; where no GPU was ever seen, there is none."""
    if gpus.trouble:
        state, reason, message = FALSE, Reason.GPUS_UNKNOWN, gpus.trouble
    elif gpus.lost:
        state, reason, message = FALSE, Reason.GPU_LOST, f"lost: {'; '.join(gpus.lost)}"
    elif gpus.gpus:
        state, reason, message = TRUE, Reason.GPUS_READY, ""
    else:
        return conditions.without(told, ConditionType.GPU_READY)
    return conditions.set_condition(
        told,
        ConditionType.GPU_READY,
        state,
        reason,
        message,
        now=now,
        observed_generation=generation,
    )


def share_of(host: Mapping[str, Any], cpus: frozenset[int], total_bytes: int) -> HostShare:
    """Return what may be given to work, by what an administrator has reserved."""
    reserved = (host.get("spec") or {}).get("reserved") or {}
    return HostShare(
        cpus=cpus,
        memory_bytes=total_bytes,
        reserved_cpus=frozenset(reserved.get("cpus") or ()),
        reserved_memory_bytes=memory_bytes(reserved.get("memory") or 0),
    )


class HostKeeper:
    """Reconciles the Host with what the daemon knows."""

    def __init__(
        self,
        api: Api,
        store: Store,
        facts: HostFacts,
        engine: Callable[[], EngineState | None],
        *,
        gpus: Callable[[], GpuState | None] = lambda: _NO_GPUS,
        disk_pressure: Callable[[], bool] = lambda: False,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Keep the Host in ``store`` as these say; None of an engine or GPUs: not known yet."""
        self._api = api
        self._store = store
        self._facts = facts
        self._engine = engine
        self._gpus = gpus
        self._disk_pressure = disk_pressure
        self._now = now

    async def reconcile(self, key: Key) -> dt.timedelta | None:
        """Create the Host if it is not there, and tell what is not told yet.

        Raises:
            ForeignHostError: it is not this machine's; nothing was written.
            ApiError: the API server did not answer, or refused.
        """
        host = self._store.get(key)
        if host is None:
            try:
                host = await self._api.create(HOST, new_host(self._facts))
            except AlreadyExistsError:
                return await self._refresh(key)
            logger.info("created host=%s", key)
            self._store.apply("ADDED", host)
        self.check_owner(host)
        engine, gpus = self._engine(), self._gpus()
        if engine is None or gpus is None:
            return None  # a restart is no reason to call a host unready
        changes = host_changes(
            host,
            self._facts,
            engine,
            self._now(),
            gpus=gpus,
            disk_pressure=self._disk_pressure(),
        )
        try:
            written = await patch_status(self._api, HOST, host, changes)
        except ConflictError:
            return await self._refresh(key)
        self._store.apply("MODIFIED", written)
        return None

    def check_owner(self, host: Mapping[str, Any]) -> None:
        """Raise ForeignHostError if the Host was made by another machine, or is external."""
        if is_external(host):
            raise ForeignHostError(
                f"Host {self._facts.name} is external, a runner of another make reports for it:"
                " choose another --host-name, or delete that Host first"
            )
        owner = host["spec"].get("hostID")
        if owner not in (None, self._facts.host_id):
            raise ForeignHostError(
                f"Host {self._facts.name} belongs to the machine with hostID {owner}, this one has"
                f" {self._facts.host_id}: choose another --host-name, or delete that Host first"
            )

    async def _refresh(self, key: Key) -> dt.timedelta:
        self._store.apply("MODIFIED", await self._api.get(HOST, key.name))
        return dt.timedelta(0)
