"""What the process of every component needs beside its work."""

import importlib.metadata
import time
from collections.abc import Iterator


def version() -> str:
    """Return the version that is installed; a checkout that is not has none."""
    try:
        return importlib.metadata.version("weir")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def uptime() -> float:
    """Return the seconds since the machine's boot, those asleep included; nobody sets that clock.

    For what others count on while we sleep: ``time.monotonic`` stands still then.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def causes(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the exceptions in a group, and in the groups in it."""
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from causes(exc)
        else:
            yield exc
