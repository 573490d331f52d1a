"""Tells when the disk of the state directory runs full."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from weir_nodedaemon import metrics

logger = logging.getLogger(__name__)

# Pressure ends only with a bit more room than it began with: it must not flutter.
_RELIEF = 1.25


def free_bytes(path: Path) -> int:
    """Return the room that is left for files in a directory."""
    return shutil.disk_usage(path).free


class DiskWatch:
    """Watches the room on one disk; under pressure the host gets no new work."""

    def __init__(
        self, path: Path, min_free_bytes: int, *, free: Callable[[Path], int] = free_bytes
    ) -> None:
        """Watch the disk that ``path`` is on: pressure begins below ``min_free_bytes`` of room."""
        self._path = path
        self._min_free_bytes = min_free_bytes
        self._free = free
        self.pressure = False

    def look(self) -> bool:
        """Look again; return whether the disk is under pressure, as before if it cannot be told."""
        try:
            free = self._free(self._path)
        except OSError as exc:
            logger.warning("room on the disk is not known path=%s: %s", self._path, exc)
            return self.pressure
        metrics.DISK_FREE.set(free)
        limit = self._min_free_bytes * (_RELIEF if self.pressure else 1)
        self.pressure = free < limit
        return self.pressure
