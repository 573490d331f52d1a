"""Stop what another host may soon run too, while nobody hears from this one.

An object with ``onHostLost`` Restart or Fail is taken from a host whose Lease was not renewed,
after the Lease's duration and the object's grace. A host that lives but cannot renew its Lease has
to be done with the instance by then. This needs no API server, no disk, and no look at anything but
the instance itself.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

from weir_crds.errors import WeirError
from weir_kube.store import Object
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import InstanceState
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import Journal, JournalEntry, StopReason
from weir_nodedaemon.instances.kind import MISSED_SECONDS, FenceLimits, InstanceKind
from weir_nodedaemon.instances.stop import Stopper

logger = logging.getLogger(__name__)

_INSPECT_SECONDS = 2.0  # one that its engine cannot show in time is signalled unseen
_ENFORCE_SECONDS = 5.0
_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)


class Fence:
    """Watches the age of the Lease, and stops instances past their limits."""

    def __init__(
        self,
        *,
        lease_age: Callable[[], float],
        stopper: Stopper,
        journal: Journal,
        period_seconds: float,
    ) -> None:
        """Stop by ``stopper``.

        Args:
            lease_age: seconds since the Lease was last renewed.
            stopper: stops them.
            journal: where the stops are noted.
            period_seconds: how often to look.
        """
        self._lease_age = lease_age
        self._stopper = stopper
        self._journal = journal
        self._period_seconds = period_seconds

    def forbids_start(self, limits: FenceLimits | None) -> bool:
        """Tell whether an instance of those limits must not be started now."""
        return limits is not None and self._lease_age() >= limits.term_after

    async def run(self, kinds: Sequence[InstanceKind]) -> NoReturn:
        """Look at the objects of these kinds for ever."""
        while True:
            await asyncio.sleep(self._period_seconds)
            if self._lease_age() < MISSED_SECONDS:
                continue
            due = [
                (kind, obj, limits)
                for kind in kinds
                for obj in kind.store.active()
                if (limits := kind.limits(obj)) is not None
                and self._lease_age() >= limits.term_after
            ]
            await asyncio.gather(*(self._enforce(*each) for each in due))

    async def _enforce(self, kind: InstanceKind, obj: Object, limits: FenceLimits) -> None:
        id = kind.current(obj)
        if id is None:
            return
        try:
            async with asyncio.timeout(_ENFORCE_SECONDS):  # the others' time runs out, too
                if await self._may_live(kind, id):
                    await self._stop(kind, obj, id, limits)
        except TimeoutError:
            logger.warning("not fenced instance=%s: its engine takes long", id.name)
        except WeirError as exc:
            logger.warning("not fenced instance=%s: %s: %s", id.name, exc.reason, exc)
        except Exception:
            logger.exception("not fenced instance=%s", id.name)

    async def _may_live(self, kind: InstanceKind, id: InstanceID) -> bool:
        try:
            async with asyncio.timeout(_INSPECT_SECONDS):
                seen = await kind.engine.observations.observe(id.name)
        except (WeirError, TimeoutError):
            return True
        return seen is not None and seen.state in _ALIVE

    async def _stop(
        self, kind: InstanceKind, obj: Object, id: InstanceID, limits: FenceLimits
    ) -> None:
        age = self._lease_age()
        noted = self._journal.get(id)
        if noted is None or noted.stop_reason is None:
            metrics.FENCED.inc()
            logger.warning("fencing instance=%s: lease not renewed for %.0f s", id.name, age)
        metadata = obj["metadata"]
        entry = JournalEntry(kind.kind.kind, metadata["namespace"], metadata["name"])
        await self._stopper.stop(
            kind.engine.lifecycle,
            id,
            noted or entry,
            StopReason.HOST_LOST,
            limits.kill_after - age,
            flush=False,
        )
