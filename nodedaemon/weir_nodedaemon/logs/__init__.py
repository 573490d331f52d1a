"""Output of runs: archived on the host before the container goes, and read back from there."""

from weir_nodedaemon.logs.filters import Opener, closing, measure, select, skip_bytes, tail
from weir_nodedaemon.logs.store import (
    DiskFullError,
    LogArchiveError,
    LogNotFoundError,
    LogStore,
    LogSummary,
)

__all__ = [
    "DiskFullError",
    "LogArchiveError",
    "LogNotFoundError",
    "LogStore",
    "LogSummary",
    "Opener",
    "closing",
    "measure",
    "select",
    "skip_bytes",
    "tail",
]
