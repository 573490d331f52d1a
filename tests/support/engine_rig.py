"""A container engine with what a test of it needs: containers, their ends, their output."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from weir_nodedaemon.engines.port import (
    BEGINNING,
    ContainerEngine,
    ContainerSpec,
    InstanceState,
    LogPosition,
    ObservedInstance,
    Stream,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Images:
    """Names of images that a pull finds, does not find, and cannot ask for."""

    pullable: str
    unknown_repository: str
    unknown_tag: str
    unreachable: str = "127.0.0.1:9/none:1"


@dataclass
class Rig:
    """One engine under test.

    Attributes:
        image: a busybox that is there.
        engine_of: makes the engine of another host over the same Docker or fake world.
    """

    engine: ContainerEngine
    image: str
    engine_of: Callable[[str], ContainerEngine]
    engines: list[ContainerEngine] = field(default_factory=list)

    def other_host(self) -> ContainerEngine:
        """Return the engine of another host; the rig closes it."""
        engine = self.engine_of(f"host-{uuid.uuid4().hex[:8]}")
        self.engines.append(engine)
        return engine

    def spec(self, script: str | None = "true", **changes: Any) -> ContainerSpec:
        """Return a container with a name of its own that runs a shell line."""
        values: dict[str, Any] = {
            "name": f"weir-{uuid.uuid4()}-1",
            "image": self.image,
            "labels": {"weir.dev/kind": "Task"},
            "command": None if script is None else ("sh", "-c", script),
            "network_mode": "None",  # twice as fast as with a bridge
        }
        return ContainerSpec(**(values | changes))

    async def create(self, script: str | None = "true", **changes: Any) -> str:
        """Create a container; return its name."""
        spec = self.spec(script, **changes)
        await self.engine.create(spec)
        return spec.name

    async def run(self, script: str | None = "true", **changes: Any) -> str:
        """Create and start a container; return its name."""
        name = await self.create(script, **changes)
        await self.engine.start(name)
        return name

    async def seen(self, name: str) -> ObservedInstance:
        """Return a container that has to be there."""
        container = await self.engine.inspect(name)
        assert container is not None, f"{name} is gone"
        return container

    async def ended(self, name: str) -> ObservedInstance:
        """Wait for a container's end."""

        async def look() -> ObservedInstance | None:
            container = await self.seen(name)
            return container if container.state is InstanceState.EXITED else None

        return await until(look, f"{name} has ended")

    async def result(self, script: str | None, **changes: Any) -> ObservedInstance:
        """Run a container to its end."""
        return await self.ended(await self.run(script, **changes))

    async def output(self, name: str, after: LogPosition = BEGINNING) -> dict[Stream, bytes]:
        """Return all that a container writes until its end, by stream."""
        parts: dict[Stream, list[bytes]] = {stream: [] for stream in Stream}
        async with aclosing(self.engine.follow(name, after)) as chunks:
            async for chunk in chunks:
                assert not chunk.gap
                parts[chunk.stream].append(chunk.data)
        return {stream: b"".join(data) for stream, data in parts.items()}

    async def says(self, name: str, words: bytes) -> None:
        """Wait until a container has written these words to begin with."""
        said = b""
        async with asyncio.timeout(60), aclosing(self.engine.follow(name)) as chunks:
            async for chunk in chunks:
                said += chunk.data
                if said == words:
                    return
        raise AssertionError(f"{name} said {said!r}")

    async def lines(self, script: str, **changes: Any) -> list[str]:
        """Return the lines that a container wrote to stdout."""
        name = await self.run(script, **changes)
        return (await self.output(name))[Stream.STDOUT].decode().splitlines()

    async def close(self) -> None:
        """Remove what the engines have, and close them."""
        for engine in [self.engine, *self.engines]:
            await asyncio.gather(*(engine.remove(name) for name in await engine.observe()))
            await engine.close()


async def until(look: Callable[[], Awaitable[T | None]], what: str, timeout: float = 60) -> T:
    """Return the first true result of ``look``."""
    deadline = time.monotonic() + timeout
    while not (seen := await look()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.02)
    return seen
