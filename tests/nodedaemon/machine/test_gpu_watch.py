"""Which GPUs may be given to work: indices that stay, and those that are lost."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from weir_crds.host import Capacity
from weir_nodedaemon.machine.gpus.port import Gpu, GpuLoad, GpuReading, GpusUnknownError, SilentGpu
from weir_nodedaemon.machine.gpus.watch import GpuMemory, GpuState, GpuWatch, resolve

GIB = 2**30


def gpu(index: int, letter: str, **fields: Any) -> Gpu:
    made: dict[str, Any] = {
        "name": "A100",
        "pci_address": f"0000:{index:02x}:00.0",
        "numa_node": None,
        "memory_bytes": 80 * GIB,
        "driver": "550",
    }
    return Gpu(index=index, uuid=f"GPU-{letter}", **{**made, **fields})


A, B, C = gpu(0, "a"), gpu(1, "b"), gpu(2, "c")
LOST_A = "gpu 0 (A100, GPU-a, 0000:00:00.0)"
LOST_B = "gpu 1 (A100, GPU-b, 0000:01:00.0)"

CASES = [
    ("none", (), GpuReading(), GpuState()),
    ("at first, the driver's own count holds", (), GpuReading((A, B)), GpuState((A, B))),
    ("nothing new", (A, B), GpuReading((A, B)), GpuState((A, B))),
    ("one falls off the bus", (A, B), GpuReading((B,), silent=(SilentGpu(0, "GPU is lost"),)),
     GpuState((B,), (LOST_A,))),
    ("then the driver counts anew", (A, B, C), GpuReading((gpu(0, "b"), gpu(1, "c"))),
     GpuState((gpu(1, "b"), gpu(2, "c")), (LOST_A,))),
    ("all are gone with the driver", (A, B), GpuReading(), GpuState((), (LOST_A, LOST_B))),
    ("one that is back has its old index", (A, B), GpuReading((A, B)), GpuState((A, B))),
    ("a new one beside a lost one gets a free index", (A, B),
     GpuReading((gpu(0, "b"), gpu(1, "n"))), GpuState((B, gpu(2, "n")), (LOST_A,))),
    ("one that never answered", (), GpuReading((B,), silent=(SilentGpu(0, "Unknown Error"),)),
     GpuState((B,), ("gpu 0 (Unknown Error)",))),
    ("a driver that is new", (A,), GpuReading((gpu(0, "a", driver="560"),)),
     GpuState((gpu(0, "a", driver="560"),))),
]  # fmt: skip


def placed(state: GpuState) -> list[tuple[int, str]]:
    return [(one.index, one.uuid) for one in state.gpus]


@pytest.mark.parametrize(
    ("known", "reading", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_a_reading_means(
    known: tuple[Gpu, ...], reading: GpuReading, expected: GpuState
) -> None:
    state, remembered = resolve(known, reading)
    assert (placed(state), state.lost) == (placed(expected), expected.lost)
    assert {one.uuid for one in remembered} == {one.uuid for one in (*known, *reading.gpus)}
    assert len({one.index for one in remembered}) == len(remembered)
    assert resolve(remembered, reading)[0] == state


class Probe:
    def __init__(self) -> None:
        self.answer: GpuReading | Exception = GpuReading()

    async def look(self) -> GpuReading:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def watch(probe: Probe, folder: Path, boot_id: str = "b1", **fields: Any) -> GpuWatch:
    return GpuWatch(probe, GpuMemory(folder / "gpus.json", boot_id), **fields)


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_a_lost_gpu_is_remembered_over_a_restart(tmp_path: Path) -> None:
    probe = Probe()
    probe.answer = GpuReading((A, B))
    await watch(probe, tmp_path).look()
    probe.answer = GpuReading((gpu(0, "b"),))

    state = await watch(probe, tmp_path).look()

    assert (placed(state), state.lost) == ([(1, "GPU-b")], (LOST_A,))


async def test_after_a_boot_the_machine_has_what_it_has(tmp_path: Path) -> None:
    probe = Probe()
    probe.answer = GpuReading((A, B))
    await watch(probe, tmp_path).look()
    probe.answer = GpuReading((gpu(0, "b"),))

    state = await watch(probe, tmp_path, "b2").look()

    assert (placed(state), state.lost) == ([(0, "GPU-b")], ())


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"bootID": "b1", "gpus": [{"index": 0}]}'])
async def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, noted: str) -> None:
    (tmp_path / "gpus.json").write_text(noted)
    probe = Probe()
    probe.answer = GpuReading((A,))
    assert placed(await watch(probe, tmp_path).look()) == [(0, "GPU-a")]


async def test_a_disk_that_is_full_loses_a_note_only(tmp_path: Path) -> None:
    probe = Probe()
    probe.answer = GpuReading((A,))
    assert placed(await watch(probe, tmp_path / "absent").look()) == [(0, "GPU-a")]


async def test_a_failure_is_a_state_and_what_was_known_is_kept(tmp_path: Path) -> None:
    probe = Probe()
    watching = watch(probe, tmp_path)
    probe.answer = GpuReading((A, B))
    await watching.look()
    for error in (GpusUnknownError("no answer"), RuntimeError("odd")):
        probe.answer = error
        state = await watching.look()
        assert state.gpus == ()
        assert str(error) in state.trouble

    probe.answer = GpuReading((gpu(0, "b"),))
    assert (await watching.look()).lost == (LOST_A,)


async def test_only_news_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    probe = Probe()
    watching = watch(probe, tmp_path, on_change=lambda: told.append(1))
    probe.answer = GpuReading((A,), {"GPU-a": GpuLoad(10)})
    await watching.look()
    probe.answer = GpuReading((A,), {"GPU-a": GpuLoad(90)})
    await watching.look()
    assert len(told) == 1


async def test_only_the_chosen_ones(tmp_path: Path) -> None:
    probe = Probe()
    probe.answer = GpuReading((A, B), silent=(SilentGpu(2, "GPU is lost"),))
    state = await watch(probe, tmp_path, only=["GPU-b"]).look()
    assert (placed(state), state.lost) == ([(1, "GPU-b")], ())


async def test_figures_are_those_that_a_gpu_tells(tmp_path: Path) -> None:
    probe = Probe()
    watching = watch(probe, tmp_path)
    assert watching.figures() == []
    load = GpuLoad(50, GIB, 41, 20, 1410, 1593, 30, 250_000, 400_000)
    probe.answer = GpuReading((A, B), {"GPU-a": load, "GPU-b": GpuLoad()})
    await watching.look()

    assert watching.figures() == [
        {
            "index": 0,
            "uuid": "GPU-a",
            "name": "A100",
            "pciAddress": A.pci_address,
            "driver": "550",
            "memory": {"totalBytes": 80 * GIB, "usedBytes": GIB},
            "utilisationPercent": 50,
            "memoryUtilisationPercent": 20,
            "temperatureCelsius": 41,
            "graphicsClockMHz": 1410,
            "memoryClockMHz": 1593,
            "fanPercent": 30,
            "powerMilliwatts": 250_000,
            "powerLimitMilliwatts": 400_000,
        },
        {
            "index": 1,
            "uuid": "GPU-b",
            "name": "A100",
            "pciAddress": B.pci_address,
            "driver": "550",
            "memory": {"totalBytes": 80 * GIB},
        },
    ]
    first = {"index": "0", "uuid": "GPU-a"}
    assert metric("weir_daemon_gpu_utilisation_ratio", **first) == 0.5
    assert metric("weir_daemon_gpu_memory_bytes", **first) == 80 * GIB
    assert metric("weir_daemon_gpu_memory_used_bytes", **first) == GIB
    assert metric("weir_daemon_gpu_temperature_celsius", **first) == 41
    assert metric("weir_daemon_gpu_power_watts", **first) == 250
    assert metric("weir_daemon_gpu_temperature_celsius", index="1", uuid="GPU-b") is None
    assert metric("weir_daemon_gpus", state="ready") == 2

    probe.answer = GpuReading((gpu(0, "b"),))
    await watching.look()
    assert metric("weir_daemon_gpu_memory_bytes", **first) is None
    assert metric("weir_daemon_gpus", state="lost") == 1


@pytest.mark.parametrize("numa_node", [None, 1])
def test_an_entry_has_the_shape_of_the_resource(numa_node: int | None) -> None:
    told = gpu(3, "d", numa_node=numa_node).as_status()
    assert told == {
        "index": 3,
        "uuid": "GPU-d",
        "name": "A100",
        "pciAddress": "0000:03:00.0",
        "memory": "80Gi",
        "driver": "550",
        **({} if numa_node is None else {"numaNode": numa_node}),
    }
    read = Capacity.model_validate({"gpus": [told]})
    assert read.gpus[0].numa_node == numa_node
