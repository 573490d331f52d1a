"""The kinds that the operator watches, each with its cache, queue and reconciler; none is named."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol

from weir_crds.kinds import Kind
from weir_crds.schema import Resource
from weir_kube.store import Key, Object, Store
from weir_kube.workqueue import WorkQueue
from weir_operator.cache import slimmer
from weir_operator.scheduling.watched import Watched
from weir_operator.sweep import Sweep

logger = logging.getLogger(__name__)


class Reconciler(Protocol):
    """What is done about the objects of one kind."""

    def observe(self, key: Key) -> None:
        """Bring what is kept in memory in step with the cache; at once, whatever reconciles wait.

        Raises:
            WeirError: a field that the CRD should have refused; the object is left alone.
        """
        ...

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object a step nearer to its spec; safe at any time, any number of times.

        Returns:
            In how many seconds to look again; None: when something changes.
        """
        ...


class Reflects(Protocol):
    """What follows one kind: a ``Reflector``, or what looks like it."""

    async def synced(self) -> None:
        """Wait until the first full list is in the store."""
        ...


class Source(Protocol):
    """Where objects come from."""

    def follow(
        self,
        kind: Kind,
        *,
        store: Store,
        on_change: Callable[[Key], None],
        transform: Callable[[Object], Object],
    ) -> Reflects:
        """Have a kind followed, as a ``Reflector`` with these arguments would."""
        ...


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """One kind that is watched, and what is done about it."""

    resource: Resource
    watched: Watched
    reconciler: Reconciler
    workers: int
    sweep: Sweep | None = None
    """For a kind whose objects have an end."""

    @property
    def store(self) -> Store:
        """The cache of its objects."""
        return self.watched.store

    @property
    def queue(self) -> WorkQueue[Key]:
        """The keys that wait to be reconciled."""
        return self.watched.queue


class Controller:
    """Hands each change to those whom it concerns, and runs them."""

    def __init__(
        self,
        source: Source,
        kinds: Sequence[WatchedKind],
        loops: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    ) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            source: where objects come from; it is run by whoever made it.
            kinds: what is watched, in the order in which it is to be listed.
            loops: what else runs for ever.
        """
        self.kinds = kinds
        self._loops = loops
        self._reflectors = [
            source.follow(
                one.resource.kind,
                store=one.store,
                on_change=partial(self._changed, one),
                transform=slimmer(one.resource),
            )
            for one in kinds
        ]

    @property
    def has_synced(self) -> bool:
        """Whether the caches are full, so that decisions can be made."""
        return all(one.store.has_synced for one in self.kinds)

    async def synced(self) -> None:
        """Wait until the caches are full."""
        for reflector in self._reflectors:
            await reflector.synced()
        sizes = ", ".join(f"{len(one.store)} {one.resource.kind.plural}" for one in self.kinds)
        logger.info("caches are full: %s", sizes)

    async def run(self) -> NoReturn:
        """Decide and act for ever; ``synced`` comes first: until then nothing may be decided."""
        async with asyncio.TaskGroup() as group:
            for one in self.kinds:
                group.create_task(one.queue.run(one.reconciler.reconcile, one.workers))
                if one.sweep is not None:
                    group.create_task(one.sweep.run(), name=f"sweep {one.resource.kind.plural}")
            for loop in self._loops:
                group.create_task(loop())
        raise AssertionError("these run for ever")

    def _changed(self, one: WatchedKind, key: Key) -> None:
        try:
            one.reconciler.observe(key)
            if one.sweep is not None:
                one.sweep.observe(key, one.store.get(key))
        except Exception as exc:  # one odd object must not hide the others
            logger.warning("left alone %s %s: %r", one.resource.kind.kind, key, exc)
        one.queue.add(key)
