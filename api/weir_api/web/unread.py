"""Answers that their clients do not take: how much of them is kept in memory."""

import asyncio
from collections import OrderedDict

from prometheus_client import Counter

_DROPPED = Counter(
    "weir_http_unread_answers_dropped",
    "Connections that were cut because their clients left too much unread, together.",
)


class UnreadAnswers:
    """What waits to be sent on connections whose clients are slow, by where they come from.

    Beyond the limits those connections of a source are cut that have waited longest. One alone may
    be owed an answer as large as it is.
    """

    def __init__(self, *, most: int, most_of_source: int) -> None:
        """Keep ``most`` bytes, ``most_of_source`` of those for one source."""
        self._most = most
        self._most_of_source = most_of_source
        self._waiting: dict[str, OrderedDict[asyncio.Transport, int]] = {}
        self._held: dict[str, int] = {}

    @property
    def held(self) -> int:
        """How many bytes wait."""
        return sum(self._held.values())

    def wait(self, stream: asyncio.Transport, source: str, *, limited: bool = True) -> None:
        """A client has stopped to take what is sent to it.

        ``limited``: False where a source stands for many, as a proxy does: the limit of all holds.
        """
        size = stream.get_write_buffer_size()
        self._waiting.setdefault(source, OrderedDict())[stream] = size
        self._held[source] = self._held.get(source, 0) + size
        if limited:
            while self._held[source] > self._most_of_source and len(self._waiting[source]) > 1:
                self._cut_oldest(source)
        while self.held > self._most and sum(map(len, self._waiting.values())) > 1:
            self._cut_oldest(max(self._held, key=self._held.__getitem__))

    def flow(self, stream: asyncio.Transport, source: str) -> None:
        """It takes it again, or has left; idempotent."""
        waiting = self._waiting.get(source)
        size = None if waiting is None else waiting.pop(stream, None)
        if waiting is None or size is None:
            return
        self._held[source] -= size
        if not waiting:
            del self._waiting[source], self._held[source]

    def _cut_oldest(self, source: str) -> None:
        oldest = next(iter(self._waiting[source]))
        self.flow(oldest, source)
        _DROPPED.inc()
        oldest.abort()
