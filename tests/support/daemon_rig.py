"""A node daemon over a fake engine and a fake API server, to start, kill and watch."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from support.aio import until
from support.fake_api import FakeApi
from support.tasks import BUSYBOX, task
from weir_crds.errors import WeirError
from weir_crds.kinds import HOST, TASK
from weir_crds.names import container_name
from weir_crds.phase import phase_of
from weir_kube.api import Api
from weir_kube.process import causes
from weir_kube.store import Key, Object, Store
from weir_nodedaemon.daemon import Daemon
from weir_nodedaemon.engines.engine_type import EngineType
from weir_nodedaemon.engines.fake.engine import FAKE, FakeEngine, FakeWorld
from weir_nodedaemon.engines.port import (
    ContainerDefaults,
    ContainerEngine,
    EngineUnavailableError,
    InstanceState,
)
from weir_nodedaemon.host.status import HostIdentity
from weir_nodedaemon.instances import identity
from weir_nodedaemon.instances.engines import Engine
from weir_nodedaemon.instances.identity import Clock, InstanceID
from weir_nodedaemon.instances.journal import JournalEntry
from weir_nodedaemon.instances.kind import InstanceKind
from weir_nodedaemon.instances.machinery import Machinery, Periods
from weir_nodedaemon.kinds import KINDS
from weir_nodedaemon.logs import LogStore
from weir_nodedaemon.machine.capacity import CapacityWatch, MachineCapacity
from weir_nodedaemon.machine.disk import DiskWatch
from weir_nodedaemon.machine.gpus.port import GpuReading
from weir_nodedaemon.machine.gpus.watch import GpuMemory, GpuWatch
from weir_nodedaemon.machine.numa import NumaNode

HOST_NAME = "n1"
NAMESPACE = "default"
GIB = 2**30
_FAST = Periods(
    resync=0.3,
    engine_retry=0.02,
    gpus=0.05,
    output_sweep=0.02,
    fence=0.02,
    first_renewal=0.02,
)


class WatchedWorld(FakeWorld):
    """A world that takes note of what must never happen, at the moment it happens."""

    def __init__(self) -> None:
        super().__init__()
        self.images.add(BUSYBOX)
        self.starts: Counter[str] = Counter()
        self.violations: list[str] = []

    def tell(self, host_name: str, name: str, action: str) -> None:
        """Check every start against what runs already."""
        if action == "start":
            self.starts[name] += 1
            if self.starts[name] > 1:
                self.violations.append(f"{name} was started {self.starts[name]} times")
            mine = self.containers[name].seen
            for other in self.containers.values():
                if other.seen.name == name or not other.alive:
                    continue
                shared = set(mine.cpus) & set(other.seen.cpus)
                if shared and "exclusive" in (_pool(mine.labels), _pool(other.seen.labels)):
                    self.violations.append(f"{name} shares {shared} with {other.seen.name}")
        super().tell(host_name, name, action)


class MadeUpGpus:
    """Answers for NVML; ``reading`` may be an exception."""

    def __init__(self) -> None:
        self.reading: GpuReading | Exception = GpuReading()

    async def look(self) -> GpuReading:
        """Return or raise what is set."""
        if isinstance(self.reading, Exception):
            raise self.reading
        return self.reading


class Rig:
    """One host: its world and API outlive the daemon, which may be killed and started."""

    def __init__(self, state_dir: Path, *, cpus: int = 4, memory_bytes: int = 8 * GIB) -> None:
        self.state_dir = state_dir
        self.api = FakeApi()
        self.world = WatchedWorld()
        self.engine_type: EngineType = FAKE
        self.engine: ContainerEngine = FakeEngine(HOST_NAME, self.world)
        cores = tuple(range(cpus))
        self.capacity = MachineCapacity(
            cores, memory_bytes, (NumaNode(0, cores, memory_bytes, (10,)),)
        )
        self.gpus = MadeUpGpus()
        self.defaults = ContainerDefaults(HOST_NAME)
        self.lease_age = 0.0
        self.periods = _FAST
        self.clock: Clock = identity.now
        self.kinds: Sequence[Callable[[Machinery], InstanceKind]] = KINDS
        self.other_engines: tuple[Engine, ...] = ()
        self.daemon: Daemon | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Rig":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        await self.world.close()

    def start(self) -> Daemon:
        """Start a daemon, as after a restart of the process."""
        assert self._running is None
        machinery = Machinery(
            api=cast(Api, self.api),
            containers=self.engine,
            engine_type=self.engine_type,
            other_engines=self.other_engines,
            capacity=CapacityWatch(self._read_capacity),
            defaults=self.defaults,
            logs=LogStore(self.state_dir / "logs", 2**20),
            state_dir=self.state_dir,
            lease_age=lambda: self.lease_age,
            periods=self.periods,
            clock=self.clock,
        )
        self.machinery = machinery
        self.daemon = Daemon(
            machinery,
            [kind(machinery) for kind in self.kinds],
            identity=HostIdentity(
                name=HOST_NAME,
                host_id="11111111-2222-3333-4444-555555555555",
                endpoint={"url": "https://127.0.0.1:8443", "fingerprint": "sha256:" + "0" * 64},
                addresses=[{"type": "InternalIP", "address": "127.0.0.1"}],
                info={"bootID": "b"},
            ),
            hosts=Store(),
            gpus=GpuWatch(self.gpus, GpuMemory(self.state_dir / "gpus.json", "b")),
            disk=DiskWatch(self.state_dir, 0),
        )
        self._running = asyncio.create_task(self.daemon.run())
        return self.daemon

    def _read_capacity(self, engine_cpus: Collection[int] | None) -> MachineCapacity:
        """Return what the made-up machine has of what its engine has."""
        usable = set(self.capacity.cpus if engine_cpus is None else engine_cpus)
        return replace(
            self.capacity,
            cpus=tuple(cpu for cpu in self.capacity.cpus if cpu in usable),
            numa=tuple(
                replace(node, cpus=tuple(cpu for cpu in node.cpus if cpu in usable))
                for node in self.capacity.numa
            ),
        )

    async def kill(self) -> None:
        """End the daemon at whatever line it is."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def failure(self) -> str:
        """Start a daemon that shall end by itself, and return what it said."""
        self.start()
        return await self.last_words()

    async def last_words(self) -> str:
        """Wait for the daemon to end by itself, and return what it said."""
        assert self._running is not None
        running, self._running = self._running, None
        said: list[str] = []
        try:
            async with asyncio.timeout(60):
                await running
        except* WeirError as group:
            said = [str(exc) for exc in causes(group)]
        return said[0]

    def bind(self, name: str, *, cpus: tuple[int, ...] = (), run: int = 1, **spec: Any) -> Key:
        """Create a Task that is bound to this host already."""
        obj = task(name, NAMESPACE, **{"command": ["true"], **spec})
        defaults: dict[str, Any] = {"desiredState": "Running", "resources": {"cpu": len(cpus)}}
        obj["spec"] = {**defaults, **obj["spec"]}
        obj["status"] = {"nodeName": HOST_NAME, "cpus": list(cpus), "runID": run}
        self.api.put(TASK, obj)
        return Key(NAMESPACE, name)

    @staticmethod
    def ends_when_told(code: int) -> list[str]:
        """Return a command that ends with this code at ``tell_to_end``, and not before."""
        return ["sh", "-c", f"sleep 600; exit {code}"]

    def tell_to_end(self, key: Key) -> None:
        """Have a Task's program end by itself, whoever looks or does not."""
        code = int(self.task(key)["spec"]["command"][-1].split()[-1])
        self.world.containers[self.name(key)]._end(code)

    def want(self, key: Key, **spec: Any) -> None:
        """Change a Task's spec."""
        self.api.change_spec(TASK, key, **spec)

    def task(self, key: Key) -> Object:
        """Return a Task as the API has it."""
        found = self.api.peek(TASK, key)
        assert found is not None
        return found

    def status(self, key: Key) -> dict[str, Any]:
        """Return a Task's status."""
        status: dict[str, Any] = self.task(key)["status"]
        return status

    def told(self, key: Key, type: str) -> tuple[str, str]:
        """Return status and reason of a condition; empty strings: it is not there."""
        for condition in self.status(key).get("conditions") or ():
            if condition["type"] == type:
                return condition["status"], condition["reason"]
        return "", ""

    def message(self, key: Key, type: str) -> str:
        """Return the message of a condition."""
        found = [c for c in self.status(key).get("conditions") or () if c["type"] == type]
        return str(found[0]["message"]) if found else ""

    def container(self, key: Key, run: int = 1) -> InstanceState | None:
        """Return the state of a Task's container; None: there is none."""
        found = self.world.containers.get(self.name(key, run))
        return found.seen.state if found else None

    def name(self, key: Key, run: int = 1) -> str:
        """Return the name of a Task's container."""
        return container_name(self.task(key)["metadata"]["uid"], run)

    def noted(self, key: Key, run: int = 1) -> JournalEntry:
        """Return what the daemon has noted of a run."""
        found = self.machinery.journal.get(InstanceID(self.task(key)["metadata"]["uid"], run))
        assert found is not None
        return found

    def host(self) -> Object | None:
        """Return the Host."""
        return self.api.peek(HOST, Key("", HOST_NAME))

    def is_ready(self) -> bool:
        """Tell whether the Host says that it is ready."""
        return self.host_told("Ready") == ("True", "DaemonReady")

    def host_told(self, type: str) -> tuple[str, str]:
        """Return status and reason of a condition of the Host; empty strings: it is not there."""
        for condition in ((self.host() or {}).get("status") or {}).get("conditions") or ():
            if condition["type"] == type:
                return condition["status"], condition["reason"]
        return "", ""

    def host_message(self, type: str) -> str:
        """Return the message of a condition of the Host; empty: it is not there."""
        for condition in ((self.host() or {}).get("status") or {}).get("conditions") or ():
            if condition["type"] == type:
                return str(condition["message"])
        return ""

    async def finished(self, key: Key, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for a Task's end and for its container to be gone; return its status."""
        await until(lambda: "finishedAt" in self.status(key), f"{key} ends", timeout)
        await until(lambda: self.container(key) is None, f"{key} loses its container", timeout)
        status = self.status(key)
        assert status["phase"] == phase_of(self.task(key)["spec"], status)
        return status

    async def quiet(self, seconds: float = 0.4) -> None:
        """Wait, and assert that nothing was written meanwhile."""
        before = list(self.api.writes)
        await asyncio.sleep(seconds)
        assert self.api.writes == before


class Jittery:
    """An engine whose calls take a random number of turns, and now and then fail.

    A failure may come after the effect, as when Docker answers past the deadline.
    """

    def __init__(self, engine: ContainerEngine, chance: random.Random) -> None:
        self._engine = engine
        self._chance = chance
        self.failing = True

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._engine, name)
        if name in ("follow", "events", "close"):
            return call

        async def slowly(*args: Any) -> Any:
            await self._turns()
            result = await call(*args)
            await self._turns()
            return result

        return slowly

    async def _turns(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)
        if self.failing and self._chance.random() < 0.04:
            raise EngineUnavailableError("no answer before the deadline")


def _pool(labels: Any) -> str:
    return str(labels.get("weir.dev/cpu-pool"))
