"""Fast numbers of this host and of what runs on it. They never go into the API."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.errors import WeirError
from weir_crds.names import container_name
from weir_kube.store import Object, Objects
from weir_nodedaemon.engines.port import ContainerUsage

_CACHED_SECONDS = 2.0
_AT_ONCE = 16
_DEADLINE_SECONDS = 5.0


class UsageSource(Protocol):
    """What is read of a ``ContainerEngine``."""

    async def usage(self, name: str) -> ContainerUsage | None:
        """Return what a running container has used; None when it does not run."""
        ...


@dataclass(frozen=True, slots=True)
class HostNumbers:
    """How busy the machine is."""

    cpus: int
    cpu_percent: float  # of all cores together, since the last look
    load: tuple[float, float, float]
    memory_total_bytes: int
    memory_available_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return it as it goes over the wire."""
        return {
            "cpus": self.cpus,
            "cpuPercent": self.cpu_percent,
            "load": list(self.load),
            "memory": {
                "totalBytes": self.memory_total_bytes,
                "availableBytes": self.memory_available_bytes,
            },
        }


def sample_host() -> HostNumbers:
    """Look at the machine; takes well under a millisecond."""
    memory = psutil.virtual_memory()
    return HostNumbers(
        cpus=psutil.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(interval=None),
        load=os.getloadavg(),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
    )


class Stats:
    """Answers ``/v1/stats``; looks at most every two seconds, whoever asks how often."""

    def __init__(
        self,
        engine: UsageSource,
        tasks: Callable[[], Objects],
        *,
        gpus: Callable[[], list[dict[str, Any]]] = list,
        sample: Callable[[], HostNumbers] = sample_host,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these sources; ``gpus`` tells what is known of them, and asks nobody."""
        self._engine = engine
        self._tasks = tasks
        self._gpus = gpus
        self._sample = sample
        self._clock = clock
        self._lock = asyncio.Lock()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._last: dict[str, Any] = {}
        self._looked_at = float("-inf")

    async def get(self) -> dict[str, Any]:
        """Return host, GPUs and tasks; a task has no numbers if the engine tells none in time."""
        async with self._lock:
            if self._clock() - self._looked_at >= _CACHED_SECONDS:
                running = [task for task in self._tasks() if _runs(task)]
                rows = await asyncio.gather(*(self._row(task) for task in running))
                self._last = {
                    "host": self._sample().to_json(),
                    "gpus": self._gpus(),
                    "tasks": list(rows),
                }
                self._looked_at = self._clock()
            return self._last

    async def _row(self, task: Object) -> dict[str, Any]:
        metadata, run_id = task["metadata"], task["status"]["runID"]
        row: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "run": run_id,
        }
        try:
            async with self._at_once, asyncio.timeout(_DEADLINE_SECONDS):
                usage = await self._engine.usage(container_name(metadata["uid"], run_id))
        except (WeirError, TimeoutError):
            return row
        if usage is not None:
            # Of a clock that only goes forward: two answers give the cores used in between.
            row["sampledSeconds"] = self._clock()
            row["cpuSeconds"] = usage.cpu_seconds
            row["memoryBytes"] = usage.memory_bytes
            row["pids"] = usage.pids
        return row


def _runs(task: Object) -> bool:
    status = task.get("status") or {}
    if not status.get("runID") or status.get("finishedAt"):
        return False
    return conditions.is_true(task, ConditionType.STARTED)
