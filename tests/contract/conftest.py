"""The engines that one suite holds to one port."""

import uuid
from collections.abc import AsyncIterator, Iterator

import docker
import pytest

from devcluster.state import Ports
from support.engine_rig import Images, Rig
from support.registries import real_registry
from support.run import NewState
from weir_nodedaemon.engines.docker.engine import DockerEngine
from weir_nodedaemon.engines.fake.engine import FakeEngine, FakeWorld
from weir_nodedaemon.engines.registry import ENGINES

_NEED_DOCKER = {"docker"}


@pytest.fixture
async def docker_rig(docker_host: str, busybox_image: str) -> AsyncIterator[Rig]:
    """Real Docker."""
    host_name = f"host-{uuid.uuid4().hex[:8]}"
    engine = DockerEngine(host_name, docker_host)
    rig = Rig(engine, busybox_image, lambda host: DockerEngine(host, docker_host))
    yield rig
    await rig.close()


@pytest.fixture
async def fake_rig() -> AsyncIterator[Rig]:
    """The fake, with one image."""
    world = FakeWorld()
    world.images.add("localhost/busybox:demo")
    rig = Rig(
        FakeEngine("host-1", world), "localhost/busybox:demo", lambda host: FakeEngine(host, world)
    )
    yield rig
    await rig.close()
    await world.close()


@pytest.fixture(
    params=[
        pytest.param(engine.name, marks=[pytest.mark.docker] if engine.name in _NEED_DOCKER else [])
        for engine in ENGINES
    ]
)
def rig(request: pytest.FixtureRequest) -> Rig:
    """Each engine in turn: its rig is the fixture ``<name>_rig``."""
    found: Rig = request.getfixturevalue(f"{request.param}_rig")
    return found


@pytest.fixture(scope="session")
def image_registry(new_state: NewState) -> Iterator[str]:
    """``host:port`` of a real registry."""
    with new_state("registry") as state:
        port = Ports(state).get("registry")
        with real_registry(state.root / "registry", port) as address:
            yield address


@pytest.fixture(scope="session")
def docker_images(docker_host: str, busybox_image: str, image_registry: str) -> Iterator[Images]:
    """An image that is only in the registry, and names of some that are nowhere."""
    repository = f"{image_registry}/team/busybox"
    client = docker.APIClient(docker_host, version="auto")
    client.tag(busybox_image, repository, "1")
    for line in client.push(repository, "1", stream=True, decode=True):
        assert "error" not in line, line
    client.remove_image(f"{repository}:1")
    yield Images(
        pullable=f"{repository}:1",
        unknown_repository=f"{image_registry}/team/none:1",
        unknown_tag=f"{repository}:none",
    )
    client.close()


@pytest.fixture
def images(request: pytest.FixtureRequest, rig: Rig) -> Images:
    """Names of images for the engine under test."""
    if isinstance(rig.engine, FakeEngine):
        return Images("team/busybox:1", "unknown/none:1", "unknown/busybox:none")
    found: Images = request.getfixturevalue("docker_images")
    return found


@pytest.fixture
def slow_image(request: pytest.FixtureRequest, rig: Rig) -> str:
    """An image whose pull takes for ever."""
    if isinstance(rig.engine, FakeEngine):
        rig.engine.world.pull_seconds = 60
        return "team/slow:1"
    return f"{request.getfixturevalue('stuck_registry')}/team/slow:1"
