"""What hack/gpu-check says, with a made-up NVML and on this machine."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpu_check
from support.fake_nvml import GIB, Device, FakeNvml, write_sysfs

PROGRAM = Path(__file__).parents[2] / "hack" / "gpu-check"
A, B = Device("GPU-a", 0x3B, numa_node=0), Device("GPU-b", 0xAF, numa_node=1)


def smi(*devices: Device, **changes: str) -> list[dict[str, str]]:
    """Return what nvidia-smi would say of these."""
    return [
        {
            "index": str(index),
            "uuid": device.uuid,
            "name": device.name,
            "driver_version": "550.54.15",
            "pci.bus_id": f"0000{device.address}".upper(),
            "memory.total": str(device.memory_bytes // 2**20),
            **changes,
        }
        for index, device in enumerate(devices)
    ]


async def examine(
    tmp_path: Path, nvml: FakeNvml, said: list[dict[str, str]] | None = None
) -> gpu_check.Report:
    sysfs = write_sysfs(tmp_path / "sys", *nvml.devices)
    for node in (0, 1):
        (sysfs / f"devices/system/node/node{node}").mkdir(parents=True)
    return await gpu_check.examine(
        nvml, looks=2, pause_seconds=0, sysfs=sysfs, procfs=tmp_path / "proc", ask_smi=lambda: said
    )


def failed(report: gpu_check.Report) -> list[str]:
    return [check.name for check in report.checks if not check.ok]


async def test_gpus_that_are_well_and_that_nvidia_smi_sees_alike(tmp_path: Path) -> None:
    report = await examine(tmp_path, FakeNvml(A, B), smi(A, B))
    assert failed(report) == []
    assert report.ok
    assert [gpu["uuid"] for gpu in report.gpus] == ["GPU-a", "GPU-b"]
    assert report.loads[-1][0]["memory"] == {"totalBytes": 80 * GIB, "usedBytes": GIB}
    assert len(report.loads) == len(report.look_seconds) == 2
    assert any("nvidia-smi" in check.name for check in report.checks)


async def test_without_nvidia_smi_the_rest_is_checked(tmp_path: Path) -> None:
    report = await examine(tmp_path, FakeNvml(A))
    assert report.ok
    assert not any("nvidia-smi" in check.name for check in report.checks)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (Device("GPU-a", 0x3B, numa_node=5), "gpu 0 is near a NUMA node that there is"),
        (Device("GPU-a", 0x3B, used_bytes=81 * GIB), "gpu 0 uses no more memory than it has"),
        (Device("GPU-a", 0x3B, utilisation=101), "gpu 0: utilisationPercent"),
        (Device("GPU-a", 0x3B, temperature=900), "gpu 0: temperatureCelsius"),
        (Device("GPU-a", 0x3B, name=""), "gpu 0 has uuid, name, address and driver"),
        (Device("GPU-a", 0x3B, memory_bytes=0, used_bytes=0), "gpu 0 has memory"),
    ],
)
async def test_what_cannot_be_is_a_failure(tmp_path: Path, device: Device, name: str) -> None:
    assert failed(await examine(tmp_path, FakeNvml(device))) == [name]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (smi(A, B), "nvidia-smi knows the same GPUs"),
        (smi(A, index="1"), "nvidia-smi says the same of GPU-a: index"),
        (smi(A, driver_version="1"), "nvidia-smi says the same of GPU-a: driver_version"),
        (smi(A, **{"memory.total": "1"}), "nvidia-smi says the same of GPU-a: memory.total"),
        (smi(A, **{"pci.bus_id": "0"}), "nvidia-smi says the same of GPU-a: pci.bus_id"),
    ],
)
async def test_what_nvidia_smi_sees_otherwise_is_a_failure(
    tmp_path: Path, said: list[dict[str, str]], name: str
) -> None:
    assert failed(await examine(tmp_path, FakeNvml(A), said)) == [name]


async def test_a_driver_that_fails_is_a_failure(tmp_path: Path) -> None:
    nvml = FakeNvml(A)
    nvml.init_fails = 18
    report = await examine(tmp_path, nvml)
    assert "the driver answers" in failed(report)
    assert not report.ok


async def test_a_gpu_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    sick = Device("GPU-b", 0xAF, fails={"nvmlDeviceGetUUID": 999})
    report = await examine(tmp_path, FakeNvml(A, sick), smi(A))
    assert failed(report) == ["no GPU is lost"]


async def test_a_driver_without_gpus_is_no_success(tmp_path: Path) -> None:
    assert "there is a GPU" in failed(await examine(tmp_path, FakeNvml()))


def test_a_machine_without_a_driver_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "_DRIVER", tmp_path / "none")
    assert gpu_check.main([]) == gpu_check.NO_DRIVER == 2
    out, err = capsys.readouterr()
    said: dict[str, Any] = json.loads(out)
    assert said["ok"] is False
    assert "no NVIDIA driver" in said["error"]
    assert "no NVIDIA driver" in err


def test_it_runs_on_this_machine_whether_that_has_a_driver_or_not() -> None:
    done = subprocess.run(
        [PROGRAM, "--looks", "2", "--pause", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    has_driver = Path("/proc/driver/nvidia/version").exists()
    assert (done.returncode != gpu_check.NO_DRIVER) is has_driver, done.stderr
    assert said["ok"] is (done.returncode == gpu_check.OK)
    assert (done.stderr == "") is said["ok"]


def run_on(tmp_path: Path, **programs: str) -> "subprocess.CompletedProcess[str]":
    """Run it from a checkout without .venv, with these programs and no others."""
    (tmp_path / "hack").mkdir()
    for name in ("gpu-check", "gpu_check.py"):
        shutil.copy(PROGRAM.parent / name, tmp_path / "hack" / name)
    write_programs(tmp_path / "bin", **programs)
    return subprocess.run(
        ["/bin/sh", tmp_path / "hack" / "gpu-check"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_programs(folder: Path, **scripts: str) -> None:
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def test_without_python_it_says_what_is_missing(tmp_path: Path) -> None:
    done = run_on(tmp_path)
    assert done.returncode == gpu_check.CANNOT_RUN == 3
    assert "Python 3.11" in json.loads(done.stdout)["error"]
    assert "Python 3.11" in done.stderr


def test_a_python_that_cannot_even_read_the_program_is_too_old(tmp_path: Path) -> None:
    old = f"""exec {sys.executable} - "$@" <<'END'
import sys
sys.version_info = (3, 6, 15)
assert sys.argv[1] == "-c", "SyntaxError"
exec(sys.argv[2])
END"""
    done = run_on(tmp_path, python3=old)
    assert done.returncode == gpu_check.CANNOT_RUN
    assert "Python 3.11" in json.loads(done.stdout)["error"]


def test_a_mistake_on_the_command_line_is_not_taken_for_a_machine_without_driver() -> None:
    done = subprocess.run(
        [PROGRAM, "--looks", "often"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == gpu_check.CANNOT_RUN
    assert "--looks" in json.loads(done.stdout)["error"]
    assert "--looks" in done.stderr


@pytest.mark.parametrize("script", ["echo Unable to determine the device; exit 15", "echo odd"])
async def test_an_nvidia_smi_that_fails_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    write_programs(tmp_path / "bin", **{"nvidia-smi": script})
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    said = await asyncio.to_thread(gpu_check.ask_nvidia_smi)
    assert failed(await examine(tmp_path, FakeNvml(A), said)) == ["nvidia-smi knows the same GPUs"]


def test_it_says_how_it_is_used() -> None:
    done = subprocess.run(
        [PROGRAM, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Exit status: 0" in " ".join(done.stdout.split())
