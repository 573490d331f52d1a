"""Docker (and its containerd) killed in the middle of a call, at every part of it."""

import asyncio
import time
from pathlib import Path

import pytest

from devcluster import dockerd
from support.cluster import Cluster
from support.docker_leftovers import shims
from support.polling import eventually
from weir_crds.errors import WeirError
from weir_nodedaemon.engines.docker.engine import DockerEngine
from weir_nodedaemon.engines.port import (
    ContainerSpec,
    InstanceLostError,
    InstanceState,
    Mount,
    ObservedInstance,
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PARTS = 6


class Victim:
    """A Docker that dies in the middle of calls, and an engine that uses it."""

    def __init__(self, world: Cluster, host: str) -> None:
        self._process = world.runner["dockerd"]
        self._host = host
        self.engine = DockerEngine("victim", host)

    async def die_within(
        self, call: "asyncio.Future[None] | asyncio.Task[None]", after: float
    ) -> None:
        """Kill Docker a moment after a call began, and start it again when the call has failed."""
        await asyncio.sleep(after)
        self._process.kill()
        await asyncio.gather(call, return_exceptions=True)
        self._process.start()
        deadline = time.monotonic() + 60
        while not await asyncio.to_thread(dockerd.answers, self._host):
            assert time.monotonic() < deadline, "dockerd does not come back"
            await asyncio.sleep(0.05)

    async def started(self, spec: ContainerSpec) -> ObservedInstance | None:
        """Start a container as the daemon does: again until it runs; None: it was lost."""
        deadline = time.monotonic() + 90
        while True:
            try:
                seen = await self.engine.inspect(spec.name)
                if seen is None:
                    await self.engine.create(spec)
                elif seen.state is not InstanceState.CREATED:
                    return seen
                await self.engine.start(spec.name)
            except InstanceLostError:
                return None
            except WeirError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.3)


@pytest.fixture
def victim(world: Cluster, own_docker: str) -> Victim:
    """A Docker of our own."""
    return Victim(world, own_docker)


def _spec(name: str, folder: Path) -> ContainerSpec:
    return ContainerSpec(
        name=f"weir-{name}-1",
        image="localhost/busybox:demo",
        labels={"weir.dev/uid": name},
        command=("sh", "-c", "echo ran >> /witness/runs; exec sleep 600"),
        mounts=(Mount(str(folder), "/witness"),),
        network_mode="None",
    )


async def test_in_a_start_it_is_started_all_the_same(
    world: Cluster, victim: Victim, tmp_path: Path
) -> None:
    """The program runs once and goes on, or is known to be lost; nothing of it is left."""
    usual = await _usual_start_seconds(victim, tmp_path)
    for part in range(PARTS):
        folder = tmp_path / str(part)
        folder.mkdir()
        spec = _spec(f"part{part}", folder)
        await victim.engine.create(spec)
        start = asyncio.ensure_future(victim.engine.start(spec.name))
        await victim.die_within(start, usual * (part + 0.5) / PARTS)

        seen = await victim.started(spec)

        if seen is None:  # its program had begun: it was killed before or after its first line
            assert not (folder / "runs").exists() or (folder / "runs").read_text() == "ran\n"
        else:
            assert seen.state is InstanceState.RUNNING, seen
            await asyncio.to_thread(eventually, (folder / "runs").exists, "it ran")
            assert (folder / "runs").read_text() == "ran\n", f"part {part}"
        await victim.engine.remove(spec.name)
        await asyncio.to_thread(eventually, lambda: not shims(world.state), "no process is left")
    await victim.engine.close()


async def _usual_start_seconds(victim: Victim, folder: Path) -> float:
    spec = _spec("usual", folder)
    await victim.engine.create(spec)
    began = time.monotonic()
    await victim.engine.start(spec.name)
    took = time.monotonic() - began
    await victim.engine.remove(spec.name)
    return took
