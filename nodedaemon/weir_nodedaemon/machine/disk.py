"""Tells when a disk that the daemon or Docker writes to runs full."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from prometheus_client import Gauge

from weir_crds.quantities import format_bytes

logger = logging.getLogger(__name__)

DISK_FREE = Gauge(
    "weir_daemon_disk_free_bytes",
    "Room on the disks of the daemon's state directory (state) and of Docker's data (engine).",
    ["disk"],
)

# Pressure ends only with a bit more room than it began with: it must not flutter.
_RELIEF = 1.25


def free_bytes(path: Path) -> int:
    """Return the room that is left for files in a directory."""
    return shutil.disk_usage(path).free


class DiskWatch:
    """Watches the room in the folders of the daemon and of Docker; work needs room in both."""

    def __init__(
        self, state_dir: Path, min_free_bytes: int, *, free: Callable[[Path], int] = free_bytes
    ) -> None:
        """Watch the disk that ``state_dir`` is on: pressure begins below ``min_free_bytes``."""
        self._state_dir = state_dir
        self._min_free_bytes = min_free_bytes
        self._free = free
        self._full: dict[str, str] = {}
        self._unseen = ""

    @property
    def pressure(self) -> str:
        """Which disks are nearly full, in words; empty: none is."""
        return "; ".join(self._full.values())

    def look(self, engine_root: str = "") -> str:
        """Look again; return the pressure. What cannot be told is as it was.

        Args:
            engine_root: where the engine keeps images and containers; empty: it does not tell.
        """
        self._look_at("state", self._state_dir, "the daemon's state directory")
        if engine_root and Path(engine_root).is_dir():
            self._look_at("engine", Path(engine_root), "Docker's data")
        elif engine_root != self._unseen:
            self._unseen = engine_root
            self._full.pop("engine", None)
            logger.warning("room for Docker's data is not watched, path not here: %s", engine_root)
        return self.pressure

    def _look_at(self, disk: str, path: Path, what: str) -> None:
        try:
            free = self._free(path)
        except OSError as exc:
            logger.warning("room on the disk is not known path=%s: %s", path, exc)
            return
        DISK_FREE.labels(disk).set(free)
        limit = self._min_free_bytes * (_RELIEF if disk in self._full else 1)
        if free < limit:
            least = format_bytes(self._min_free_bytes)
            self._full[disk] = f"less than {least} is left for {what} ({path})"
        else:
            self._full.pop(disk, None)
