"""Output of runs: archived on the host before the container goes, and read back from there."""

from weir_nodedaemon.logs.filters import Extent, measure, select, skip_bytes, skip_lines, tail
from weir_nodedaemon.logs.store import (
    DiskFullError,
    LogArchiveError,
    LogNotFoundError,
    LogStore,
    LogSummary,
)

__all__ = [
    "DiskFullError",
    "Extent",
    "LogArchiveError",
    "LogNotFoundError",
    "LogStore",
    "LogSummary",
    "measure",
    "select",
    "skip_bytes",
    "skip_lines",
    "tail",
]
