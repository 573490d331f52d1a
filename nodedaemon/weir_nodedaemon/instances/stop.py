"""How an instance is stopped, whoever wants it and why: TERM, the grace, KILL."""

import logging
import signal
from dataclasses import dataclass, replace

from weir_nodedaemon.engines.port import Lifecycle
from weir_nodedaemon.instances.identity import Clock, InstanceID, Moment
from weir_nodedaemon.instances.journal import Journal, JournalEntry, StopReason

logger = logging.getLogger(__name__)

_KILL_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StopStep:
    """What to note, then what to send, and in how many seconds to come again."""

    entry: JournalEntry
    signal: signal.Signals | None
    requeue_after: float


def stop_step(
    entry: JournalEntry, reason: StopReason, grace_seconds: float, now: Moment
) -> StopStep:
    """Return the next step of a stop. Pure.

    Args:
        entry: what is noted of the instance.
        reason: why it is stopped; the first reason stays.
        grace_seconds: how long after TERM it may live on. In a stop under way it can only bring
            the KILL forward; 0: no TERM at all.
        now: this moment.
    """
    kill_uptime = now.uptime + max(0.0, grace_seconds)
    if entry.term_sent and entry.kill_uptime is not None:
        kill_uptime = min(kill_uptime, entry.kill_uptime)
    noted = replace(
        entry,
        started=True,
        stop_reason=entry.stop_reason or reason,
        stop_noted=entry.stop_noted if entry.stop_reason else now.at,
        stop_uptime=entry.stop_uptime if entry.stop_reason else now.uptime,
        kill_uptime=kill_uptime,
    )
    left = kill_uptime - now.uptime
    if left <= 0:
        return StopStep(noted, signal.SIGKILL, _KILL_AGAIN_SECONDS)
    return StopStep(noted, None if entry.term_sent else signal.SIGTERM, left)


class Stopper:
    """Stops instances; where a stop stands is in the journal, so a restart goes on with it."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        """Note in ``journal``, by ``clock``."""
        self._journal = journal
        self._clock = clock

    async def stop(
        self,
        engine: Lifecycle,
        id: InstanceID,
        entry: JournalEntry,
        reason: StopReason,
        grace_seconds: float,
        *,
        flush: bool = True,
    ) -> float:
        """Bring the stop of a running instance one step further.

        Args:
            engine: where it runs.
            id: which it is.
            entry: what is to be noted where nothing is yet.
            reason: why.
            grace_seconds: how long it may live on after TERM.
            flush: whether the disk shall have the reason before the signal is sent.

        Returns:
            Seconds until the next step.

        Raises:
            WeirError: the engine did not take the signal; come again.
        """
        step = stop_step(self._journal.get(id) or entry, reason, grace_seconds, self._clock())
        self._journal.put(id, step.entry)
        if step.signal is None:
            return step.requeue_after
        if flush:
            await self._journal.flush(id)
        await engine.signal(id.name, step.signal)
        logger.info(
            "signalled instance=%s signal=%s reason=%s",
            id.name,
            step.signal.name,
            step.entry.stop_reason,
        )
        if step.signal is signal.SIGTERM:
            latest = self._journal.get(id) or step.entry
            self._journal.put(id, replace(latest, term_sent=True))
        return step.requeue_after
