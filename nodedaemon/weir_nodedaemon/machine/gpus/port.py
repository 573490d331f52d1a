"""What the daemon needs to know of GPUs, and of whom it asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from weir_crds.errors import WeirError
from weir_crds.quantities import format_bytes


class GpusUnknownError(WeirError):
    """A driver is there, and it does not tell which GPUs are."""

    reason = "GPUsUnknown"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that answers."""

    index: int
    uuid: str
    name: str
    pci_address: str
    numa_node: int | None
    memory_bytes: int
    driver: str

    def as_status(self) -> dict[str, Any]:
        """Return its entry in ``Host.status.capacity.gpus``."""
        status: dict[str, Any] = {
            "index": self.index,
            "uuid": self.uuid,
            "name": self.name,
            "pciAddress": self.pci_address,
            "memory": format_bytes(self.memory_bytes),
            "driver": self.driver,
        }
        return status if self.numa_node is None else {**status, "numaNode": self.numa_node}


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """How busy a GPU is. ``None``: this one does not tell."""

    utilisation_percent: int | None = None
    memory_used_bytes: int | None = None
    temperature_celsius: int | None = None
    memory_utilisation_percent: int | None = None
    """Part of the time in which its memory was read or written."""
    graphics_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    fan_percent: int | None = None
    power_milliwatts: int | None = None
    power_limit_milliwatts: int | None = None


@dataclass(frozen=True, slots=True)
class SilentGpu:
    """A GPU that the driver counts and that does not answer; ``index`` is the driver's."""

    index: int
    error: str


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One look at all GPUs. No GPU, or no driver, is a reading without any."""

    gpus: tuple[Gpu, ...] = ()
    loads: Mapping[str, GpuLoad] = field(default_factory=dict)
    """By uuid."""
    silent: tuple[SilentGpu, ...] = ()


class NoGpus:
    """Stands for a machine without GPUs, and for one whose GPUs are all others'."""

    async def look(self) -> GpuReading:
        """Return none."""
        return GpuReading()


class GpuProbe(Protocol):
    """Asks the driver about GPUs."""

    async def look(self) -> GpuReading:
        """Return the GPUs as they are now.

        Raises:
            GpusUnknownError: there is a driver, and it failed or did not answer in time.
        """
        ...
