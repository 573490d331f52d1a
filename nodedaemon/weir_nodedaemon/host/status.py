"""What ``Host.status`` says of the machine. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weir_crds import conditions
from weir_crds.conditions import FALSE, TRUE, Condition, ConditionType, Reason
from weir_nodedaemon.machine.capacity import MachineCapacity
from weir_nodedaemon.machine.gpus.watch import GpuState

Object = dict[str, Any]

_NO_GPUS = GpuState()
_ENGINE_AWAY = "the container engine does not answer"


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Who the machine is: what does not change while the daemon runs."""

    name: str
    host_id: str
    endpoint: Mapping[str, str]
    addresses: list[dict[str, str]]
    info: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineState:
    """What is known of an engine; ``condition``: the Host's that says whether it is ready."""

    name: str
    version: str = ""
    ready: bool = False
    condition: ConditionType | None = None


@dataclass(frozen=True, slots=True)
class MachineState:
    """How the machine is now.

    Attributes:
        engines: what is known of each engine.
        capacity: the cores and the memory that work may have.
        gpus: its GPUs.
        full_disks: which disks are nearly full, in words; empty: none is.
        start_failures: why the last starts failed through no fault of the Tasks'; empty: starts
            succeed.
    """

    engines: tuple[EngineState, ...]
    capacity: MachineCapacity
    gpus: GpuState = _NO_GPUS
    full_disks: str = ""
    start_failures: str = ""


def new_host(identity: HostIdentity) -> Object:
    """Return the Host that a daemon creates; whether it may work is for others to say."""
    return {
        "metadata": {"name": identity.name, "labels": dict(identity.labels)},
        "spec": {"approval": "Pending", "hostID": identity.host_id},
    }


def host_changes(
    host: Mapping[str, Any], identity: HostIdentity, machine: MachineState, now: dt.datetime
) -> dict[str, Any]:
    """Return what the Host's status has to say; the operator's conditions stay as they are."""
    generation = host["metadata"].get("generation")
    before = (host.get("status") or {}).get("conditions")
    return {
        "observedGeneration": generation,
        "capacity": {
            **machine.capacity.as_status(),
            "gpus": [gpu.as_status() for gpu in machine.gpus.gpus],
        },
        "endpoint": dict(identity.endpoint),
        "addresses": list(identity.addresses),
        "info": dict(identity.info),
        "engines": [_engine(engine) for engine in machine.engines],
        "conditions": _Conditions(before, generation, now).of(machine),
    }


def _engine(engine: EngineState) -> dict[str, Any]:
    seen: dict[str, Any] = {"name": engine.name, "version": engine.version, "ready": engine.ready}
    return seen if engine.ready else {**seen, "message": _ENGINE_AWAY}


class _Conditions:
    """Sets one condition after the other."""

    def __init__(
        self, before: list[Condition] | None, generation: int | None, now: dt.datetime
    ) -> None:
        self._list = list(before or ())
        self._generation = generation
        self._now = now

    def of(self, machine: MachineState) -> list[Condition]:
        """Return the conditions as they are with the machine in that state."""
        # One engine that is away takes no work from the others.
        some = any(engine.ready for engine in machine.engines)
        self._ready(ConditionType.READY, some, Reason.DAEMON_READY)
        for engine in machine.engines:
            self._ready(engine.condition, engine.ready, Reason.ENGINE_READY)
        self._trouble(
            ConditionType.DISK_PRESSURE,
            (Reason.DISK_FULL, machine.full_disks),
            Reason.DISK_HAS_ROOM,
        )
        self._trouble(
            ConditionType.STARTS_FAILING,
            (Reason.REPEATED_FAILURES, machine.start_failures),
            Reason.START_SUCCEEDED,
        )
        self._gpus(machine.gpus)
        return self._list

    def _ready(self, type: ConditionType | None, ready: bool, reason: Reason) -> None:
        if type is not None:
            away = Reason.ENGINE_UNAVAILABLE
            self._set(type, ready, reason if ready else away, "" if ready else _ENGINE_AWAY)

    def _trouble(self, type: ConditionType, trouble: tuple[Reason, str], over: Reason) -> None:
        """Set a condition that is there from the first time on that it was True."""
        reason, message = trouble
        if message or conditions.get(self._list, type) is not None:
            self._set(type, bool(message), reason if message else over, message)

    def _gpus(self, gpus: GpuState) -> None:
        """Set GPUReady; where no GPU was ever seen, there is none."""
        if gpus.trouble:
            self._set(ConditionType.GPU_READY, False, Reason.GPUS_UNKNOWN, gpus.trouble)
        elif gpus.lost:
            message = f"lost: {'; '.join(gpus.lost)}"
            self._set(ConditionType.GPU_READY, False, Reason.GPU_LOST, message)
        elif gpus.gpus:
            self._set(ConditionType.GPU_READY, True, Reason.GPUS_READY, "")
        else:
            self._list = conditions.without(self._list, ConditionType.GPU_READY)

    def _set(self, type: ConditionType, is_true: bool, reason: Reason, message: str) -> None:
        self._list = conditions.set_condition(
            self._list,
            type,
            TRUE if is_true else FALSE,
            reason,
            message,
            now=self._now,
            observed_generation=self._generation,
        )
