"""A made-up NVML: the functions, error codes and habits of ``pynvml`` that the probe meets."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GIB = 2**30


class NVMLError(Exception):
    """As pynvml's: the code is ``value``."""

    def __init__(self, value: int) -> None:
        super().__init__(_WORDS.get(value, f"error {value}"))
        self.value = value


_WORDS = {
    3: "Not Supported",
    4: "Insufficient Permissions",
    9: "Driver Not Loaded",
    12: "NVML Shared Library Not Found",
    15: "GPU is lost",
    18: "Driver/library version mismatch",
    999: "Unknown Error",
}


@dataclass
class Device:
    """A GPU. ``fails``: the code that a function answers with, by the function's name."""

    uuid: str
    bus: int
    numa_node: int = 0
    name: str = "NVIDIA A100-SXM4-80GB"
    domain: int = 0
    memory_bytes: int = 80 * GIB
    used_bytes: int = GIB
    utilisation: int = 50
    memory_utilisation: int = 20
    temperature: int = 40
    clocks: dict[int, int] = field(default_factory=lambda: {0: 1410, 2: 1593})
    fan: int = 30
    milliwatts: int = 250_000
    limit_milliwatts: int = 400_000
    fails: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Its address as sysfs writes it."""
        return f"{self.domain:04x}:{self.bus:02x}:00.0"


class FakeNvml:
    """Stands in for the module.

    Attributes:
        devices: what is on the bus, in the driver's order.
        init_fails: the code that opening a session answers with.
        hang: while set, ``nvmlDeviceGetCount`` does not return.
    """

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_GRAPHICS = 0
    NVML_CLOCK_MEM = 2

    def __init__(self, *devices: Device) -> None:
        self.devices = list(devices)
        self.init_fails: int | None = None
        self.inits = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.threads: set[str] = set()
        self._seen: list[Device] | None = None  # by the open session
        self._lost: set[str] = set()

    def fall_off(self, uuid: str) -> None:
        """Take a device off the bus: an open session finds it lost, a new one finds it gone."""
        self._lost.add(uuid)
        self.devices = [device for device in self.devices if device.uuid != uuid]

    def nvmlInit(self) -> None:  # noqa: N802
        self.inits += 1
        if self.init_fails is not None:
            raise NVMLError(self.init_fails)
        self._seen = list(self.devices)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._session()
        self._seen = None

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        self._session()
        return "550.54.15"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self.threads.add(threading.current_thread().name)
        self.go_on.wait(10)
        return len(self._session())

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:  # noqa: N802
        return self._ask(self._session()[index], "nvmlDeviceGetHandleByIndex")

    def nvmlDeviceGetUUID(self, device: Device) -> str:  # noqa: N802
        return self._ask(device, "nvmlDeviceGetUUID").uuid

    def nvmlDeviceGetName(self, device: Device) -> str:  # noqa: N802
        return self._ask(device, "nvmlDeviceGetName").name

    def nvmlDeviceGetPciInfo(self, device: Device) -> Any:  # noqa: N802
        self._ask(device, "nvmlDeviceGetPciInfo")
        return SimpleNamespace(domain=device.domain, bus=device.bus, device=0)

    def nvmlDeviceGetMemoryInfo(self, device: Device) -> Any:  # noqa: N802
        self._ask(device, "nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=device.memory_bytes, used=device.used_bytes)

    def nvmlDeviceGetUtilizationRates(self, device: Device) -> Any:  # noqa: N802
        self._ask(device, "nvmlDeviceGetUtilizationRates")
        return SimpleNamespace(gpu=device.utilisation, memory=device.memory_utilisation)

    def nvmlDeviceGetTemperature(self, device: Device, sensor: int) -> int:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._ask(device, "nvmlDeviceGetTemperature").temperature

    def nvmlDeviceGetClockInfo(self, device: Device, clock: int) -> int:  # noqa: N802
        return self._ask(device, "nvmlDeviceGetClockInfo").clocks[clock]

    def nvmlDeviceGetFanSpeed(self, device: Device) -> int:  # noqa: N802
        return self._ask(device, "nvmlDeviceGetFanSpeed").fan

    def nvmlDeviceGetPowerUsage(self, device: Device) -> int:  # noqa: N802
        return self._ask(device, "nvmlDeviceGetPowerUsage").milliwatts

    def nvmlDeviceGetEnforcedPowerLimit(self, device: Device) -> int:  # noqa: N802
        return self._ask(device, "nvmlDeviceGetEnforcedPowerLimit").limit_milliwatts

    def _session(self) -> list[Device]:
        if self._seen is None:
            raise NVMLError(1)
        return self._seen

    def _ask(self, device: Device, function: str) -> Device:
        self._session()
        if device.uuid in self._lost:
            raise NVMLError(self.NVML_ERROR_GPU_IS_LOST)
        if function in device.fails:
            raise NVMLError(device.fails[function])
        return device


def write_sysfs(root: Path, *devices: Device) -> Path:
    """Write what sysfs tells of these devices' NUMA nodes; return its root."""
    for device in devices:
        folder = root / "bus/pci/devices" / device.address
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "numa_node").write_text(f"{device.numa_node}\n")
    return root
