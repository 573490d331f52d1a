"""Turns at what costs time: those of one source wait for each other, and sources take turns."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from weir_api.errors import SlowDownError


@dataclass(slots=True)
class Turn:
    """One turn; ``in_vain``: what was done in it failed, and its source rests."""

    in_vain: bool = False


class Turns:
    """Lets so many at a time; the others wait, but not for ever.

    A source is whoever shares an address: a lab behind one, say, whose people log in at nine. A
    turn in vain counts as taken for a while more, at its source alone: so a flood of guesses costs
    little CPU time, as with the fail delay of ``pam_faildelay``.
    """

    def __init__(
        self,
        *,
        at_once: int = 32,
        per_source: int = 8,
        waiting: int = 256,
        seconds: float = 10.0,
        rest_seconds: float = 1.0,
    ) -> None:
        """Let nobody yet.

        Args:
            at_once: how many have their turn at a time.
            per_source: how many of one source.
            waiting: how many may wait. When it is more, the last to come of the source of which
                most wait gives way.
            seconds: how long one waits.
            rest_seconds: how long a turn in vain counts as taken, at its source.
        """
        self._at_once = at_once
        self._per_source = per_source
        self._most_waiting = waiting
        self._seconds = seconds
        self._rest_seconds = rest_seconds
        self._running: Counter[str] = Counter()
        self._resting: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody has a turn or waits for one."""
        return not self._running and not self._waiting

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[Turn]:
        """Wait for a turn, and have it until the block ends, which says whether it was in vain.

        Raises:
            SlowDownError: it did not come in time, or too many wait.
        """
        await self._take(source)
        turn = Turn()
        try:
            yield turn
        finally:
            if turn.in_vain:
                self._resting[source] += 1
                asyncio.get_running_loop().call_later(self._rest_seconds, self._rested, source)
            self._give_back(source)

    async def _take(self, source: str) -> None:
        if source not in self._waiting and self._may_run(source):
            self._running[source] += 1
            return
        turn = self._wait(source)
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except TimeoutError:
            self._leave(source, turn)
            raise _too_many() from None
        except asyncio.CancelledError:
            self._leave(source, turn)
            raise

    def _wait(self, source: str) -> asyncio.Future[None]:
        """Return what is done when the turn comes.

        Raises:
            SlowDownError: too many wait, and none of them has less right to than this one.
        """
        if sum(map(len, self._waiting.values())) >= self._most_waiting:
            largest = max(self._waiting, key=lambda one: len(self._waiting[one]))
            if len(self._waiting[largest]) <= len(self._waiting.get(source, ())) + 1:
                raise _too_many()
            last = self._waiting[largest].pop()
            if not last.done():
                last.set_exception(_too_many())
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, deque()).append(turn)
        return turn

    def _leave(self, source: str, turn: asyncio.Future[None]) -> None:
        """Wait no more; a turn that has come all the same goes to the next."""
        if turn.done() and not turn.cancelled():
            if turn.exception() is None:
                self._give_back(source)
            return
        queue = self._waiting.get(source)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[source]

    def _give_back(self, source: str) -> None:
        self._running -= Counter([source])
        self._let_next()

    def _rested(self, source: str) -> None:
        self._resting -= Counter([source])
        self._let_next()

    def _let_next(self) -> None:
        while (following := self._next_source()) is not None:
            queue = self._waiting[following]
            turn = queue.popleft()
            self._waiting.move_to_end(following)
            if not queue:
                del self._waiting[following]
            if not turn.done():  # else it is leaving
                self._running[following] += 1
                turn.set_result(None)

    def _next_source(self) -> str | None:
        """Return the source that has waited longest of those that may run; None: there is none."""
        return next(filter(self._may_run, self._waiting), None)

    def _may_run(self, source: str) -> bool:
        taken = self._running[source] + self._resting[source]
        return self._running.total() < self._at_once and taken < self._per_source


def _too_many() -> SlowDownError:
    return SlowDownError("too many logins at once; wait")
