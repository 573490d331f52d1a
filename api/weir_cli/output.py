"""The process's standard streams, whatever they are: closed, full, not blocking, or a terminal."""

import io
import os
import select
import sys
from typing import Any

from weir_cli.formatting import escape_control

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
    stderr = sys.stderr.encoding if sys.stderr else "utf-8"
    stdout = sys.stdout.encoding if sys.stdout else "utf-8"
    sys.stderr = _Text(
        os.fdopen(2, "wb", closefd=False), stderr, "backslashreplace", line_buffering=True
    )
    sys.stdout = _Text(
        io.BufferedWriter(_PatientStdout()),
        stdout,
        "backslashreplace",
        line_buffering=os.isatty(_STDOUT),
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


class _Text(io.TextIOWrapper):
    def write(self, text: str) -> int:
        super().write(escape_control(text))
        return len(text)


class _PatientStdout(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDOUT

    def write(self, data: Any) -> int:
        return _write(data)
