"""Keep one host free for a workload that smaller ones would keep out for ever. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from weir_crds.demand import Request
from weir_crds.fit import Subject, is_available, lacks, never_fits
from weir_crds.host_state import HostState
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.queue import Pending, PendingQueue

_LOOKED_UP_AT_ONCE = 5
"""How many requests are compared with all hosts in one review; what is found is remembered."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A host that takes nothing new but one pending workload."""

    host: str
    pending: Pending


class Drainer:
    """Chooses what is drained for: one host at a time, for the highest priority that waits.

    Only a workload that some host would take if it were empty counts, and among those of the
    highest priority the one that has waited longest, once that is long enough.
    """

    def __init__(self, ledger: Ledger, queue: PendingQueue, after_seconds: float) -> None:
        """Make a drainer; ``after_seconds`` is how long one waits first (0: nothing is drained)."""
        self._ledger = ledger
        self._queue = queue
        self._after_seconds = after_seconds
        self._could_fit: dict[Request, bool] = {}
        self._facts_version = -1
        self.drain: Drain | None = None

    def review(self, since: Mapping[str, float], now: float) -> None:
        """Begin, go on with, or give up a drain.

        Args:
            since: from when on each one waits, by uid, in the seconds of ``now``.
            now: monotonic seconds.
        """
        if not self._after_seconds:
            return
        if self._facts_version != self._ledger.facts_version:
            self._facts_version = self._ledger.facts_version
            self._could_fit.clear()
        due = now - self._after_seconds
        left = _LOOKED_UP_AT_ONCE
        for heads in self._queue.heads_by_priority():
            is_of_concern = False
            # One that is drained for already comes first, or two would take turns.
            heads.sort(key=lambda head: (not self._is_drained_for(head), head.created))
            for head in heads:
                waited = since.get(head.uid, now) <= due
                if is_of_concern and not waited:
                    continue
                if head.request not in self._could_fit:
                    if not left:
                        return
                    left -= 1
                    self._could_fit[head.request] = bool(self._able(head.request))
                if not self._could_fit[head.request]:
                    continue
                if waited:
                    self._begin(head)
                    return
                is_of_concern = True
            if is_of_concern:
                break
        self.drain = None

    def _begin(self, pending: Pending) -> None:
        current = self.drain
        able = self._able(pending.request)
        if current and current.pending == pending and current.host in {one.name for one in able}:
            return
        nearest = min(able, key=lambda state: (_missing(pending.request, state), state.name))
        self.drain = Drain(nearest.name, pending)

    def _is_drained_for(self, pending: Pending) -> bool:
        return self.drain is not None and self.drain.pending.uid == pending.uid

    def _able(self, request: Request) -> list[HostState]:
        hosts = self._ledger.known_hosts()
        return [state for state in hosts if _could_ever_fit(request, state)]


def _could_ever_fit(request: Request, state: HostState) -> bool:
    """Tell whether a host would take a request now if nothing were held there."""
    facts = state.facts
    return facts is not None and is_available(request, facts) and not never_fits(request, facts)


def _missing(request: Request, state: HostState) -> tuple[int, int, int]:
    """Return how much has to end on a host before a request fits: GPUs, cpu, memory."""
    missing = {lack.subject: lack.needed - lack.free for lack in lacks(request, state)}
    return (
        missing.get(Subject.GPU, 0),
        missing.get(Subject.CPU, 0),
        missing.get(Subject.MEMORY, 0),
    )
