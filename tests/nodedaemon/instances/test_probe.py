"""Whether containers can be started on a host again."""

import pytest

from weir_nodedaemon.engines.fake.engine import FakeEngine
from weir_nodedaemon.engines.port import EngineRefusedError
from weir_nodedaemon.instances.probe import StartProbe

IMAGE = "localhost/busybox:demo"


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine("n1")
    made.world.images.add(IMAGE)
    return made


async def test_a_probe_starts_a_container_and_leaves_nothing(engine: FakeEngine) -> None:
    probe = StartProbe(engine, "n1")
    probe.image = IMAGE
    started: list[str] = []
    tell = engine.world.tell
    engine.world.tell = lambda host, name, action: (
        started.append(action)
        or tell(  # type: ignore[method-assign, func-returns-value]
            host, name, action
        )
    )
    await probe()
    assert "start" in started
    assert await engine.observe() == {}


async def test_a_host_on_which_nothing_starts_still_fails_and_nothing_is_left(
    engine: FakeEngine,
) -> None:
    engine.world.start_fails = "no available IPv4 addresses"
    probe = StartProbe(engine, "n1")
    probe.image = IMAGE
    with pytest.raises(EngineRefusedError, match="IPv4"):
        await probe()
    assert await engine.observe() == {}


@pytest.mark.parametrize("image", ["", "gone/image:1"])
async def test_without_an_image_the_next_task_is_the_probe(engine: FakeEngine, image: str) -> None:
    engine.world.start_fails = "no available IPv4 addresses"
    probe = StartProbe(engine, "n1")
    probe.image = image
    await probe()
    assert await engine.observe() == {}
