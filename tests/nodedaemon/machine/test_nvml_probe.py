"""GPUs, as a made-up NVML tells of them."""

import asyncio
import re
import threading
from pathlib import Path
from types import ModuleType

import pynvml
import pytest

from support.fake_nvml import GIB, Device, FakeNvml, write_sysfs
from weir_nodedaemon.machine.gpus.nvml_probe import NvmlProbe
from weir_nodedaemon.machine.gpus.port import Gpu, GpuLoad, GpuReading, GpusUnknownError, SilentGpu

A, B = Device("GPU-a", 0x3B, numa_node=0), Device("GPU-b", 0xAF, numa_node=1, used_bytes=2 * GIB)


def probe(tmp_path: Path, nvml: FakeNvml, deadline_seconds: float = 5.0) -> NvmlProbe:
    sysfs = write_sysfs(tmp_path / "sys", *nvml.devices)
    return NvmlProbe(sysfs, tmp_path / "proc", deadline_seconds=deadline_seconds, nvml=nvml)


def with_kernel_driver(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: ...\n")


async def test_two_gpus_on_two_numa_nodes(tmp_path: Path) -> None:
    reading = await probe(tmp_path, FakeNvml(A, B)).look()
    name, driver = "NVIDIA A100-SXM4-80GB", "550.54.15"
    assert reading == GpuReading(
        gpus=(
            Gpu(0, "GPU-a", name, "0000:3b:00.0", 0, 80 * GIB, driver),
            Gpu(1, "GPU-b", name, "0000:af:00.0", 1, 80 * GIB, driver),
        ),
        loads={
            "GPU-a": GpuLoad(50, GIB, 40, 20, 1410, 1593, 30, 250_000, 400_000),
            "GPU-b": GpuLoad(50, 2 * GIB, 40, 20, 1410, 1593, 30, 250_000, 400_000),
        },
    )


@pytest.mark.parametrize("code", [9, 12], ids=["no driver", "no library"])
async def test_a_machine_without_gpus_is_normal(tmp_path: Path, code: int) -> None:
    nvml = FakeNvml()
    nvml.init_fails = code
    assert await probe(tmp_path, nvml).look() == GpuReading()


async def test_a_driver_without_gpus_is_normal(tmp_path: Path) -> None:
    assert await probe(tmp_path, FakeNvml()).look() == GpuReading()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (12, "the kernel has the NVIDIA driver, but: NVML Shared Library Not Found"),
        (9, "the kernel has the NVIDIA driver, but: Driver Not Loaded"),
        (18, "NVML failed: Driver/library version mismatch"),
        (999, "NVML failed: Unknown Error"),
    ],
)
async def test_a_driver_that_fails_is_told(tmp_path: Path, code: int, words: str) -> None:
    with_kernel_driver(tmp_path)
    nvml = FakeNvml(A)
    nvml.init_fails = code
    asked = probe(tmp_path, nvml)
    with pytest.raises(GpusUnknownError) as error:
        await asked.look()
    assert str(error.value) == words

    nvml.init_fails = None
    assert len((await asked.look()).gpus) == 1


@pytest.mark.parametrize(
    "function",
    ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo",
     "nvmlDeviceGetTemperature"],
)  # fmt: skip
@pytest.mark.parametrize("code", [15, 16, 999])
async def test_one_that_does_not_answer_hides_no_other(
    tmp_path: Path, function: str, code: int
) -> None:
    broken = Device("GPU-x", 0x5E, fails={function: code})
    reading = await probe(tmp_path, FakeNvml(A, broken, B)).look()
    assert [(gpu.index, gpu.uuid) for gpu in reading.gpus] == [(0, "GPU-a"), (2, "GPU-b")]
    assert [silent.index for silent in reading.silent] == [1]


async def test_one_that_falls_off_the_bus_is_silent_then_gone(tmp_path: Path) -> None:
    nvml = FakeNvml(A, B)
    asked = probe(tmp_path, nvml)
    await asked.look()
    nvml.fall_off("GPU-a")

    reading = await asked.look()
    assert reading.silent == (SilentGpu(0, "GPU is lost"),)
    assert [(gpu.index, gpu.uuid) for gpu in reading.gpus] == [(1, "GPU-b")]

    reading = await asked.look()  # the driver counts anew
    assert reading.silent == ()
    assert [(gpu.index, gpu.uuid) for gpu in reading.gpus] == [(0, "GPU-b")]


async def test_a_session_stays_open_while_all_goes_well(tmp_path: Path) -> None:
    nvml = FakeNvml(A)
    asked = probe(tmp_path, nvml)
    for _ in range(3):
        await asked.look()
    assert nvml.inits == 1


async def test_one_that_is_not_for_us_is_left_out(tmp_path: Path) -> None:
    foreign = Device("GPU-x", 0x5E, fails={"nvmlDeviceGetHandleByIndex": 4})
    reading = await probe(tmp_path, FakeNvml(foreign, A)).look()
    assert [gpu.uuid for gpu in reading.gpus] == ["GPU-a"]
    assert reading.silent == ()


async def test_what_a_gpu_cannot_tell_is_not_told(tmp_path: Path) -> None:
    """A partitioned one tells no load; one that shares the machine's memory has none of its own."""
    device = Device(
        "GPU-a",
        0x3B,
        fails={
            "nvmlDeviceGetUtilizationRates": 3,
            "nvmlDeviceGetMemoryInfo": 3,
            "nvmlDeviceGetTemperature": 13,
        },
    )
    reading = await probe(tmp_path, FakeNvml(device)).look()
    assert reading.gpus[0].memory_bytes == 0
    assert reading.loads == {
        "GPU-a": GpuLoad(
            graphics_clock_mhz=1410,
            memory_clock_mhz=1593,
            fan_percent=30,
            power_milliwatts=250_000,
            power_limit_milliwatts=400_000,
        )
    }


@pytest.mark.parametrize("code", [2, 3, 15, 999])
async def test_no_gpu_is_lost_by_a_figure_that_is_only_nice_to_have(
    tmp_path: Path, code: int
) -> None:
    extras = ["ClockInfo", "FanSpeed", "PowerUsage", "EnforcedPowerLimit"]
    device = Device("GPU-a", 0x3B, fails={f"nvmlDeviceGet{extra}": code for extra in extras})
    reading = await probe(tmp_path, FakeNvml(device)).look()
    assert reading.silent == ()
    assert reading.loads == {"GPU-a": GpuLoad(50, GIB, 40, 20)}


@pytest.mark.parametrize("text", ["-1\n", "", None])
async def test_a_numa_node_that_the_firmware_does_not_tell(
    tmp_path: Path, text: str | None
) -> None:
    asked = probe(tmp_path, FakeNvml(A))
    told = tmp_path / "sys/bus/pci/devices" / A.address / "numa_node"
    if text is None:
        told.unlink()
    else:
        told.write_text(text)
    assert (await asked.look()).gpus[0].numa_node is None


async def test_a_large_pci_domain_is_written_as_sysfs_does(tmp_path: Path) -> None:
    device = Device("GPU-a", 1, domain=0x10000, numa_node=1)
    gpu = (await probe(tmp_path, FakeNvml(device)).look()).gpus[0]
    assert (gpu.pci_address, gpu.numa_node) == ("10000:01:00.0", 1)


async def test_a_driver_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    nvml = FakeNvml(A)
    asked = probe(tmp_path, nvml, deadline_seconds=0.05)
    nvml.go_on.clear()
    with pytest.raises(GpusUnknownError, match=r"did not answer within 0\.05 s"):
        await asked.look()
    for _ in range(3):
        with pytest.raises(GpusUnknownError, match="has not answered yet"):
            await asked.look()
    assert sum(thread.name == "nvml" for thread in threading.enumerate()) == 1

    nvml.go_on.set()
    async with asyncio.timeout(60):
        while True:
            try:
                assert len((await asked.look()).gpus) == 1
                return
            except GpusUnknownError:
                await asyncio.sleep(0.01)


async def test_two_looks_at_a_time_take_turns(tmp_path: Path) -> None:
    asked = probe(tmp_path, FakeNvml(A))
    first, second = await asyncio.gather(asked.look(), asked.look())
    assert first == second


async def test_the_end_of_the_process_does_not_wait_for_it(tmp_path: Path) -> None:
    nvml = FakeNvml(A)
    asked = probe(tmp_path, nvml, deadline_seconds=0.05)
    nvml.go_on.clear()
    with pytest.raises(GpusUnknownError):
        await asked.look()
    asking = [thread for thread in threading.enumerate() if thread.name == "nvml"]
    assert asking
    assert all(thread.daemon for thread in asking)
    nvml.go_on.set()


def test_the_made_up_one_has_nothing_that_the_real_one_lacks() -> None:
    real: ModuleType = pynvml
    for name in dir(FakeNvml):
        if name.lower().startswith("nvml"):
            assert hasattr(real, name), name
            if name.startswith("NVML_"):
                assert getattr(real, name) == getattr(FakeNvml, name), name


async def test_the_real_one_on_this_machine() -> None:
    """Whatever this machine has: without a driver there is nothing, with one each GPU is whole."""
    reading = await NvmlProbe().look()
    assert len(reading.gpus) + len(reading.silent) == _known_to_the_kernel()
    for gpu in reading.gpus:
        assert gpu.uuid.startswith("GPU-")
        assert re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.0", gpu.pci_address)
        assert gpu.memory_bytes > 0
        assert reading.loads[gpu.uuid].memory_used_bytes is not None


def _known_to_the_kernel() -> int:
    """Return how many GPUs the kernel's driver lists."""
    known = Path("/proc/driver/nvidia/gpus")
    return len(list(known.iterdir())) if known.is_dir() else 0
