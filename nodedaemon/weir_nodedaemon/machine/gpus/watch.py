"""The GPUs of this host: looked at again and again, with indices that do not move.

The driver counts GPUs anew when one is gone, and Tasks hold them by index. So a GPU keeps the index
it was first seen with until the machine boots again; a small file remembers, and is only a hint:
without it a lost GPU is forgotten, and the driver's own count holds.
"""

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from weir_nodedaemon.files import write_json
from weir_nodedaemon.machine.gpus.port import Gpu, GpuLoad, GpuProbe, GpuReading, GpusUnknownError

logger = logging.getLogger(__name__)

_LABELS = ["index", "uuid"]

GPUS = Gauge("weir_daemon_gpus", "GPUs of this host, by state: ready or lost.", ["state"])
UTILISATION = Gauge(
    "weir_daemon_gpu_utilisation_ratio", "Part of the time that a GPU was at work, 0 to 1.", _LABELS
)
MEMORY = Gauge("weir_daemon_gpu_memory_bytes", "Memory of a GPU.", _LABELS)
MEMORY_USED = Gauge("weir_daemon_gpu_memory_used_bytes", "Memory in use on a GPU.", _LABELS)
TEMPERATURE = Gauge("weir_daemon_gpu_temperature_celsius", "Temperature of a GPU.", _LABELS)
POWER = Gauge("weir_daemon_gpu_power_watts", "Power that a GPU draws.", _LABELS)


@dataclass(frozen=True, slots=True)
class GpuState:
    """The GPUs that may be given to work, and what is wrong with the others."""

    gpus: tuple[Gpu, ...] = ()
    lost: tuple[str, ...] = ()
    """Each that does not answer (any more), in words."""
    trouble: str = ""
    """Why nothing is known of them at all; empty: it is."""


def resolve(known: Collection[Gpu], reading: GpuReading) -> tuple[GpuState, tuple[Gpu, ...]]:
    """Return what a reading means, and all GPUs known from now on. Pure.

    Args:
        known: every GPU seen since the machine booted.
        reading: what the driver tells now.
    """
    index_of = {gpu.uuid: gpu.index for gpu in known}
    taken = set(index_of.values())
    found: list[Gpu] = []
    for gpu in reading.gpus:
        index = index_of.get(gpu.uuid)
        if index is None:
            index = next(free for free in count(gpu.index) if free not in taken)
            taken.add(index)
        found.append(replace(gpu, index=index))
    seen = {gpu.uuid for gpu in found}
    missing = sorted((gpu for gpu in known if gpu.uuid not in seen), key=_index)
    named = {gpu.index for gpu in missing}
    lost = [f"gpu {g.index} ({g.name}, {g.uuid}, {g.pci_address})" for g in missing]
    lost += [f"gpu {s.index} ({s.error})" for s in reading.silent if s.index not in named]
    gpus = tuple(sorted(found, key=_index))
    return GpuState(gpus, tuple(lost)), tuple(sorted([*gpus, *missing], key=_index))


def _index(gpu: Gpu) -> int:
    return gpu.index


class GpuMemory:
    """Remembers the GPUs seen since the machine booted, in a file."""

    def __init__(self, path: Path, boot_id: str) -> None:
        """Read what was noted since that boot; what cannot be read is nothing."""
        self._path = path
        self._boot_id = boot_id
        self.known: tuple[Gpu, ...] = ()
        try:
            noted = json.loads(path.read_text())
            if noted["bootID"] == boot_id:
                self.known = tuple(Gpu(**gpu) for gpu in noted["gpus"])
        except (OSError, ValueError, KeyError, TypeError):
            return

    def note(self, known: tuple[Gpu, ...]) -> None:
        """Remember these from now on."""
        if known == self.known:
            return
        self.known = known
        noted = {"bootID": self._boot_id, "gpus": [dataclasses.asdict(gpu) for gpu in known]}
        try:
            write_json(self._path, noted)
        except OSError as exc:
            logger.warning("GPUs not noted: %s", exc)


class GpuWatch:
    """Looks at the GPUs, and says when something is new."""

    def __init__(
        self,
        probe: GpuProbe,
        memory: GpuMemory,
        *,
        only: Collection[str] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Look at nothing yet.

        Args:
            probe: who is asked.
            memory: what was seen before.
            only: uuids of those that this daemon may use; None: all. With a choice, a GPU that
                never answered is nobody's.
            on_change: called when ``state`` has changed.
        """
        self._probe = probe
        self._memory = memory
        self._only = None if only is None else frozenset(only)
        self._loads: Mapping[str, GpuLoad] = {}
        self.on_change = on_change
        self.state: GpuState | None = None
        """None: not looked at yet."""

    async def run(self, period_seconds: float, idle_period_seconds: float) -> None:
        """Look until cancelled: rarely while no GPU is there, or one that wants to be woken."""
        while True:
            state = await self.look()
            healthy = state.gpus and not state.lost
            await asyncio.sleep(period_seconds if healthy else idle_period_seconds)

    async def look(self) -> GpuState:
        """Look now; a failure is a state, too."""
        try:
            reading = self._chosen(await self._probe.look())
        except GpusUnknownError as exc:
            return self._publish(GpuState(trouble=str(exc)), {})
        except Exception as exc:
            logger.exception("GPUs cannot be looked at")
            return self._publish(GpuState(trouble=f"unexpected: {exc!r}"), {})
        known = [gpu for gpu in self._memory.known if self._may_use(gpu)]
        state, known_now = resolve(known, reading)
        self._memory.note(known_now)
        return self._publish(state, reading.loads)

    def figures(self) -> list[dict[str, Any]]:
        """Return how busy the GPUs were at the last look, as it goes over the wire."""
        return [
            _figures(gpu, self._loads.get(gpu.uuid, GpuLoad()))
            for gpu in (self.state or GpuState()).gpus
        ]

    def _chosen(self, reading: GpuReading) -> GpuReading:
        if self._only is None:
            return reading
        return replace(reading, gpus=tuple(filter(self._may_use, reading.gpus)), silent=())

    def _may_use(self, gpu: Gpu) -> bool:
        return self._only is None or gpu.uuid in self._only

    def _publish(self, state: GpuState, loads: Mapping[str, GpuLoad]) -> GpuState:
        _show(state.gpus, loads, len(state.lost))
        self._loads = loads
        before, self.state = self.state, state
        if before != state:
            _log(before, state)
            self.on_change()
        return state


def _log(before: GpuState | None, state: GpuState) -> None:
    if state.trouble:
        logger.error("GPUs: %s", state.trouble)
    elif state.lost:
        logger.error("GPUs lost: %s", "; ".join(state.lost))
    elif state.gpus or before is not None:
        logger.info(
            "GPUs: %s", ", ".join(f"{gpu.index}={gpu.uuid}" for gpu in state.gpus) or "none"
        )


def _figures(gpu: Gpu, load: GpuLoad) -> dict[str, Any]:
    row: dict[str, Any] = {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "pciAddress": gpu.pci_address,
        "driver": gpu.driver,
    }
    memory = {"totalBytes": gpu.memory_bytes}
    if load.memory_used_bytes is not None:
        memory["usedBytes"] = load.memory_used_bytes
    row["memory"] = memory
    figures = {
        "utilisationPercent": load.utilisation_percent,
        "memoryUtilisationPercent": load.memory_utilisation_percent,
        "temperatureCelsius": load.temperature_celsius,
        "graphicsClockMHz": load.graphics_clock_mhz,
        "memoryClockMHz": load.memory_clock_mhz,
        "fanPercent": load.fan_percent,
        "powerMilliwatts": load.power_milliwatts,
        "powerLimitMilliwatts": load.power_limit_milliwatts,
    }
    return row | {name: value for name, value in figures.items() if value is not None}


def _show(gpus: Sequence[Gpu], loads: Mapping[str, GpuLoad], lost: int) -> None:
    """Show these figures and no others: what a GPU does not report, or a lost one did, goes."""
    GPUS.labels("ready").set(len(gpus))
    GPUS.labels("lost").set(lost)
    for gauge in (UTILISATION, MEMORY, MEMORY_USED, TEMPERATURE, POWER):
        gauge.clear()
    for gpu in gpus:
        load = loads.get(gpu.uuid, GpuLoad())
        percent, milliwatts = load.utilisation_percent, load.power_milliwatts
        for gauge, value in (
            (UTILISATION, None if percent is None else percent / 100),
            (MEMORY, gpu.memory_bytes or None),
            (MEMORY_USED, load.memory_used_bytes),
            (TEMPERATURE, load.temperature_celsius),
            (POWER, None if milliwatts is None else milliwatts / 1000),
        ):
            if value is not None:
                gauge.labels(str(gpu.index), gpu.uuid).set(value)
