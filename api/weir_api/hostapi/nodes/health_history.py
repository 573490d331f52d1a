"""The last minute of all nodes, one sample a second."""

import asyncio
import datetime as dt
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import orjson

from weir_api.hostapi.nodes.convert import aggregate_of
from weir_api.hostapi.nodes.node_rows import NodeRows
from weir_api.hostapi.wire import wire_now

logger = logging.getLogger(__name__)

SAMPLES = 60
_PERIOD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """All nodes at one time, encoded; rows that did not change are shared between samples."""

    rows: dict[str, bytes]
    aggregate: bytes


class HealthHistory:
    """Keeps the last samples."""

    def __init__(
        self,
        rows: NodeRows,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        period_seconds: float = _PERIOD_SECONDS,
    ) -> None:
        """Keep nothing yet."""
        self._node_rows = rows
        self._now = now
        self._period_seconds = period_seconds
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        self._body: bytes | None = None

    async def run(self) -> NoReturn:
        """Take samples until cancelled."""
        due = time.monotonic()
        while True:
            try:
                self.take()
            except Exception:
                logger.exception("no health sample")
            due = max(due + self._period_seconds, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    def take(self) -> None:
        """Take a sample now; the oldest goes when there are 60."""
        self._node_rows.changed()  # figures may have grown too old in silence
        rows = self._node_rows.rows()
        aggregate = aggregate_of((row.node for row in rows), wire_now(self._now()))
        self._samples.append(
            _Sample({row.machine.hostname: row.health for row in rows}, orjson.dumps(aggregate))
        )
        self._body = None

    def encoded(self) -> bytes:
        """Return all samples, oldest first: ``{"nodes": [[…], …], "aggregate": […]}``."""
        if self._body is None:
            nodes = (b"[" + b",".join(sample.rows.values()) + b"]" for sample in self._samples)
            sums = (sample.aggregate for sample in self._samples)
            self._body = b"".join(
                (b'{"nodes":[', b",".join(nodes), b'],"aggregate":[', b",".join(sums), b"]}")
            )
        return self._body

    def latest(self, hostname: str) -> bytes | None:
        """Return a node in the latest sample; None: it is not in it."""
        return self._samples[-1].rows.get(hostname) if self._samples else None
