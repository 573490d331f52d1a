"""Files that are there as a whole, or as they were before: never half written, never empty."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Write a file so that a crash of the process or of the machine leaves the old one or the new.

    It blocks until the disk has it; call it in a thread where the event loop must go on.

    Args:
        path: of the file.
        data: all of it.
        mode: who may do what with it.
        sync: False: only a crash of the process is guarded against.

    Raises:
        OSError: the disk refused it; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        write_file(draft, data, mode=mode, sync=sync)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    if sync:
        _sync_folder(path.parent)  # else the new name may be lost, with the old one already gone


def write_file(path: Path, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Write a file in three system calls: in a thread each may cost two turns of the interpreter.

    Raises:
        OSError: the disk refused it; the file may be there, with less in it or nothing.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Write a value as JSON, as ``write_atomically`` does."""
    write_atomically(path, json.dumps(value).encode(), sync=sync)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
