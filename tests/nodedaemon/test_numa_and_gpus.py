"""NUMA nodes and GPUs, from a Task's status to its container; and what becomes of a lost GPU."""

import pytest

from support.aio import until
from support.daemon_rig import GIB, HOST_NAME, Rig
from weir_crds.kinds import TASK
from weir_crds.names import container_name
from weir_kube.store import Key
from weir_nodedaemon.engines.docker.objects import create_body
from weir_nodedaemon.engines.port import ContainerSpec, InstanceState
from weir_nodedaemon.machine.capacity import MachineCapacity
from weir_nodedaemon.machine.gpus.port import Gpu, GpuLoad, GpuReading, GpusUnknownError
from weir_nodedaemon.machine.numa import NumaNode


def gpu(index: int, letter: str) -> Gpu:
    address = f"0000:{index:02x}:00.0"
    return Gpu(index, f"GPU-{letter}", "A100", address, index % 2, 80 * GIB, "550")


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """Two sockets of four cores, the second without memory of its own; two GPUs."""
    nodes = (NumaNode(0, (0, 1, 2, 3), 8 * GIB, (10, 21)), NumaNode(1, (4, 5, 6, 7), 0, (21, 10)))
    rig.capacity = MachineCapacity(tuple(range(8)), 8 * GIB, nodes)
    rig.gpus.reading = GpuReading((gpu(0, "a"), gpu(1, "b")), {"GPU-a": GpuLoad(10)})
    return rig


async def runs(rig: Rig, *keys: Key) -> None:
    await until(lambda: all(rig.container(key) is InstanceState.RUNNING for key in keys))
    await until(lambda: all(rig.told(key, "Started")[0] == "True" for key in keys))


def cores(rig: Rig, key: Key) -> tuple[int, ...]:
    return rig.world.containers[rig.name(key)].seen.cpus


def made(rig: Rig, key: Key) -> ContainerSpec:
    return rig.world.containers[container_name(rig.task(key)["metadata"]["uid"], 1)].spec


async def test_memory_comes_from_the_cores_node(rig: Rig) -> None:
    near = rig.bind("near", cpus=(0, 1), command=["sleep", "60"])
    rig.api.change_status(TASK, near, numaNode=0)
    spread = rig.bind("spread", cpus=(2, 4), command=["sleep", "60"])
    without = rig.bind("without", cpus=(5,), command=["sleep", "60"])
    rig.api.change_status(TASK, without, numaNode=1)
    rig.start()
    await runs(rig, near, spread, without)

    asked = [
        create_body(made(rig, key), HOST_NAME)["HostConfig"] for key in (near, spread, without)
    ]
    assert [(one["CpusetCpus"], one.get("CpusetMems")) for one in asked] == [
        ("0-1", "0"),
        ("2,4", None),
        ("5", None),  # the node has no memory: Docker would refuse it
    ]


async def test_the_shared_pool_follows_over_both_nodes(rig: Rig) -> None:
    shared = rig.bind("shared", command=["sleep", "60"])
    rig.start()
    await runs(rig, shared)
    assert cores(rig, shared) == tuple(range(8))

    first = rig.bind("first", cpus=(0, 1, 2, 3), command=["sleep", "60"])
    await runs(rig, first)
    assert cores(rig, shared) == (4, 5, 6, 7)
    second = rig.bind("second", cpus=(5, 6), command=["sleep", "60"])
    await runs(rig, second)
    assert cores(rig, shared) == (4, 7)
    rig.want(first, desiredState="Killed")
    await rig.finished(first)
    await until(lambda: cores(rig, shared) == (0, 1, 2, 3, 4, 7))
    assert rig.world.violations == []


async def test_gpus_are_told_and_given_by_uuid(rig: Rig) -> None:
    rig.start()
    await until(rig.is_ready)
    host = rig.host()
    assert host is not None
    assert host["status"]["capacity"]["gpus"] == [
        gpu(0, "a").as_status(),
        gpu(1, "b").as_status(),
    ]
    assert rig.host_told("GPUReady") == ("True", "GPUsReady")

    key = rig.bind("trains", cpus=(0,), command=["sleep", "60"])
    rig.api.change_status(TASK, key, gpus=[{"index": 1, "uuid": "GPU-b"}])
    await runs(rig, key)
    asked = create_body(made(rig, key), HOST_NAME)["HostConfig"]["DeviceRequests"]
    assert asked == [{"DeviceIDs": ["GPU-b"], "Capabilities": [["gpu"]]}]
    await rig.quiet()


async def test_a_gpu_is_one_containers_at_a_time(rig: Rig) -> None:
    first = rig.bind("first", cpus=(0,), command=["sleep", "60"])
    second = rig.bind("second", cpus=(1,), command=["sleep", "60"])
    for key in (first, second):
        rig.api.change_status(TASK, key, gpus=[{"index": 0, "uuid": "GPU-a"}])
    rig.start()
    await until(
        lambda: [rig.container(key) for key in (first, second)].count(InstanceState.RUNNING) == 1
    )
    waits, runs_ = sorted((first, second), key=lambda key: rig.container(key) is not None)
    await until(lambda: rig.told(waits, "Started") == ("False", "WaitingForCores"))
    assert "a GPU is still in use" in rig.message(waits, "Started")
    rig.want(runs_, desiredState="Killed")
    await rig.finished(runs_)
    await runs(rig, waits)


async def test_a_lost_gpu_is_named_and_its_task_runs_on(rig: Rig) -> None:
    key = rig.bind("trains", cpus=(0,), command=["sleep", "60"])
    rig.api.change_status(TASK, key, gpus=[{"index": 0, "uuid": "GPU-a"}])
    rig.start()
    await runs(rig, key)
    await until(lambda: rig.host_told("GPUReady")[0] == "True")

    rig.gpus.reading = GpuReading((gpu(0, "b"),))  # the driver counts anew

    await until(lambda: rig.host_told("GPUReady") == ("False", "GPULost"))
    host = rig.host()
    assert host is not None
    told = host["status"]
    assert [(one["index"], one["uuid"]) for one in told["capacity"]["gpus"]] == [(1, "GPU-b")]
    (message,) = [c["message"] for c in told["conditions"] if c["type"] == "GPUReady"]
    assert message == "lost: gpu 0 (A100, GPU-a, 0000:00:00.0)"
    assert rig.is_ready()
    assert rig.container(key) is InstanceState.RUNNING
    await rig.quiet()

    await rig.kill()
    rig.start()  # remembers
    await rig.quiet(0.6)
    assert rig.host_told("GPUReady") == ("False", "GPULost")

    rig.gpus.reading = GpuReading((gpu(0, "a"), gpu(1, "b")))
    await until(lambda: rig.host_told("GPUReady") == ("True", "GPUsReady"))


async def test_a_gpu_that_is_lost_since_the_bind_is_the_hosts_fault(rig: Rig) -> None:
    rig.start()
    await until(lambda: rig.host_told("GPUReady")[0] == "True")
    rig.gpus.reading = GpuReading((gpu(1, "b"),))
    await until(lambda: rig.host_told("GPUReady") == ("False", "GPULost"))

    key = rig.bind("trains", cpus=(0,), command=["sleep", "60"])
    rig.api.change_status(TASK, key, gpus=[{"index": 0, "uuid": "GPU-a"}])

    await until(lambda: rig.told(key, "Started") == ("False", "Stopped"))
    assert "GPU-a" in rig.message(key, "Started")
    assert "finishedAt" not in rig.status(key)


async def test_a_driver_that_fails_takes_no_gpu_work(rig: Rig) -> None:
    rig.gpus.reading = GpusUnknownError("NVML failed: Driver/library version mismatch")
    rig.start()
    await until(lambda: rig.host_told("GPUReady") == ("False", "GPUsUnknown"))
    host = rig.host()
    assert host is not None
    assert host["status"]["capacity"]["gpus"] == []
    assert rig.is_ready()
    await rig.quiet()


async def test_a_host_without_gpus_does_not_speak_of_them(rig: Rig) -> None:
    rig.gpus.reading = GpuReading()
    rig.start()
    await until(rig.is_ready)
    assert rig.host_told("GPUReady") == ("", "")
