"""What a workload asks of a host, and what a bound one holds, read from the object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from weir_crds.quantities import cpu_millis, memory_bytes

_DEFAULT_CPU = 1
_DEFAULT_ENGINE = "docker"

# Workloads ask for few different amounts, and each is read several times in its life.
_cpu_millis = lru_cache(maxsize=4096)(cpu_millis)
_memory_bytes = lru_cache(maxsize=4096)(memory_bytes)


@dataclass(frozen=True, slots=True)
class Request:
    """All that says where a workload may run; those with equal requests are interchangeable."""

    cpu_millis: int = 1000
    memory_bytes: int = 0
    gpu_count: int = 0
    gpu_indices: tuple[int, ...] = ()
    host_name: str | None = None
    host_selector: tuple[tuple[str, str], ...] = ()
    numa_node: int | None = None
    engine: str = _DEFAULT_ENGINE
    """The engine of the host that has to run it, by its name in ``status.engines``."""

    @property
    def cores(self) -> int:
        """Whole cores to be had exclusively; 0: it runs on the shared pool."""
        return 0 if self.cpu_millis % 1000 else self.cpu_millis // 1000

    @property
    def gpus(self) -> int:
        """How many GPUs, by count or by index."""
        return len(self.gpu_indices) or self.gpu_count


@dataclass(frozen=True, slots=True)
class Holding:
    """What a bound workload has, of which host.

    ``shared_millis`` is None for one with cores of its own, else its share of the shared pool
    (0 is a share too: it needs the pool to exist).
    """

    host: str
    cpus: tuple[int, ...] = ()
    numa_node: int | None = None
    shared_millis: int | None = None
    memory_bytes: int = 0
    gpus: tuple[int, ...] = ()

    @property
    def cpu_millis(self) -> int:
        """Its cpu, however it is had."""
        return self.shared_millis if self.shared_millis is not None else 1000 * len(self.cpus)


def request_of(obj: Mapping[str, Any]) -> Request:
    """Return what a workload asks for, by its spec.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    spec = obj["spec"]
    resources = spec.get("resources") or {}
    placement = spec.get("placement") or {}
    gpus = resources.get("gpus") or {}
    memory = resources.get("memory")
    return Request(
        cpu_millis=_cpu_millis(resources.get("cpu", _DEFAULT_CPU)),
        memory_bytes=0 if memory is None else _memory_bytes(memory),
        gpu_count=gpus.get("count", 0),
        gpu_indices=tuple(sorted(gpus.get("indices") or ())),
        host_name=placement.get("hostName"),
        host_selector=tuple(sorted((placement.get("hostSelector") or {}).items())),
        numa_node=placement.get("numaNode"),
        engine=spec.get("backend") or _DEFAULT_ENGINE,
    )


def holding_of(obj: Mapping[str, Any]) -> Holding:
    """Return what a bound workload holds, by its status.

    Raises:
        InvalidQuantityError: a quantity that the CRD should have refused.
    """
    request, status = request_of(obj), obj["status"]
    cpus = tuple(status.get("cpus") or ())
    return Holding(
        host=status["nodeName"],
        cpus=cpus,
        numa_node=status.get("numaNode"),
        shared_millis=None if cpus else request.cpu_millis,
        memory_bytes=request.memory_bytes,
        gpus=tuple(gpu["index"] for gpu in status.get("gpus") or ()),
    )
