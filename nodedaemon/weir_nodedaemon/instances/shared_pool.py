"""Keeps the instances without cores of their own on the shared pool, whatever its size now."""

import asyncio
import logging
from contextlib import suppress
from weakref import WeakValueDictionary

from weir_crds.errors import WeirError
from weir_nodedaemon.engines.port import EngineUnavailableError, InstanceGoneError, InstanceState
from weir_nodedaemon.instances.engines import Engine, Engines
from weir_nodedaemon.instances.holdings import Holdings, is_shared

logger = logging.getLogger(__name__)

_MOVABLE = (InstanceState.CREATED, InstanceState.RUNNING, InstanceState.PAUSED)


class CoresInUseError(WeirError):
    """A shared instance cannot be moved off cores that another is to have for itself."""

    reason = "CoresInUse"


class SharedPool:
    """Moves instances when exclusive cores are taken or given back, as kubelet's static policy."""

    def __init__(self, engines: Engines, holdings: Holdings) -> None:
        """Move instances of ``engines`` by what ``holdings`` says."""
        self._engines = engines
        self._holdings = holdings
        self._moving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def cpus(self) -> tuple[int, ...]:
        """The cores of the pool now."""
        return self._holdings.pool(self._engines.instances)

    async def apply(self) -> None:
        """Move every shared instance that is not on the pool as it is now.

        One that cannot be moved now keeps none of the others where it is.

        Raises:
            WeirError: some may not have been moved; call again.
        """
        failures = [failure for engine in self._engines for failure in await self._move_all(engine)]
        if failures:
            raise failures[0]

    async def vacate(self, cpus: frozenset[int], starting: Engine) -> None:
        """Move the shared instances off cores that an instance is to have for itself.

        One whose engine is away is moved later, rather than hold up a start on another engine.

        Raises:
            CoresInUseError: one cannot be moved.
            EngineUnavailableError: the engine of the start did not answer.
        """
        for engine in self._engines:
            for name, seen in sorted(engine.observations.instances.items()):
                if not is_shared(seen) or cpus.isdisjoint(seen.cpus):
                    continue
                try:
                    await self.fit(engine, name)
                except EngineUnavailableError:
                    if engine is starting:
                        raise
                    break
                except WeirError as exc:
                    raise CoresInUseError(f"{name} cannot be moved off: {exc}") from exc

    async def fit(self, engine: Engine, name: str) -> None:
        """Move one instance to the pool as it is now, if it is shared and not on it.

        Raises:
            WeirError: it may not have been moved.
        """
        async with self._moving.setdefault(name, asyncio.Lock()):
            await self._move(engine, name)

    async def _move_all(self, engine: Engine) -> list[WeirError]:
        """Move those of one engine, each by itself: it may take long over one. Return what failed.

        Of an engine that is away only the first is tried.
        """
        failures: list[WeirError] = []
        instances = engine.observations.instances.items()
        shared = [(name, seen.cpus) for name, seen in instances if is_shared(seen)]
        wanted = self.cpus if shared else ()
        for name in sorted(name for name, cpus in shared if cpus != wanted):
            try:
                await self.fit(engine, name)
            except WeirError as exc:
                logger.warning("not moved instance=%s: %s: %s", name, exc.reason, exc)
                failures.append(exc)
                if not engine.ready:
                    break
        return failures

    async def _move(self, engine: Engine, name: str) -> None:
        seen = engine.observations.instances.get(name)
        if seen is None or not is_shared(seen) or seen.state not in _MOVABLE:
            return
        wanted = self.cpus
        if seen.cpus == wanted:
            return
        with suppress(InstanceGoneError):
            await engine.lifecycle.update_cpus(name, wanted)
            logger.info("moved instance=%s cpus=%s", name, wanted)
            await engine.observations.observe(name)
