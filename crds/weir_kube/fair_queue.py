"""A bounded queue in which sources take turns: who puts much in displaces only what is its own."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FairQueue(Generic[K, V]):
    """Values by source and key; those of one source in order, sources in turn."""

    def __init__(self, most: int) -> None:
        """Hold ``most`` values at most, of all sources together."""
        self._most = most
        self._count = 0
        self._sources: OrderedDict[str, OrderedDict[K, V]] = OrderedDict()  # next turn first

    def __len__(self) -> int:
        """Return how many values wait."""
        return self._count

    def get(self, source: str, key: K) -> V | None:
        """Return a value that waits, or None."""
        values = self._sources.get(source)
        return None if values is None else values.get(key)

    def put(self, source: str, key: K, value: V) -> bool:
        """Append what is not there yet; False: one had to be dropped, this or another.

        When it is full, the newest of the source that has most gives way.
        """
        is_full = self._count >= self._most
        if is_full:
            largest = max(self._sources, key=lambda one: len(self._sources[one]), default=source)
            own = len(self._sources.get(source, ()))
            if len(self._sources.get(largest, ())) <= own + 1:
                return False
            self._sources[largest].popitem()  # not its last: it has two more than ``source``
            self._count -= 1
        self._sources.setdefault(source, OrderedDict())[key] = value
        self._count += 1
        return not is_full

    def take(self) -> tuple[str, K, V]:
        """Take the oldest of the source whose turn it is; raises KeyError when nothing waits."""
        source = next(iter(self._sources), None)
        if source is None:
            raise KeyError("nothing waits")
        values = self._sources[source]
        key, value = values.popitem(last=False)
        self._count -= 1
        if values:
            self._sources.move_to_end(source)
        else:
            del self._sources[source]
        return source, key, value

    def put_back(self, source: str, key: K, value: V) -> None:
        """Have what was taken be the next to be taken; what has its key since is replaced."""
        values = self._sources.setdefault(source, OrderedDict())
        self._count += key not in values
        values[key] = value
        values.move_to_end(key, last=False)
        self._sources.move_to_end(source, last=False)

    def clear(self) -> None:
        """Drop all that waits."""
        self._sources.clear()
        self._count = 0
