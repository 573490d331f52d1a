"""What all kinds share, put together in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weir_kube.api import Api
from weir_nodedaemon.engines.engine_type import EngineType
from weir_nodedaemon.engines.port import ContainerDefaults, ContainerEngine
from weir_nodedaemon.host.breaker import Breaker
from weir_nodedaemon.instances import identity
from weir_nodedaemon.instances.engines import Engine, Engines
from weir_nodedaemon.instances.fence import Fence
from weir_nodedaemon.instances.holdings import Holdings, HostShare
from weir_nodedaemon.instances.identity import Clock
from weir_nodedaemon.instances.journal import Journal
from weir_nodedaemon.instances.layers import LayerWatch
from weir_nodedaemon.instances.probe import StartProbe
from weir_nodedaemon.instances.shared_pool import SharedPool
from weir_nodedaemon.instances.starts import Starts
from weir_nodedaemon.instances.stop import Stopper
from weir_nodedaemon.logs import Collector, LogStore
from weir_nodedaemon.machine.capacity import CapacityWatch


@dataclass(frozen=True, slots=True)
class Periods:
    """How often things are looked at that nobody reports, in seconds."""

    resync: float = 30.0
    engine_retry: float = 2.0
    gpus: float = 5.0  # while there are any; else with the resync
    output_sweep: float = 5.0
    fence: float = 1.0
    first_renewal: float = 5.0  # so long a daemon that was down has to renew its Lease
    layers: float = 60.0
    machine: float = 5.0  # so long a look at disks and cores is waited for


class Machinery:
    """Engines, cores, notes, stops and starts of one host; no kind is known here."""

    def __init__(
        self,
        *,
        api: Api,
        containers: ContainerEngine,
        engine_type: EngineType,
        other_engines: tuple[Engine, ...] = (),
        capacity: CapacityWatch,
        defaults: ContainerDefaults,
        logs: LogStore,
        state_dir: Path,
        lease_age: Callable[[], float] = lambda: 0.0,
        periods: Periods | None = None,
        clock: Clock = identity.now,
    ) -> None:
        """Put it together.

        Args:
            api: the API server.
            containers: the container engine; its owner closes it.
            engine_type: which one it is.
            other_engines: further engines of this host.
            capacity: looks at the cores and the memory that the daemon may use.
            defaults: what all containers of this host have; its name, too.
            logs: where output is stored.
            state_dir: where notes about instances are kept.
            lease_age: seconds since this host's Lease was last renewed.
            periods: how often to look.
            clock: the time.
        """
        self.api = api
        self.host = defaults.host
        self.containers = containers
        self.container_engine = Engine(engine_type.name, containers, engine_type.ready_condition)
        self.engines = Engines((self.container_engine, *other_engines))
        self.capacity = capacity
        self.defaults = defaults
        self.collector = Collector(containers, logs)
        self.periods = periods or Periods()
        self.clock = clock
        self.journal = Journal(state_dir / "runs")
        self.stopper = Stopper(self.journal, clock)
        self.fence = Fence(
            lease_age=lease_age,
            stopper=self.stopper,
            journal=self.journal,
            period_seconds=self.periods.fence,
            first_renewal_seconds=self.periods.first_renewal,
        )
        now = capacity.current
        self.holdings = Holdings(HostShare(frozenset(now.cpus), now.memory_bytes))
        self.shared_pool = SharedPool(self.engines, self.holdings)
        self.layers = LayerWatch(containers, self.container_engine.observations)
        self.breaker = Breaker()
        self.start_probe = StartProbe(
            containers,
            self.host,
            pool=lambda: self.shared_pool.cpus,
            free_gpus=lambda gpus: self.holdings.free_gpus(gpus, self.engines.instances),
        )
        self.starts = Starts(self.engines, self.holdings, self.shared_pool, self.breaker)

    async def close(self) -> None:
        """Give up what is under way, and write what is noted."""
        await self.starts.close()
        await self.collector.close()
        await self.journal.close()
