"""Keep one host free for a workload that smaller ones would keep out for ever. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from weir_crds.demand import Request
from weir_crds.fit import Subject, is_available, lacks, never_fits
from weir_crds.host_state import HostState
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.queue import Pending, PendingQueue

_ENOUGH_HOSTS = 50
"""Among how many hosts that would take it, those with most free cores, the nearest is chosen."""
_CREATED = attrgetter("created")
_LOOKED_UP_AT_ONCE = 2
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
        self._lookups_left = 0
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
        self._lookups_left = _LOOKED_UP_AT_ONCE
        due = now - self._after_seconds
        try:
            for heads in self._queue.heads_by_priority():
                waited = [head for head in heads if since.get(head.uid, now) <= due]
                if chosen := self._choose(waited):
                    self._begin(chosen)
                    return
                if any(self._could_ever_fit(head.request) for head in heads):
                    break
        except _TooManyLookupsError:
            return  # what was found is remembered, so that the next review gets further
        self.drain = None

    def forget_if_over(self) -> None:
        """End the drain for one that has its host, or is not to have one any more."""
        if self.drain and self._queue.get(self.drain.pending.uid) != self.drain.pending:
            self.drain = None

    def _choose(self, waited: list[Pending]) -> Pending | None:
        """Return the one that is drained for already, else the oldest that could ever fit."""
        if self.drain and self.drain.pending in waited:
            return self.drain.pending
        oldest = min(waited, key=_CREATED, default=None)
        if oldest is None or self._could_ever_fit(oldest.request):
            return oldest
        waited.sort(key=_CREATED)
        return next((head for head in waited if self._could_ever_fit(head.request)), None)

    def _begin(self, pending: Pending) -> None:
        request, current = pending.request, self.drain
        if current and current.pending == pending:
            state = self._ledger.hosts.get(current.host)
            if state is not None and _takes(state, request):
                return
        hosts = self._ledger.known_hosts()
        hosts.sort(key=lambda state: (-state.cores_free, state.name))
        able = islice((state for state in hosts if _takes(state, request)), _ENOUGH_HOSTS)
        nearest = min(able, key=lambda state: (_missing(request, state), state.name), default=None)
        self.drain = Drain(nearest.name, pending) if nearest else None

    def _could_ever_fit(self, request: Request) -> bool:
        known = self._could_fit.get(request)
        if known is None:
            if not self._lookups_left:
                raise _TooManyLookupsError
            self._lookups_left -= 1
            known = any(_takes(state, request) for state in self._ledger.known_hosts())
            self._could_fit[request] = known
        return known


class _TooManyLookupsError(Exception):
    """More requests are to be compared with all hosts than one review may."""


def _takes(state: HostState, request: Request) -> bool:
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
