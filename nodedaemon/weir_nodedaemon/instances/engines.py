"""The engines of this host: each by itself, so that one that is away stops none of the others."""

import asyncio
import contextlib
import logging
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

from weir_crds.conditions import ConditionType
from weir_crds.errors import WeirError
from weir_nodedaemon.engines.port import (
    EngineEvent,
    EngineInfo,
    EngineUnavailableError,
    Lifecycle,
    ObservedInstance,
)
from weir_nodedaemon.host.status import EngineState
from weir_nodedaemon.instances.observations import Observations

logger = logging.getLogger(__name__)


class Engine:
    """One engine: whether it answers, and what it showed."""

    def __init__(
        self, name: str, lifecycle: Lifecycle, condition: ConditionType | None = None
    ) -> None:
        """Watch this engine; ``run`` does it.

        Args:
            name: its name in the Host's status.
            lifecycle: the engine; its owner closes it.
            condition: the Host's that says whether it is ready; None: its status alone does.
        """
        self.name = name
        self._condition = condition
        self.lifecycle = lifecycle
        self.on_change: Callable[[], None] = lambda: None
        self.observations = Observations(lifecycle, self._changed)
        self.state: EngineState | None = None  # not known yet
        self.info: EngineInfo | None = None  # what it said last
        self._observe_now = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it answered when it was last asked."""
        return self.state is not None and self.state.ready

    def _changed(self) -> None:
        self.on_change()

    def resync(self) -> None:
        """Have everything observed soon."""
        self._observe_now.set()

    async def run(
        self,
        *,
        on_event: Callable[["Engine", EngineEvent], None],
        on_state: Callable[["Engine"], None],
        on_observed: Callable[["Engine"], Awaitable[None]],
        resync_seconds: float,
        retry_seconds: float,
    ) -> None:
        """Follow its events, and observe it all now and then, until cancelled.

        Args:
            on_event: called for every event of one instance.
            on_state: called when it answers, or no more, or says something new of itself.
            on_observed: called after all was observed.
            resync_seconds: how often to observe it all unasked.
            retry_seconds: how often to ask one that does not answer.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(on_event, retry_seconds), name=f"{self.name} events")
            group.create_task(
                self._resync(on_state, on_observed, resync_seconds, retry_seconds),
                name=f"{self.name} resync",
            )

    async def _follow(
        self, on_event: Callable[["Engine", EngineEvent], None], retry_seconds: float
    ) -> NoReturn:
        """Pass events on; every stream of them begins with a look at all."""
        while True:
            try:
                async with aclosing(self.lifecycle.events()) as events:
                    async for event in events:
                        if event.name:
                            on_event(self, event)
                        else:
                            self.resync()
            except WeirError as exc:
                if self.ready:
                    logger.warning("engine=%s: no events: %s", self.name, exc)
            except Exception:
                logger.exception("engine=%s: events failed", self.name)
            self.resync()
            await asyncio.sleep(retry_seconds)

    async def _resync(
        self,
        on_state: Callable[["Engine"], None],
        on_observed: Callable[["Engine"], Awaitable[None]],
        resync_seconds: float,
        retry_seconds: float,
    ) -> NoReturn:
        while True:
            self._observe_now.clear()
            period = resync_seconds
            try:
                info = await self.lifecycle.info()
                await self.observations.observe_all()
                self._set(self._state(info.version, ready=True), info, on_state)
                await on_observed(self)
            except EngineUnavailableError as exc:
                self._not_ready(on_state)
                logger.debug("engine=%s does not answer: %s", self.name, exc)
                period = retry_seconds
            except WeirError as exc:
                logger.warning("engine=%s not observed: %s: %s", self.name, exc.reason, exc)
                self._not_ready(on_state)
                period = retry_seconds
            except Exception:
                logger.exception("engine=%s not observed", self.name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period):
                    await self._observe_now.wait()

    def _not_ready(self, on_state: Callable[["Engine"], None]) -> None:
        """Note that nothing can be had of it now: it is away, or cannot show what it has."""
        version = self.state.version if self.state else ""
        self._set(self._state(version, ready=False), self.info, on_state)

    def _state(self, version: str, *, ready: bool) -> EngineState:
        return EngineState(self.name, version, ready, self._condition)

    def _set(
        self, state: EngineState, info: EngineInfo | None, on_state: Callable[["Engine"], None]
    ) -> None:
        if (state, info) == (self.state, self.info):
            return
        if state != self.state:
            logger.info("engine=%s version=%s ready=%s", state.name, state.version, state.ready)
        self.state, self.info = state, info
        on_state(self)


@dataclass(frozen=True, slots=True)
class Engines:
    """All engines of this host."""

    all: tuple[Engine, ...]

    @classmethod
    def of(cls, engines: Iterable[Engine]) -> "Engines":
        """Return these engines."""
        return cls(tuple(engines))

    def __iter__(self) -> Iterator[Engine]:
        """Return one after the other."""
        return iter(self.all)

    @property
    def instances(self) -> Mapping[str, ObservedInstance]:
        """All instances of this host, whatever engine runs them; names are unique."""
        if len(self.all) == 1:
            return self.all[0].observations.instances
        return ChainMap(*(dict(engine.observations.instances) for engine in self.all))

    @property
    def states(self) -> tuple[EngineState, ...] | None:
        """How each is; None: of one it is not known yet."""
        states = [engine.state for engine in self.all]
        return None if None in states else tuple(state for state in states if state is not None)
