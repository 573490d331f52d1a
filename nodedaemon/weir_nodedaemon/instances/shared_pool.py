"""Keeps the containers without cores of their own on the shared pool, whatever its size now."""

import asyncio
import logging

from weir_nodedaemon.engines.port import ContainerEngine, InstanceGoneError, InstanceState
from weir_nodedaemon.instances.holdings import Holdings, is_shared
from weir_nodedaemon.instances.observations import Observations

logger = logging.getLogger(__name__)

_MOVABLE = (InstanceState.CREATED, InstanceState.RUNNING, InstanceState.PAUSED)


class SharedPool:
    """Moves containers when exclusive cores are taken or given back, as kubelet's static policy."""

    def __init__(
        self, engine: ContainerEngine, observations: Observations, holdings: Holdings
    ) -> None:
        """Move containers of ``engine`` by what ``holdings`` says."""
        self._engine = engine
        self._observations = observations
        self._holdings = holdings
        self._moving = asyncio.Lock()

    @property
    def cpus(self) -> tuple[int, ...]:
        """The cores of the pool now."""
        return self._holdings.pool(self._observations.containers)

    async def apply(self) -> None:
        """Move every shared container that is not on the pool as it is now.

        Before a container with cores of its own starts, this has to succeed.

        Raises:
            EngineUnavailableError: some may not have been moved; call again.
        """
        async with self._moving:
            wanted = self.cpus
            for name, container in sorted(self._observations.containers.items()):
                if not is_shared(container) or container.state not in _MOVABLE:
                    continue
                if container.cpus == wanted:
                    continue
                try:
                    await self._engine.update_cpus(name, wanted)
                    logger.info("moved container=%s cpus=%s", name, wanted)
                    await self._observations.observe(name)
                except InstanceGoneError:
                    pass
                wanted = self.cpus  # as it is after the wait
