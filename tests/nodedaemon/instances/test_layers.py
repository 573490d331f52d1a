"""What containers write to their own file systems, where nothing holds them to a limit."""

import logging

import pytest

from weir_crds.names import LABEL_LAYER_LIMIT, container_name
from weir_nodedaemon.engines.fake.engine import FakeEngine
from weir_nodedaemon.engines.port import ContainerSpec
from weir_nodedaemon.instances.layers import LAYERS_OVER_LIMIT, LayerWatch
from weir_nodedaemon.instances.observations import Observations

IMAGE = "localhost/busybox:demo"
LIMITED, FREE = (
    container_name("11111111-1111-4111-8111-111111111111", 1),
    container_name("22222222-2222-4222-8222-222222222222", 1),
)


@pytest.fixture
async def engine() -> FakeEngine:
    """Two containers, one of which may write 1 MiB."""
    made = FakeEngine("n1")
    made.world.images.add(IMAGE)
    for name, labels in ((LIMITED, {LABEL_LAYER_LIMIT: str(2**20)}), (FREE, {})):
        await made.create(ContainerSpec(name, IMAGE, labels, command=("sleep", "60")))
        await made.start(name)
        made.world.written[name] = 2**20
    return made


async def watch_of(engine: FakeEngine) -> LayerWatch:
    observations = Observations(engine, lambda: None)
    await observations.observe_all()
    return LayerWatch(engine, observations)


def over() -> float:
    (family,) = LAYERS_OVER_LIMIT.collect()
    (sample,) = family.samples
    return sample.value


async def test_one_beyond_its_limit_is_counted_and_named_once(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    watch = await watch_of(engine)
    await watch.measure()
    assert over() == 0

    engine.world.written = {LIMITED: 2**20 + 1, FREE: 2**40}
    await watch.measure()
    await watch.measure()
    assert over() == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"more is written than its limit container={LIMITED} written=1048577 limit=1Mi"
    ]

    engine.world.written = {}
    await watch.measure()
    assert over() == 0


async def test_an_engine_that_is_away_changes_nothing(engine: FakeEngine) -> None:
    engine.world.written[LIMITED] = 2**30
    watch = await watch_of(engine)
    await watch.measure()
    engine.world.available = False
    await watch.measure()
    assert over() == 1
    engine.world.available = True
    await engine.remove(LIMITED)
    await watch.measure()
    assert over() == 0
