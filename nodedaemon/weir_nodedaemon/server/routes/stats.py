"""Fast numbers of this host and of what runs on it. They never go into the API."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
from aiohttp import web

from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.errors import WeirError
from weir_crds.names import container_name
from weir_kube.store import Object, Objects
from weir_nodedaemon.engines.port import InstanceUsage
from weir_nodedaemon.machine.temperatures import CpuSensors, Temperatures
from weir_nodedaemon.server.auth import FIGURES_ALLOWED_SECONDS, Access
from weir_nodedaemon.server.query import FLAGS, check_names, choice
from weir_nodedaemon.server.routes.route import Route

_CACHED_SECONDS = 2.0
# The machine alone is quickly looked at; but its load is that since the look before, so looks that
# are too near to each other tell nothing.
_MACHINE_CACHED_SECONDS = 0.8
_AT_ONCE = 16
_DEADLINE_SECONDS = 5.0


def routes(stats: "Stats", host_name: str) -> list[Route]:
    """Return the route to the figures of this host."""

    async def answer(request: web.Request) -> web.Response:
        check_names(request.query, ("tasks",))
        wanted = choice(request.query, "tasks", FLAGS)
        return web.json_response(stats.of_machine() if wanted is False else await stats.get())

    access = Access("hosts", "stats", host_name)
    return [Route("/v1/stats", lambda _: access, FIGURES_ALLOWED_SECONDS, answer=answer)]


class UsageSource(Protocol):
    """What is asked of an engine here."""

    async def usage(self, name: str) -> InstanceUsage | None:
        """Return what a running instance has used; None when it does not run."""
        ...


@dataclass(frozen=True, slots=True)
class HostNumbers:
    """How busy the machine is."""

    cpus: int
    cpu_percent: float  # of all cores together, since the last look
    load: tuple[float, float, float]
    memory_total_bytes: int
    memory_available_bytes: int
    temperatures: Temperatures | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it goes over the wire."""
        figures: dict[str, Any] = {
            "cpus": self.cpus,
            "cpuPercent": self.cpu_percent,
            "load": list(self.load),
            "memory": {
                "totalBytes": self.memory_total_bytes,
                "availableBytes": self.memory_available_bytes,
            },
        }
        if self.temperatures is not None:
            figures["temperature"] = {
                "averageCelsius": round(self.temperatures.average, 1),
                "highestCelsius": round(self.temperatures.highest, 1),
            }
        return figures


def sample_host(sensors: CpuSensors) -> HostNumbers:
    """Look at the machine; takes about a millisecond."""
    memory = psutil.virtual_memory()
    return HostNumbers(
        cpus=psutil.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(interval=None),
        load=os.getloadavg(),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        temperatures=sensors.read(),
    )


class Stats:
    """Answers ``/v1/stats``; looks at most every two seconds, whoever asks how often.

    What the machine itself does is looked at more often, and without the engine: that is for those
    who ask many hosts again and again.
    """

    def __init__(
        self,
        engine: UsageSource,
        tasks: Callable[[], Objects],
        *,
        gpus: Callable[[], list[dict[str, Any]]] = list,
        sample: Callable[[], HostNumbers] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these sources; ``gpus`` tells what is known of them, and asks nobody."""
        self._engine = engine
        self._tasks = tasks
        self._gpus = gpus
        sensors = CpuSensors()
        self._sample = sample or (lambda: sample_host(sensors))
        self._clock = clock
        self._lock = asyncio.Lock()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._last: dict[str, Any] = {}
        self._looked_at = float("-inf")
        self._machine: dict[str, Any] = {}
        self._machine_looked_at = float("-inf")

    def of_machine(self) -> dict[str, Any]:
        """Return host and GPUs, at once."""
        return {"host": self._host(), "gpus": self._gpus()}

    async def get(self) -> dict[str, Any]:
        """Return host, GPUs and tasks; a task has no numbers if the engine tells none in time."""
        async with self._lock:
            if self._clock() - self._looked_at >= _CACHED_SECONDS:
                running = [task for task in self._tasks() if _runs(task)]
                rows = await asyncio.gather(*(self._row(task) for task in running))
                self._last = {
                    **self.of_machine(),
                    "tasks": list(rows),
                }
                self._looked_at = self._clock()
            return self._last

    def _host(self) -> dict[str, Any]:
        now = self._clock()
        if now - self._machine_looked_at >= _MACHINE_CACHED_SECONDS:
            self._machine = self._sample().to_json()
            self._machine_looked_at = now
        return self._machine

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
