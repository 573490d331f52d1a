"""The audit log: one line for each change of a resource, with who had it made. Never what it holds.

Reads that matter and refusals have lines, too, as many of one peer as somebody may want to read.
Who calls is set where a request is let in, and holds for all that is done for it.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from weir_api.peers import neighbourhood
from weir_api.rates import TokenBucket

logger = logging.getLogger("weir_api.audit")

DONE = "done"
UNKNOWN = "Unknown"
"""The outcome of a write that was given up without an answer: it may have taken effect."""
_MOST_PEERS = 4096


@dataclass(frozen=True, slots=True)
class Actor:
    """Who has changes made: words without blanks, as nobody can choose to mislead."""

    caller: str
    peer: str
    request_id: str


OURSELVES = Actor("weir-api", "-", "-")
ACTOR: ContextVar[Actor] = ContextVar("actor", default=OURSELVES)
"""Whoever the present request is from; the facade itself where there is none."""


def note(verb: str, what: str, outcome: str, detail: str = "") -> None:
    """Write a line.

    Args:
        verb: create, patch, delete, get; of what was refused the method.
        what: kind, namespace and name of the object; of what was refused the path.
        outcome: ``done``, the reason why not, or ``Unknown``.
        detail: which fields are changed.
    """
    actor = ACTOR.get()
    logger.info(
        "caller=%s peer=%s verb=%s object=%s outcome=%s fields=%s id=%s",
        actor.caller,
        actor.peer,
        verb,
        what,
        outcome,
        detail or "-",
        actor.request_id,
    )


@dataclass(slots=True)
class _Allowance:
    bucket: TokenBucket
    unlisted: int = 0


class RateLimitedLines:
    """Lines of what anybody can cause as often as they like: so many of each peer, no more.

    Of those left out the next line tells the number: ``fields=unlisted:12``.
    """

    def __init__(
        self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let a peer cause ``burst`` lines at once, ``per_second`` in the long run."""
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._peers: OrderedDict[str, _Allowance] = OrderedDict()

    def __len__(self) -> int:
        """Return how many peers are remembered."""
        return len(self._peers)

    def note(self, verb: str, what: str, outcome: str, detail: str = "") -> None:
        """Write a line, or count it; see the function ``note``."""
        peer = neighbourhood(ACTOR.get().peer)
        now = self._clock()
        allowance = self._peers.pop(peer, None)
        if allowance is None:
            allowance = _Allowance(TokenBucket(self._burst, self._per_second, now))
        self._peers[peer] = allowance
        if len(self._peers) > _MOST_PEERS:
            self._peers.popitem(last=False)
        if not allowance.bucket.take(now):
            allowance.unlisted += 1
            return
        unlisted = f"unlisted:{allowance.unlisted}" if allowance.unlisted else ""
        allowance.unlisted = 0
        note(verb, what, outcome, ",".join(filter(None, (detail, unlisted))))
