"""Output of runs: followed into this host's own files while they run, and read from there."""

from weir_nodedaemon.logs.collector import Collector, Output
from weir_nodedaemon.logs.disk import (
    DiskFullError,
    LogNotFoundError,
    LogStoreError,
    OutputLostError,
)
from weir_nodedaemon.logs.run import LogSummary
from weir_nodedaemon.logs.store import LogStore

__all__ = [
    "Collector",
    "DiskFullError",
    "LogNotFoundError",
    "LogStore",
    "LogStoreError",
    "LogSummary",
    "Output",
    "OutputLostError",
]
