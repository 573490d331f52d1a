"""Keeps the instances without cores of their own on the shared pool, whatever its size now."""

import asyncio
import logging

from weir_crds.errors import WeirError
from weir_nodedaemon.engines.port import InstanceGoneError, InstanceState
from weir_nodedaemon.instances.engines import Engine, Engines
from weir_nodedaemon.instances.holdings import Holdings, is_shared

logger = logging.getLogger(__name__)

_MOVABLE = (InstanceState.CREATED, InstanceState.RUNNING, InstanceState.PAUSED)


class SharedPool:
    """Moves instances when exclusive cores are taken or given back, as kubelet's static policy."""

    def __init__(self, engines: Engines, holdings: Holdings) -> None:
        """Move instances of ``engines`` by what ``holdings`` says."""
        self._engines = engines
        self._holdings = holdings
        self._moving = asyncio.Lock()

    @property
    def cpus(self) -> tuple[int, ...]:
        """The cores of the pool now."""
        return self._holdings.pool(self._engines.instances)

    async def apply(self, starting: Engine | None = None) -> None:
        """Move every shared instance that is not on the pool as it is now.

        Before an instance with cores of its own starts, this has to succeed; of the other engines
        one that is away is moved later, rather than hold up this one.

        Args:
            starting: the engine whose failure counts; None: that of each does.

        Raises:
            WeirError: some may not have been moved; call again.
        """
        failure: WeirError | None = None
        async with self._moving:
            for engine in self._engines:
                try:
                    await self._move(engine)
                except WeirError as exc:
                    logger.warning("shared pool not moved engine=%s: %s", engine.name, exc)
                    if starting in (None, engine):
                        failure = exc
        if failure is not None:
            raise failure

    async def _move(self, engine: Engine) -> None:
        wanted = self.cpus
        for name, seen in sorted(engine.observations.instances.items()):
            if not is_shared(seen) or seen.state not in _MOVABLE or seen.cpus == wanted:
                continue
            try:
                await engine.lifecycle.update_cpus(name, wanted)
                logger.info("moved instance=%s cpus=%s", name, wanted)
                await engine.observations.observe(name)
            except InstanceGoneError:
                pass
            wanted = self.cpus  # as it is after the wait
