"""The process's standard streams, whatever they are: closed, full, or not blocking."""

import io
import os
import select
import sys
from typing import Any

_STDOUT = 1


def open_standard_streams() -> None:
    """Make sure of the three standard streams of this process.

    Where one is closed, the next socket or pipe would get its number, and output be written into
    that. A closed stdout becomes one that cannot be written, so that it is an error as elsewhere.
    """
    for number, mode in ((0, os.O_RDONLY), (_STDOUT, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_PatientStdout()), encoding, line_buffering=os.isatty(_STDOUT)
    )


def write_output(data: bytes) -> None:
    """Write to stdout at once and as it is; a slow reader is waited for."""
    view = memoryview(data)
    while view:
        view = view[_write(view) :]


def discard_output() -> None:
    """Send what Python still holds nowhere: it would try to write it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)


def _write(data: Any) -> int:
    while True:
        try:
            return os.write(_STDOUT, data)
        except BlockingIOError:  # another program that has the same terminal has set it so
            select.select([], [_STDOUT], [])


class _PatientStdout(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDOUT

    def write(self, data: Any) -> int:
        return _write(data)
