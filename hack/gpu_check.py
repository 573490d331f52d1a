"""Check Weir's view of this machine's GPUs against the real driver, in less than two minutes.

It runs the node daemon's own probe (NVML) and watch, holds what they say against what the kernel
and ``nvidia-smi`` say, and prints one JSON object. Nothing is changed on the machine. It needs this
repository, Python 3.11 and two modules, which ``hack/setup`` brings: pynvml and prometheus_client.

Exit status: 0 all is well; 1 a check failed; 2 there is no NVIDIA driver here; 3 it cannot run so.
"""

import argparse
import asyncio
import csv
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

_ROOT = Path(__file__).resolve().parent.parent
OK, FAILED, NO_DRIVER, CANNOT_RUN = range(4)
_DRIVER = Path("/proc/driver/nvidia/version")
_SLOW_LOOK_SECONDS = 5.0  # the daemon looks that often
_MIB = 2**20


@dataclass(frozen=True)
class Check:
    """Something that has to hold, and what was seen."""

    name: str
    ok: bool
    seen: str = ""


@dataclass
class Report:
    """What is printed."""

    machine: dict[str, str]
    gpus: list[dict[str, Any]] = field(default_factory=list)
    loads: list[list[dict[str, Any]]] = field(default_factory=list)
    look_seconds: list[float] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check holds; none is no success."""
        return bool(self.checks) and all(check.ok for check in self.checks)


async def examine(
    nvml: Any,
    *,
    looks: int,
    pause_seconds: float,
    sysfs: Path = Path("/sys"),
    procfs: Path = Path("/proc"),
    ask_smi: Callable[[], list[dict[str, str]] | None] | None = None,
) -> Report:
    """Look at the GPUs so many times, and check what was seen.

    Args:
        nvml: pynvml, or what stands in for it.
        looks: how often; two at least, since the second finds an open session.
        pause_seconds: between two looks.
        sysfs: where sysfs is mounted, or a copy of it.
        procfs: where procfs is mounted, or a copy of it.
        ask_smi: returns what ``nvidia-smi`` says of each GPU; None: it is not here.
    """
    from weir_nodedaemon.machine.gpus.nvml_probe import NvmlProbe  # noqa: PLC0415
    from weir_nodedaemon.machine.gpus.watch import GpuMemory, GpuState, GpuWatch  # noqa: PLC0415

    report = Report({"kernel": platform.release(), "python": platform.python_version()})
    with tempfile.TemporaryDirectory() as folder:
        watch = GpuWatch(
            NvmlProbe(sysfs, procfs, nvml=nvml), GpuMemory(Path(folder) / "gpus.json", "this boot")
        )
        states: list[GpuState] = []
        for number in range(max(2, looks)):
            if number:
                await asyncio.sleep(pause_seconds)
            began = time.monotonic()
            states.append(await watch.look())
            report.look_seconds.append(round(time.monotonic() - began, 3))
            report.loads.append(watch.figures())
    last = states[-1]
    report.gpus = [gpu.as_status() for gpu in last.gpus]
    report.checks = [
        Check("the driver answers", not last.trouble, last.trouble),
        Check("no GPU is lost", not last.lost, "; ".join(last.lost)),
        Check("there is a GPU", bool(last.gpus)),
        Check("indices and uuids stay", all(state.gpus == last.gpus for state in states)),
        Check(
            "a look costs little once a session is open",
            max(report.look_seconds[1:]) < _SLOW_LOOK_SECONDS,
            f"{max(report.look_seconds[1:])} s",
        ),
        *_capacity_checks(report.gpus, sysfs),
        *_load_checks(report.loads),
    ]
    said = ask_smi() if ask_smi else None
    if said is not None:
        report.checks += _smi_checks(report.gpus, said)
    return report


def _capacity_checks(gpus: list[dict[str, Any]], sysfs: Path) -> Iterator[Check]:
    from weir_crds.quantities import memory_bytes  # noqa: PLC0415

    nodes = {path.name for path in (sysfs / "devices/system/node").glob("node[0-9]*")}
    for gpu in gpus:
        name = f"gpu {gpu['index']}"
        whole = all(gpu[key] for key in ("uuid", "name", "pciAddress", "driver"))
        yield Check(f"{name} has uuid, name, address and driver", whole, json.dumps(gpu))
        yield Check(f"{name} has memory", memory_bytes(gpu["memory"]) > 0, gpu["memory"])
        device = sysfs / "bus/pci/devices" / gpu["pciAddress"]
        yield Check(f"{name} is a PCI device of the kernel's", device.is_dir(), str(device))
        node = gpu.get("numaNode")
        near = node is None or not nodes or f"node{node}" in nodes
        yield Check(f"{name} is near a NUMA node that there is", near, str(node))


def _load_checks(loads: list[list[dict[str, Any]]]) -> Iterator[Check]:
    for figures in loads[-1]:
        name = f"gpu {figures['index']}"
        memory = figures["memory"]
        used = memory.get("usedBytes")
        sane = used is None or 0 <= used <= memory["totalBytes"]
        yield Check(f"{name} uses no more memory than it has", sane, json.dumps(memory))
        for figure, least, most in (
            ("utilisationPercent", 0, 100),
            ("memoryUtilisationPercent", 0, 100),
            ("temperatureCelsius", -50, 150),
            ("fanPercent", 0, 200),  # of the intended speed
            ("powerMilliwatts", 0, 5_000_000),
        ):
            value = figures.get(figure)
            yield Check(f"{name}: {figure}", value is None or least <= value <= most, str(value))


def _smi_checks(gpus: list[dict[str, Any]], said: list[dict[str, str]]) -> Iterator[Check]:
    """Hold what we say against what NVIDIA's own program says."""
    from weir_crds.quantities import memory_bytes  # noqa: PLC0415

    ours = {gpu["uuid"]: gpu for gpu in gpus}
    theirs = {row["uuid"]: row for row in said}
    yield Check("nvidia-smi knows the same GPUs", ours.keys() == theirs.keys(), str([*theirs]))
    for uuid in sorted(ours.keys() & theirs.keys()):
        gpu, row = ours[uuid], theirs[uuid]
        for key, same in (
            ("index", str(gpu["index"]) == row["index"]),
            ("name", gpu["name"] == row["name"]),
            ("driver_version", gpu["driver"] == row["driver_version"]),
            ("pci.bus_id", row["pci.bus_id"].lower().endswith(gpu["pciAddress"].lower())),
            (
                "memory.total",
                row["memory.total"] in ("[N/A]", str(memory_bytes(gpu["memory"]) // _MIB)),
            ),
        ):
            yield Check(f"nvidia-smi says the same of {uuid}: {key}", same, row[key])


_SMI_FIELDS = ("index", "uuid", "name", "driver_version", "pci.bus_id", "memory.total")


def ask_nvidia_smi() -> list[dict[str, str]] | None:
    """Return what ``nvidia-smi`` says of each GPU, nothing if it fails; None where it is not."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [f"--query-gpu={','.join(_SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=30, check=True
        )
        rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
        return [dict(zip(_SMI_FIELDS, row, strict=True)) for row in rows if row]
    except (OSError, subprocess.SubprocessError, ValueError):  # ValueError: other columns
        return []


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse, with a status of its own: argparse's says here that there is no driver."""
        sys.exit(_refuse(CANNOT_RUN, message))


def main(argv: list[str] | None = None) -> int:
    """Print the report; returns the exit status."""
    parser = _Parser(prog="hack/gpu-check", description=__doc__)
    parser.add_argument("--looks", type=int, default=6, help="how often to look (default: 6)")
    parser.add_argument(
        "--pause", type=float, default=2.0, help="seconds between two looks (default: 2)"
    )
    args = parser.parse_args(argv)
    if not _DRIVER.exists():
        return _refuse(NO_DRIVER, "there is no NVIDIA driver in this kernel: nothing to check")
    for source in ("crds", "nodedaemon", *_site_packages()):
        sys.path.append(str(_ROOT / source))
    try:
        import pynvml  # noqa: PLC0415

        report = asyncio.run(
            examine(pynvml, looks=args.looks, pause_seconds=args.pause, ask_smi=ask_nvidia_smi)
        )
    except ModuleNotFoundError as exc:
        message = f"the module {exc.name} is not here: `pip install nvidia-ml-py prometheus-client`"
        return _refuse(CANNOT_RUN, f"{message}, or `hack/setup`")
    print(json.dumps({"ok": report.ok, **asdict(report)}, indent=2))
    for check in report.checks:
        if not check.ok:
            print(f"FAILED: {check.name}: {check.seen}", file=sys.stderr)
    return OK if report.ok else FAILED


def _site_packages() -> list[str]:
    """Return where ``hack/setup`` put the modules, all of plain Python, for any Python to use."""
    return [str(path) for path in (_ROOT / ".venv/lib").glob("python3*/site-packages")]


def _refuse(status: int, message: str) -> int:
    print(json.dumps({"ok": False, "error": message}))
    print(f"gpu-check: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
