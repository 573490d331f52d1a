"""A container engine in memory, for tests, benchmarks and a look at Weir without Docker.

It keeps the same promises as ``docker_engine``; one contract suite holds both to them. What a
container runs is in ``fake_program``.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from weir_crds.conditions import ConditionType
from weir_crds.names import LABEL_HOST, identity_labels
from weir_nodedaemon.engines.engine_type import EngineType
from weir_nodedaemon.engines.fake.container import FakeContainer
from weir_nodedaemon.engines.port import (
    BEGINNING,
    BY_HOST_LOGIN,
    ContainerSpec,
    CreateRefusedError,
    EngineEvent,
    EngineInfo,
    EngineRefusedError,
    EngineUnavailableError,
    ImagePullError,
    InstanceGoneError,
    InstanceState,
    InstanceUsage,
    LogChunk,
    LogPosition,
    ObservedInstance,
    PullAccess,
    RegistryLogin,
)

_NAME = re.compile(r"[a-z0-9]+([._:/@-][a-zA-Z0-9_.-]+)*")
_UNREACHABLE = "127.0.0.1:9/"  # nothing listens there, for Docker too
_UNKNOWN = "unknown/"
_NO_FOLDER = "/nonexistent"


class FakeWorld:
    """What several fake engines share, as several hosts share a Docker, and what outlives them.

    Attributes:
        images: what is there; a pull adds to it.
        start_fails: why no container can be started; empty: they can.
        written: how many bytes a container has written to its own file system.
        private: images that are pulled with that login only.
        pull_seconds: how long every pull takes.
        cpus: the cores that the engine says it has; None: it does not tell.
        root_dir: where the engine says it keeps all.
        available: False makes every call fail, and ends the streams.
    """

    def __init__(self) -> None:
        """Begin with no containers and no images."""
        self.images: set[str] = set()
        self.pull_seconds = 0.0
        self.start_fails = ""
        self.written: dict[str, int] = {}
        self.private: dict[str, RegistryLogin] = {}
        self.cpus: tuple[int, ...] | None = None
        self.root_dir = ""
        self.containers: dict[str, FakeContainer] = {}
        self._available = True
        self._listeners: dict[asyncio.Queue[EngineEvent | None], str] = {}

    @property
    def available(self) -> bool:
        """Whether the engine answers."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        self._available = value
        if not value:
            for queue in self._listeners:
                queue.put_nowait(None)

    def tell(self, host_name: str, name: str, action: str) -> None:
        """Send an event to all that listen for this host."""
        for queue, host in self._listeners.items():
            if host == host_name:
                queue.put_nowait(EngineEvent(name=name, action=action))

    async def listen(self, host_name: str) -> AsyncGenerator[EngineEvent, None]:
        """Yield this host's events until the engine is gone."""
        queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        self._listeners[queue] = host_name
        try:
            yield EngineEvent(name="", action="")
            while (event := await queue.get()) is not None:
                yield event
        finally:
            del self._listeners[queue]

    async def close(self) -> None:
        """End all programs without a trace."""
        for container in self.containers.values():
            await container.stop_playing()


class FakeEngine:
    """The containers of one host in a world of fake containers."""

    def __init__(self, host_name: str, world: FakeWorld | None = None) -> None:
        """Look into a world, or into a new one of its own that ends with ``close``."""
        self._host_name = host_name
        self._own_world = world is None
        self.world = world or FakeWorld()

    async def info(self) -> EngineInfo:
        """Return the name ``fake``."""
        await self._reach()
        return EngineInfo(
            name="fake", version="1", cpus=self.world.cpus, root_dir=self.world.root_dir
        )

    async def observe(self) -> dict[str, ObservedInstance]:
        """Return all containers of this host, by name."""
        await self._reach()
        return {
            name: container.seen
            for name, container in self.world.containers.items()
            if container.seen.labels[LABEL_HOST] == self._host_name
        }

    async def inspect(self, name: str) -> ObservedInstance | None:
        """Return one container of this host, or None."""
        await self._reach()
        container = self._find(name)
        return container.seen if container else None

    async def has_image(self, image: str) -> bool:
        """Tell whether the image is on the host."""
        await self._reach()
        return image in self.world.images

    async def pull(self, image: str, access: PullAccess = BY_HOST_LOGIN) -> None:
        """Pull an image: ``unknown/…`` is never there, ``127.0.0.1:9/…`` never answers."""
        await self._reach()
        if not _NAME.fullmatch(image):
            raise ImagePullError("invalid reference format", permanent=True)
        if image.startswith(_UNREACHABLE):
            raise ImagePullError("connect: connection refused", permanent=False)
        await asyncio.sleep(self.world.pull_seconds)
        if image.startswith(_UNKNOWN):
            raise ImagePullError(
                f"manifest for {image} not found: manifest unknown", permanent=True
            )
        owner = self.world.private.get(image)
        if owner is not None and owner not in access.logins:
            raise ImagePullError("unauthorized: authentication required", permanent=True)
        self.world.images.add(image)

    async def create(self, spec: ContainerSpec) -> None:
        """Create a container; one that exists under that name already is left as it is."""
        await self._reach()
        if self._find(spec.name):
            return
        if spec.name in self.world.containers:
            raise CreateRefusedError(f"the name {spec.name} is in use")
        if spec.image not in self.world.images:
            raise ImagePullError(f"no such image: {spec.image}", permanent=False)
        for mount in spec.mounts:
            if mount.host_path.startswith(_NO_FOLDER):
                raise CreateRefusedError(f"bind source path does not exist: {mount.host_path}")
        identity = identity_labels(spec.name, self._host_name)
        labelled = replace(spec, labels={**spec.labels, **identity})
        self.world.containers[spec.name] = FakeContainer(
            labelled, partial(self.world.tell, self._host_name, spec.name)
        )

    async def start(self, name: str) -> None:
        """Start a created container; a running or ended one is left as it is."""
        container = await self._known(name)
        if container.seen.state is InstanceState.CREATED:
            if self.world.start_fails:
                raise EngineRefusedError(self.world.start_fails)
            container.start()

    async def start_again(self, name: str) -> None:
        """Start an ended container once more; a running one is left."""
        container = await self._known(name)
        if container.seen.state is InstanceState.EXITED:
            container.start()

    async def commit(self, name: str, image: str) -> None:
        """Keep a container as an image; see the port."""
        await self._known(name)
        self.world.images.add(image)

    async def pause(self, name: str) -> None:
        """Freeze a running container; one in any other state is left as it is."""
        container = await self._known(name)
        if container.seen.state is InstanceState.RUNNING:
            container.pause()

    async def resume(self, name: str) -> None:
        """Thaw a paused container; one in any other state is left as it is."""
        container = await self._known(name)
        if container.seen.state is InstanceState.PAUSED:
            container.resume()

    async def signal(self, name: str, signal_number: int) -> None:
        """Send a signal to the container's program, and thaw it; see the port."""
        await self._reach()
        container = self._find(name)
        if container is None or not container.alive:
            return
        if container.seen.state is InstanceState.PAUSED:
            container.resume()
        container.signal(signal_number)

    async def remove(self, name: str) -> None:
        """Remove a container, killing it if it runs; a missing one is no error."""
        await self._reach()
        container = self._find(name)
        if container is not None:
            del self.world.containers[name]
            container.destroy()

    async def update_cpus(self, name: str, cpus: tuple[int, ...]) -> None:
        """Move a container to these cores; an ended one is left as it is."""
        container = await self._known(name)
        if container.seen.state is not InstanceState.EXITED:
            container.move(cpus)

    async def follow(
        self, name: str, after: LogPosition = BEGINNING
    ) -> AsyncGenerator[LogChunk, None]:
        """Yield what the container writes after a position, until it ends."""
        container = await self._known(name)
        async with aclosing(container.output(after)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield events of this host's containers, after a first one that says: look at all."""
        await self._reach()
        async with aclosing(self.world.listen(self._host_name)) as events:
            async for event in events:
                yield event

    async def usage(self, name: str) -> InstanceUsage | None:
        """Return a use of nothing for a running container."""
        await self._reach()
        container = self._find(name)
        if container is None or not container.alive:
            return None
        return InstanceUsage(cpu_seconds=0.0, memory_bytes=0, pids=1)

    async def layer_bytes(self, name: str) -> int | None:
        """Return what ``world.written`` says of a container."""
        await self._reach()
        return self.world.written.get(name, 0) if self._find(name) else None

    async def close(self) -> None:
        """End the programs of a world that is this engine's own."""
        if self._own_world:
            await self.world.close()

    async def _reach(self) -> None:
        await asyncio.sleep(0)  # where Docker would be waited for, others go on
        if not self.world.available:
            raise EngineUnavailableError("the fake engine is switched off")

    def _find(self, name: str) -> FakeContainer | None:
        container = self.world.containers.get(name)
        if container is None or container.seen.labels[LABEL_HOST] != self._host_name:
            return None
        return container

    async def _known(self, name: str) -> FakeContainer:
        await self._reach()
        container = self._find(name)
        if container is None:
            raise InstanceGoneError(f"no container {name}")
        return container


# It is there in Docker's place.
FAKE = EngineType(
    name="fake",
    ready_condition=ConditionType.DOCKER_READY,
    make=lambda chosen: FakeEngine(chosen.host_name),
    peer=lambda _: None,
    uses_gpus=False,
)
