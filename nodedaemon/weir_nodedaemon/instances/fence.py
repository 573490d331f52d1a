"""Stop what another host may soon run too, while nobody hears from this one.

An object with ``onHostLost`` Restart or Fail is taken from a host whose Lease was not renewed,
after the Lease's duration and the object's grace. A host that lives but cannot renew its Lease has
to be done with the instance by then. This needs no API server and no disk, nor a look at anything
but the instance itself; and of a daemon that starts meanwhile no more than what it finds: what the
engine shows, and the notes of the one before.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from weir_crds.errors import WeirError
from weir_crds.names import LABEL_NAME, LABEL_NAMESPACE, kind_of_container
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import InstanceState
from weir_nodedaemon.instances.fence_limits import MISSED_SECONDS, FenceLimits, limits_of
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import Journal, JournalEntry, StopReason
from weir_nodedaemon.instances.kind import InstanceKind
from weir_nodedaemon.instances.stop import Stopper

logger = logging.getLogger(__name__)

_INSPECT_SECONDS = 2.0  # one that its engine cannot show in time is signalled unseen
_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An instance that another host may be given."""

    kind: InstanceKind
    id: InstanceID
    limits: FenceLimits
    entry: JournalEntry
    """What is to be noted where nothing is yet."""


class Fence:
    """Watches the age of the Lease, and stops instances past their limits."""

    def __init__(
        self,
        *,
        lease_age: Callable[[], float],
        stopper: Stopper,
        journal: Journal,
        period_seconds: float,
        first_renewal_seconds: float,
    ) -> None:
        """Stop by ``stopper``.

        Args:
            lease_age: seconds since the Lease was last renewed.
            stopper: stops them.
            journal: where the stops are noted.
            period_seconds: how often to look.
            first_renewal_seconds: so long a daemon that was down has to renew its Lease before
                anything is stopped for its age.
        """
        self._lease_age = lease_age
        self._stopper = stopper
        self._journal = journal
        self._period_seconds = period_seconds
        self._first_renewal_seconds = first_renewal_seconds

    def forbids_start(self, limits: FenceLimits | None) -> bool:
        """Tell whether an instance of those limits must not be started now."""
        return limits is not None and self._lease_age() >= limits.term_after

    async def run(self, kinds: Sequence[InstanceKind]) -> None:
        """Look at the instances of these kinds for ever; one that takes long holds up no other."""
        await asyncio.sleep(self._first_renewal_seconds)
        under_way: dict[InstanceID, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for each in self._due(kinds):
                    task = under_way.get(each.id)
                    if task is None or task.done():
                        under_way[each.id] = group.create_task(self._enforce(each))
                await asyncio.sleep(self._period_seconds)

    def _due(self, kinds: Sequence[InstanceKind]) -> list[_Candidate]:
        age = self._lease_age()
        if age < MISSED_SECONDS and all(kind.store.has_synced for kind in kinds):
            return []  # a stop that has begun goes on by the kind's own reconcile
        candidates = {each.id: each for kind in kinds for each in self._candidates(kind)}
        return [
            each
            for each in candidates.values()
            if age >= each.limits.term_after or self._has_begun(each)
        ]

    def _candidates(self, kind: InstanceKind) -> Iterator[_Candidate]:
        """Yield all of a kind: of each that runs one of these knows, whatever else is away."""
        name = kind.kind.kind
        for seen in kind.engine.observations.instances.values():
            id, limits = InstanceID.parse(seen.name), limits_of(seen)
            if id is None or limits is None or kind_of_container(seen.labels) != name:
                continue
            if seen.state is not InstanceState.EXITED:
                labels = seen.labels
                entry = JournalEntry(name, labels[LABEL_NAMESPACE], labels[LABEL_NAME])
                yield _Candidate(kind, id, limits, entry)
        for id, entry in self._journal.entries().items():
            if entry.kind == name and entry.fence is not None and entry.ended is None:
                yield _Candidate(kind, id, entry.fence, entry)
        for obj in kind.store.active():
            id, limits = kind.current(obj), kind.limits(obj)
            if id is not None and limits is not None:
                metadata = obj["metadata"]
                entry = JournalEntry(name, metadata["namespace"], metadata["name"])
                yield _Candidate(kind, id, limits, entry)

    def _has_begun(self, each: _Candidate) -> bool:
        noted = self._journal.get(each.id)
        return noted is not None and noted.stop_reason is StopReason.HOST_LOST

    async def _enforce(self, each: _Candidate) -> None:
        left = each.limits.kill_after - self._lease_age()
        try:
            # A TERM that the engine does not take must not hold up the KILL.
            async with asyncio.timeout(left if left > 0 else None):
                if await self._may_live(each):
                    await self._stop(each)
        except TimeoutError:
            logger.warning("not fenced instance=%s: its engine takes long", each.id.name)
        except WeirError as exc:
            logger.warning("not fenced instance=%s: %s: %s", each.id.name, exc.reason, exc)
        except Exception:
            logger.exception("not fenced instance=%s", each.id.name)

    async def _may_live(self, each: _Candidate) -> bool:
        try:
            async with asyncio.timeout(_INSPECT_SECONDS):
                seen = await each.kind.engine.observations.observe(each.id.name)
        except (WeirError, TimeoutError):
            return True
        return seen is not None and seen.state in _ALIVE

    async def _stop(self, each: _Candidate) -> None:
        age = self._lease_age()
        noted = self._journal.get(each.id)
        if noted is None or noted.stop_reason is None:
            metrics.FENCED.inc()
            logger.warning("fencing instance=%s: lease not renewed for %.0f s", each.id.name, age)
        await self._stopper.stop(
            each.kind.engine.lifecycle,
            each.id,
            noted or each.entry,
            StopReason.HOST_LOST,
            each.limits.kill_after - max(age, each.limits.term_after),
            flush=False,
        )
