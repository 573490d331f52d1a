"""The only door to NVML, NVIDIA's library that asks the driver.

The library comes with the driver: without one there is none, and that is no error. A session stays
open while all goes well, since opening one wakes every idle GPU; it is opened anew after a failure,
because a device that was lost stays so to an open one.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pynvml

from weir_nodedaemon.machine.gpus.port import Gpu, GpuLoad, GpuReading, GpusUnknownError, SilentGpu
from weir_nodedaemon.machine.numa import numa_node_of_pci

T = TypeVar("T")

_KERNEL_DRIVER = Path("driver/nvidia/version")  # below /proc, while the kernel has the driver


class NvmlProbe:
    """Asks NVML, one call at a time, in a thread that the end of the process does not wait for."""

    def __init__(
        self,
        sysfs_root: Path = Path("/sys"),
        procfs_root: Path = Path("/proc"),
        *,
        deadline_seconds: float = 20.0,
        nvml: ModuleType | Any = pynvml,
    ) -> None:
        """Ask nothing yet.

        Args:
            sysfs_root: where sysfs tells the NUMA node of a device.
            procfs_root: where procfs tells whether the kernel has the driver.
            deadline_seconds: longest time a look may take; waking many idle GPUs takes seconds.
            nvml: the module with NVML's functions.
        """
        self._sysfs_root = sysfs_root
        self._procfs_root = procfs_root
        self._deadline_seconds = deadline_seconds
        self._nvml = nvml
        self._open = False
        self._turn = asyncio.Lock()
        self._asking = False

    async def look(self) -> GpuReading:
        """Return the GPUs as they are now; raises GpusUnknownError."""
        try:
            async with asyncio.timeout(self._deadline_seconds), self._turn:
                if self._asking:
                    raise GpusUnknownError("NVML has not answered yet since it was asked before")
                return await self._in_thread(self._look)
        except TimeoutError as exc:
            message = f"NVML did not answer within {self._deadline_seconds:g} s"
            raise GpusUnknownError(message) from exc

    async def _in_thread(self, fn: Callable[[], T]) -> T:
        """Run one call in a daemon thread: one that hangs in the driver cannot be ended."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: BaseException | None) -> None:
            if answer.cancelled():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, error = None, None
            try:
                result = fn()
            except BaseException as exc:
                error = exc
            self._asking = False
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell, result, error)

        self._asking = True
        threading.Thread(target=work, name="nvml", daemon=True).start()
        return await answer

    def _look(self) -> GpuReading:
        nvml = self._nvml
        try:
            if not self._open:
                nvml.nvmlInit()
                self._open = True
            reading = self._read()
        except nvml.NVMLError as exc:
            self._shut()
            if exc.value in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
                if not (self._procfs_root / _KERNEL_DRIVER).exists():
                    return GpuReading()
                raise GpusUnknownError(f"the kernel has the NVIDIA driver, but: {exc}") from exc
            raise GpusUnknownError(f"NVML failed: {exc}") from exc
        if reading.silent:
            self._shut()
        return reading

    def _shut(self) -> None:
        if self._open:
            self._open = False
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _read(self) -> GpuReading:
        nvml = self._nvml
        driver: str = nvml.nvmlSystemGetDriverVersion()
        gpus: list[Gpu] = []
        loads: dict[str, GpuLoad] = {}
        silent: list[SilentGpu] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                gpu = self._gpu(handle, index, driver)
                load = self._load(handle)
            except nvml.NVMLError as exc:
                if exc.value != nvml.NVML_ERROR_NO_PERMISSION:  # that one is for others
                    silent.append(SilentGpu(index, str(exc)))
                continue
            gpus.append(gpu)
            loads[gpu.uuid] = load
        return GpuReading(tuple(gpus), loads, tuple(silent))

    def _gpu(self, handle: Any, index: int, driver: str) -> Gpu:
        nvml = self._nvml
        pci = nvml.nvmlDeviceGetPciInfo(handle)
        address = f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"
        memory = self._asked(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
        return Gpu(
            index=index,
            uuid=nvml.nvmlDeviceGetUUID(handle),
            name=self._asked(lambda: nvml.nvmlDeviceGetName(handle)) or "",
            pci_address=address,
            numa_node=numa_node_of_pci(self._sysfs_root, address),
            memory_bytes=memory or 0,
            driver=driver,
        )

    def _load(self, handle: Any) -> GpuLoad:
        nvml = self._nvml
        busy = self._asked(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        return GpuLoad(
            busy.gpu if busy else None,
            self._asked(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used),
            self._asked(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            memory_utilisation_percent=busy.memory if busy else None,
            graphics_clock_mhz=self._extra(
                lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_GRAPHICS)
            ),
            memory_clock_mhz=self._extra(
                lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)
            ),
            fan_percent=self._extra(lambda: nvml.nvmlDeviceGetFanSpeed(handle)),
            power_milliwatts=self._extra(lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
            power_limit_milliwatts=self._extra(
                lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
            ),
        )

    def _extra(self, ask: Callable[[], int]) -> int | None:
        """Return a figure that is only nice to have: whatever asking for it ends in, no GPU is lost
        by it."""
        try:
            return ask()
        except self._nvml.NVMLError:
            return None

    def _asked(self, ask: Callable[[], T]) -> T | None:
        """Return the answer, or None where this GPU has none (a partitioned one has no load)."""
        nvml = self._nvml
        unable = (
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_NO_PERMISSION,
        )
        try:
            return ask()
        except nvml.NVMLError as exc:
            if exc.value in unable:
                return None
            raise
