"""A Task as the scheduler sees it: bound it holds, pending it wants. No I/O."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from weir_crds.demand import holding_of, request_of
from weir_crds.kinds import TASK
from weir_operator.scheduling.messages import WaitReport
from weir_operator.scheduling.place import Placement
from weir_operator.scheduling.workload import NO_CLAIM, Changes, Claim
from weir_operator.task import status
from weir_operator.task.back_off import BackOffs
from weir_operator.task.decide import Standing, standing_of


class TaskWorkload:
    """Implements ``Workload``."""

    kind = TASK

    def __init__(self, clock: Callable[[], float]) -> None:
        """Know of no Task yet; ``clock`` gives monotonic seconds, for back-offs."""
        self.back_offs = BackOffs(clock)

    def claim(self, obj: Mapping[str, Any], now: dt.datetime) -> Claim:
        """A Task holds until its daemon has told its end, or it was unbound."""
        match standing_of(obj, self.back_offs.time_of(obj, now)):
            case Standing.BOUND | Standing.STOPPED:
                return Claim(holds=holding_of(obj))
            case Standing.PENDING:
                return Claim(wants=request_of(obj))
            case _:
                return NO_CLAIM

    def bound(self, obj: Mapping[str, Any], placement: Placement, now: dt.datetime) -> Changes:
        """As ``Workload.bound``."""
        return status.bound(obj, placement, now)

    def waiting(self, obj: Mapping[str, Any], why: WaitReport, now: dt.datetime) -> Changes:
        """As ``Workload.waiting``."""
        return status.waiting(obj, why, now)
