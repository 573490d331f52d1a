"""Why a request fits nowhere, computed within a budget: people read it, and nobody waits for it."""

import time
from collections.abc import Callable

from weir_crds.demand import Request
from weir_crds.fit import Lack, Subject, lacks
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.messages import WaitReport, wait_report

_BUDGET = 0.05
"""Seconds of processor time in each second."""
_REMEMBERED = 5_000
KEPT_FREE = Lack(Subject.HOST, "kept free for one that waits longer")


class Explainer:
    """Wait reports by request, remembered for as long as the ledger does not change.

    With many different requests on many hosts that change all the time this would take more time
    than placing. So there is a budget; beyond it the last report on a request is given again.
    """

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an explainer that has not explained anything yet."""
        self._ledger = ledger
        self._clock = clock
        self._reports: dict[Request, tuple[tuple[int, str | None], WaitReport]] = {}
        self._second = 0
        self._spent = 0.0

    def report(self, request: Request, drained_host: str | None = None) -> WaitReport | None:
        """Return why no host takes a request; None: the budget is spent, ask again in a second.

        Args:
            request: what is asked for.
            drained_host: a host that is kept free for another.
        """
        state = (self._ledger.version, drained_host)
        known, report = self._reports.get(request, (None, None))
        if known == state or not self._has_budget():
            return report
        started = time.perf_counter()
        report = self.compute(request, drained_host)
        self._spent += time.perf_counter() - started
        if len(self._reports) >= _REMEMBERED:
            self._reports.clear()
        self._reports[request] = (state, report)
        return report

    def compute(
        self, request: Request, drained_host: str | None = None, *, is_for_it: bool = False
    ) -> WaitReport:
        """Return why no host takes a request, at whatever cost.

        Args:
            request: what is asked for.
            drained_host: a host that is kept free.
            is_for_it: whether that is for this request.
        """
        found: dict[str, Lack] = {}
        named = request.host_name
        hosts = self._ledger.known_hosts()
        if named is not None:
            hosts = [state for state in hosts if state.name == named]
        for state in hosts:
            if state.facts is not None and state.facts.external and named is None:
                continue
            lack = next(iter(lacks(request, state)), None)
            if state.name == drained_host and not is_for_it and not (lack and lack.never):
                lack = KEPT_FREE
            if lack is not None:
                found[state.name] = lack
        return wait_report(request, found, drained_host if is_for_it else None)

    def _has_budget(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._spent = second, 0.0
        return self._spent < _BUDGET
