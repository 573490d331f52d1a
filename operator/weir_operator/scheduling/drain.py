"""Keep one host free for a workload that smaller ones would keep out for ever. No I/O."""

from collections.abc import Iterator, Mapping
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
_HEADS_AT_ONCE = 500
"""How many that wait are looked at in one step of a review, which takes a millisecond then."""
_LOOKED_UP_AT_ONCE = 2
"""How many requests are compared with all hosts in one review; what is found is remembered."""
_PATIENCE = 12.0
"""For how often ``after_seconds`` a drained host may stand as it is before another has its turn;
twice as long each time, so that in the end the longest run is waited for."""
_Missing = tuple[int, int, int]
"""How much has to end on a host before a request fits: GPUs, cpu, memory."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A host that takes nothing new but one pending workload."""

    host: str
    pending: Pending


class Drainer:
    """Chooses what is drained for: one host at a time, for the highest priority that waits.

    Only a workload that some host would take if it were empty counts, and among those of the
    highest priority the one that has waited longest, once that is long enough. A host on which
    nothing ends, because something runs there for days, is given up for another one after a while.
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
        self._missing: _Missing = (0, 0, 0)
        """What the drained host lacked when it was last looked at."""
        self._advanced_at = 0.0
        self._times_given_up = 0
        self._given_up: set[str] = set()
        """The hosts that had their turn for the one that is drained for."""

    def review(self, since: Mapping[str, float], now: float) -> Iterator[None]:
        """Begin, go on with, or give up a drain, step by step: many may wait.

        What changes between two steps is seen by the next review.

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
                if current := self._still_drained_for(heads[0].priority, since, due):
                    self._drain_for(current, now)
                    return
                waited: list[Pending] = []
                for some in _pieces(heads):
                    waited += [head for head in some if self._has_waited(head, since, due)]
                    yield
                if chosen := self._oldest_that_could_fit(waited):
                    if self._queue.get(chosen.uid) == chosen:
                        self._drain_for(chosen, now)
                    return
                for some in _pieces(heads):
                    if any(self._could_ever_fit(head.request) for head in some):
                        self.drain = None
                        return
                    yield
        except _TooManyLookupsError:
            return  # what was found is remembered, so that the next review gets further
        self.drain = None

    def forget_if_over(self) -> None:
        """End the drain for one that has its host, or is not to have one any more."""
        if self.drain and self._queue.get(self.drain.pending.uid) != self.drain.pending:
            self.drain = None

    def _still_drained_for(
        self, priority: int, since: Mapping[str, float], due: float
    ) -> Pending | None:
        """Return the one that is drained for, if it has that priority and still waits for room."""
        if self.drain is None or self.drain.pending.priority != priority:
            return None
        pending = self.drain.pending
        return pending if self._has_waited(pending, since, due) else None

    def _has_waited(self, head: Pending, since: Mapping[str, float], due: float) -> bool:
        """Tell whether one has waited for long enough for room, and not for something else."""
        return since.get(head.uid, due + 1) <= due and self._queue.is_refused(head.request)

    def _oldest_that_could_fit(self, waited: list[Pending]) -> Pending | None:
        oldest = min(waited, key=_CREATED, default=None)
        if oldest is None or self._could_ever_fit(oldest.request):
            return oldest
        waited.sort(key=_CREATED)
        return next((head for head in waited if self._could_ever_fit(head.request)), None)

    def _drain_for(self, pending: Pending, now: float) -> None:
        if self.drain is None or self.drain.pending != pending:
            self._times_given_up = 0
            self._given_up.clear()
        elif self._goes_on(self.drain, now):
            return
        able = self._nearest_for(pending.request)
        if able is None and self._given_up:
            self._given_up.clear()
            able = self._nearest_for(pending.request)
        self.drain = None
        if able is not None:
            self.drain = Drain(able.name, pending)
            self._missing, self._advanced_at = _missing(pending.request, able), now

    def _goes_on(self, drain: Drain, now: float) -> bool:
        """Tell whether the host that is drained is still the one to drain."""
        state = self._ledger.hosts.get(drain.host)
        if state is None or not _takes(state, drain.pending.request):
            return False
        missing = _missing(drain.pending.request, state)
        if missing != self._missing:
            self._missing, self._advanced_at = missing, now
        patience = _PATIENCE * self._after_seconds * 2.0 ** min(self._times_given_up, 20)
        if now - self._advanced_at < patience:
            return True
        self._times_given_up += 1
        self._given_up.add(drain.host)
        return False

    def _nearest_for(self, request: Request) -> HostState | None:
        """Return the host that has room soonest, among those that were not given up."""
        hosts = [each for each in self._ledger.known_hosts() if each.name not in self._given_up]
        hosts.sort(key=lambda state: (-state.cores_free, state.name))
        able = islice((state for state in hosts if _takes(state, request)), _ENOUGH_HOSTS)
        return min(able, key=lambda state: (_missing(request, state), state.name), default=None)

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


def _pieces(heads: list[Pending]) -> Iterator[list[Pending]]:
    return (heads[start : start + _HEADS_AT_ONCE] for start in range(0, len(heads), _HEADS_AT_ONCE))


def _takes(state: HostState, request: Request) -> bool:
    """Tell whether a host would take a request now if nothing were held there."""
    facts = state.facts
    return facts is not None and is_available(request, facts) and not never_fits(request, facts)


def _missing(request: Request, state: HostState) -> _Missing:
    missing = {lack.subject: lack.needed - lack.free for lack in lacks(request, state)}
    return (
        missing.get(Subject.GPU, 0),
        missing.get(Subject.CPU, 0),
        missing.get(Subject.MEMORY, 0),
    )
