"""Those whose bind was refused: each is tried again after a while, longer each time."""

import asyncio
from collections.abc import Callable

from weir_kube.backoff import exponential
from weir_operator.scheduling.queue import Pending
from weir_operator.scheduling.workload import WorkloadKey

_BASE_SECONDS = 0.2
_MAX_SECONDS = 10.0


class BackoffQueue:
    """What waits for its next try, beside the queue: it keeps nobody behind it."""

    def __init__(self, on_due: Callable[[WorkloadKey], None]) -> None:
        """Make an empty queue; ``on_due`` is called when one may be tried again."""
        self._on_due = on_due
        self._waiting: dict[str, Pending] = {}
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def __contains__(self, pending: object) -> bool:
        """Tell whether that one waits, as it is."""
        return isinstance(pending, Pending) and self._waiting.get(pending.uid) == pending

    def add(self, pending: Pending) -> None:
        """Have one wait, the longer the more often it has."""
        self._waiting[pending.uid] = pending
        failures = self._failures[pending.uid] = self._failures.get(pending.uid, 0) + 1
        delay = exponential(failures, _BASE_SECONDS, _MAX_SECONDS)
        asyncio.get_running_loop().call_later(delay, self._due, pending)

    def remove(self, uid: str) -> None:
        """Take one out, if it is in; how often it has waited is kept in mind."""
        self._waiting.pop(uid, None)

    def forget(self, uid: str) -> None:
        """Take one out for good: it has its host, or is gone."""
        self.remove(uid)
        self._failures.pop(uid, None)

    def _due(self, pending: Pending) -> None:
        if self._waiting.get(pending.uid) is pending:
            del self._waiting[pending.uid]
            self._on_due(pending.key)
