"""Where output is on the disk: touched in threads of its own, and what it may answer."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from weir_crds.errors import WeirError

_THREADS = 8

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LogStoreError(WeirError):
    """Output could not be written or read."""

    reason = "LogStoreFailed"
    retry_after_seconds = 15.0


class DiskFullError(LogStoreError):
    """There is no room for output on the disk of the state directory."""

    reason = "DiskFull"
    retry_after_seconds = 30.0


class LogNotFoundError(WeirError):
    """No output of that run is stored (any more)."""

    reason = "LogNotFound"


class OutputLostError(WeirError):
    """The output broke off and cannot be continued without a gap."""

    reason = "OutputLost"


class Disk:
    """Calls what blocks: a disk that hangs holds up output, and not the loop of the Lease."""

    def __init__(self) -> None:
        """Have threads ready."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="logs")

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run blocking file I/O off the event loop; a cancelled caller still waits for its end.

        Raises:
            LogStoreError: what the disk said, translated.
        """
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.gather(call, return_exceptions=True)
            raise
        except OSError as error:
            raise _translated(error) from error


def _translated(error: OSError) -> LogStoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"no room for output: {error}")
    return LogStoreError(f"output could not be stored or read: {error}")
