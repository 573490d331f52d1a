"""Measures what containers write to their own file systems, and says when it is too much.

Where Docker's storage holds them to a limit there is nothing to say; but on most hosts it cannot.
"""

import logging
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Gauge

from weir_crds.errors import WeirError
from weir_crds.names import LABEL_LAYER_LIMIT
from weir_crds.quantities import format_bytes
from weir_nodedaemon.engines.port import InstanceState
from weir_nodedaemon.instances.observations import Observations

logger = logging.getLogger(__name__)

LAYERS_OVER_LIMIT = Gauge(
    "weir_daemon_layers_over_limit",
    "Running containers that have written more than resources.ephemeralStorage.",
)

_MEASURED = (InstanceState.RUNNING, InstanceState.PAUSED)


class LayerSize(Protocol):
    """What is asked of an engine."""

    async def layer_bytes(self, name: str) -> int | None:
        """Return how much a container has written; None: it is gone. Reads all of it."""
        ...


class LayerWatch:
    """Measures one container after the other: it is the disk's work."""

    def __init__(self, engine: LayerSize, observations: Observations) -> None:
        """Measure nothing yet."""
        self._engine = engine
        self._observations = observations
        self._over: set[str] = set()
        LAYERS_OVER_LIMIT.set_function(lambda: len(self._over & observations.instances.keys()))

    async def measure(self) -> None:
        """Measure those that have a limit, and say which are beyond it; once for each."""
        over: set[str] = set()
        for name, limit in list(self._limited()):
            try:
                written = await self._engine.layer_bytes(name)
            except WeirError as exc:
                logger.warning("what it wrote is not known container=%s: %s", name, exc)
                over |= self._over & {name}
                continue
            if written is not None and written > limit:
                over.add(name)
                if name not in self._over:
                    logger.warning(
                        "more is written than its limit container=%s written=%s limit=%s",
                        name,
                        format_bytes(written),
                        format_bytes(limit),
                    )
        self._over = over

    def _limited(self) -> Iterator[tuple[str, int]]:
        for name, container in self._observations.instances.items():
            limit = container.labels.get(LABEL_LAYER_LIMIT, "")
            if container.state in _MEASURED and limit.isdecimal():
                yield name, int(limit)
