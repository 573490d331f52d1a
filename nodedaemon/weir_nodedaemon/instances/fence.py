"""Stop what another host may soon run too, while nobody hears from this one.

A Task with ``onHostLost`` Restart or Fail is taken from a host whose Lease was not renewed, after
the Lease's duration and the Task's grace. A host that lives but cannot renew its Lease has to be
done with the container by then. This needs no API server: it goes by what is known of the Tasks.
"""

import asyncio
import datetime as dt
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from weir_crds import names
from weir_crds.errors import WeirError
from weir_crds.host import LEASE_SECONDS
from weir_kube.store import Object
from weir_nodedaemon import metrics
from weir_nodedaemon.engines.port import ContainerEngine, InstanceState, ObservedInstance
from weir_nodedaemon.instances.journal import InstanceID, Journal, JournalEntry, StopReason
from weir_nodedaemon.instances.observations import Observations
from weir_nodedaemon.kinds.task.store import TaskStore

logger = logging.getLogger(__name__)

MARGIN_SECONDS = 10.0
"""How long before the operator may act the last container has to be gone."""
MISSED_SECONDS = 20.0
"""A Lease younger than this was renewed in time, or is about to be."""

_ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a Task's container may still do, by the age of this host's Lease in seconds."""

    term_after: float
    """From then on it is not started, and is sent TERM."""
    kill_after: float


def limits(spec: Mapping[str, Any]) -> Limits | None:
    """Return the limits of a Task, or None: it waits for its host as long as it takes."""
    if spec.get("onHostLost", "Wait") == "Wait":
        return None
    kill_after = LEASE_SECONDS + spec.get("hostLostGraceSeconds", 300) - MARGIN_SECONDS
    term_after = kill_after - spec.get("stopGraceSeconds", 10)
    return Limits(max(MISSED_SECONDS, term_after), kill_after)


class Fence:
    """Watches the age of the Lease, and acts on containers past their limits."""

    def __init__(
        self,
        *,
        lease_age: Callable[[], float],
        store: TaskStore,
        engine: ContainerEngine,
        observations: Observations,
        records: Journal,
        now: Callable[[], dt.datetime],
        period_seconds: float,
    ) -> None:
        """Use these; see ``Daemon``, which wires them up.

        Args:
            lease_age: seconds since the Lease was last renewed.
            store: the Tasks of this host as last heard of.
            engine: where containers are signalled.
            observations: what the engine showed.
            records: where a stop is noted.
            now: the time.
            period_seconds: how often to look.
        """
        self._lease_age = lease_age
        self._store = store
        self._engine = engine
        self._observations = observations
        self._journal = records
        self._now = now
        self._period_seconds = period_seconds

    def forbids_start(self, spec: Mapping[str, Any]) -> bool:
        """Tell whether a container of that Task must not be started now."""
        found = limits(spec)
        return found is not None and self._lease_age() >= found.term_after

    async def run(self) -> NoReturn:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._period_seconds)
            if self._lease_age() < MISSED_SECONDS:
                continue
            try:
                await self._enforce()
            except WeirError as exc:
                logger.warning("cannot stop what another host may run: %s: %s", exc.reason, exc)
            except Exception:
                logger.exception("cannot stop what another host may run")

    async def _enforce(self) -> None:
        pending = [(task, found) for task, found in self._limited() if self._is_due(found)]
        if not pending:
            return
        containers = await self._observations.observe_all()
        for task, found in pending:
            id = InstanceID(task["metadata"]["uid"], task["status"]["runID"])
            container = containers.get(names.container_name(*id))
            if container is not None and container.state in _ALIVE:
                await self._stop(task, id, container, found)

    def _limited(self) -> list[tuple[Object, Limits]]:
        tasks = filter(None, map(self._store.get, self._store.active_keys()))
        pairs = ((task, limits(task["spec"])) for task in tasks)
        return [(task, found) for task, found in pairs if found is not None]

    def _is_due(self, found: Limits) -> bool:
        return self._lease_age() >= found.term_after

    async def _stop(
        self, task: Object, id: InstanceID, container: ObservedInstance, found: Limits
    ) -> None:
        metadata = task["metadata"]
        record = self._journal.get(id) or JournalEntry(metadata["namespace"], metadata["name"])
        age, now = self._lease_age(), self._now()
        left = found.kill_after - age
        if not record.term_sent:
            noted = replace(
                record,
                started=True,
                stop_reason=record.stop_reason or StopReason.HOST_LOST,
                stop_noted=record.stop_noted or now,
                stop_deadline=now + dt.timedelta(seconds=max(0.0, left)),
                term_sent=True,  # it is about to be; KILL follows in any case
            )
            self._journal.put(id, noted)
            metrics.FENCED.inc()
            logger.warning(
                "fencing container=%s: lease not renewed for %.0f s", container.name, age
            )
        if left <= 0:
            await self._engine.signal(container.name, signal.SIGKILL)
        elif not record.term_sent:
            await self._engine.signal(container.name, signal.SIGTERM)
