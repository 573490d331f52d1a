"""Whether containers can be started on a host again."""

from collections.abc import Callable

import pytest

from weir_nodedaemon.engines.fake.engine import FakeEngine, FakeWorld
from weir_nodedaemon.engines.port import ContainerSpec, EngineRefusedError
from weir_nodedaemon.instances.probe import StartProbe

IMAGE = "localhost/busybox:demo"
LIKE = ContainerSpec(
    name="weir-u-1",
    image=IMAGE,
    labels={"weir.dev/host-lost-grace": "0"},
    command=("train",),
    working_dir="/data",
    env={"A": "secret"},
    cpus=(3,),
    memory_nodes=(1,),
    memory_bytes=2**20,
    network_mode="Host",
    gpu_uuids=("GPU-a", "GPU-b"),
    privileged=True,
)


class Broken(FakeEngine):
    """An engine that cannot make some containers."""

    def __init__(self) -> None:
        super().__init__("n1", FakeWorld())
        self.world.images.add(IMAGE)
        self.refuses: Callable[[ContainerSpec], bool] = lambda _: False
        self.made: list[ContainerSpec] = []

    async def create(self, spec: ContainerSpec) -> None:
        """Refuse some."""
        if self.refuses(spec):
            raise EngineRefusedError("failed to write to cpuset.cpus")
        await super().create(spec)
        self.made.append(spec)


@pytest.fixture
def engine() -> Broken:
    return Broken()


@pytest.fixture
def probe(engine: Broken) -> StartProbe:
    """One that has seen a start fail; its second GPU is another's by now."""
    made = StartProbe(engine, "n1", pool=lambda: (0, 1), free_gpus=lambda gpus: gpus[:1])
    made.like = LIKE
    return made


async def test_a_probe_starts_a_container_and_leaves_nothing(
    engine: Broken, probe: StartProbe
) -> None:
    """With what the host gave to the one that failed; nothing of what its author wrote runs."""
    await probe()

    (made,) = engine.made
    assert made.name == probe.name
    assert (made.cpus, made.memory_nodes, made.memory_bytes) == ((0, 1), (1,), 2**20)
    assert (made.network_mode, made.gpu_uuids) == ("Host", ("GPU-a",))
    assert made.command == ("/weir-probe",)
    assert (made.env, made.mounts, made.working_dir, made.privileged) == ({}, (), None, False)
    assert "weir.dev/host-lost-grace" not in made.labels
    assert await engine.observe() == {}


@pytest.mark.parametrize(
    "refuses",
    [
        lambda spec: bool(spec.cpus),
        lambda spec: bool(spec.gpu_uuids),
        lambda spec: bool(spec.memory_nodes),
        lambda spec: spec.memory_bytes is not None,
    ],
    ids=["cpuset", "GPU runtime", "NUMA nodes", "memory limit"],
)
async def test_a_host_that_cannot_give_what_was_asked_for_is_still_sick(
    engine: Broken, probe: StartProbe, refuses: Callable[[ContainerSpec], bool]
) -> None:
    engine.refuses = refuses
    with pytest.raises(EngineRefusedError):
        await probe()
    assert await engine.observe() == {}


async def test_a_host_on_which_nothing_starts_still_fails_and_nothing_is_left(
    engine: Broken, probe: StartProbe
) -> None:
    engine.world.start_fails = "no available IPv4 addresses"
    with pytest.raises(EngineRefusedError, match="IPv4"):
        await probe()
    assert await engine.observe() == {}


@pytest.mark.parametrize("like", [None, ContainerSpec("weir-u-1", "gone/image:1", {})])
async def test_without_an_image_the_next_task_is_the_probe(
    engine: Broken, probe: StartProbe, like: ContainerSpec | None
) -> None:
    engine.world.start_fails = "no available IPv4 addresses"
    probe.like = like
    await probe()
    assert await engine.observe() == {}
