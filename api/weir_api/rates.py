"""How often something may be done: so often at once, and so often in the long run. No I/O."""

from collections import OrderedDict

_MOST_SOURCES = 4096


class TokenBucket:
    """One allowance."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        """Allow ``burst`` at once, ``per_second`` in the long run; ``now`` is in seconds."""
        self._burst = self._left = float(burst)
        self._per_second = per_second
        self._at = now

    def may_take(self, now: float) -> bool:
        """Tell whether one more is allowed now."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        return self._left >= 1

    def take(self, now: float) -> bool:
        """Take one if it is allowed; tell whether it was."""
        if not self.may_take(now):
            return False
        self._left -= 1
        return True


class SharedRate:
    """An allowance of all sources together, of which one source may have a part at most."""

    def __init__(
        self,
        *,
        burst: float,
        per_second: float,
        burst_of_one: float,
        per_second_of_one: float,
        now: float,
    ) -> None:
        """Allow so many to all, and so many of these to one source."""
        self._all = TokenBucket(burst, per_second, now)
        self._burst_of_one = burst_of_one
        self._per_second_of_one = per_second_of_one
        self._sources: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._sources)

    def take(self, source: str, now: float) -> bool:
        """Take one for a source if it is allowed; tell whether it was."""
        own = self._sources.pop(source, None)
        if own is None:
            own = TokenBucket(self._burst_of_one, self._per_second_of_one, now)
        self._sources[source] = own  # the newest are at the end
        if len(self._sources) > _MOST_SOURCES:
            self._sources.popitem(last=False)
        return own.may_take(now) and self._all.take(now) and own.take(now)
