"""When the API server last took this host's life sign, known to the next daemon, too.

Without it the one that starts while the API server is away would count from its own start, and
stop too late what another host is given. Nothing waits for the disk: where that refuses, the note
is older than the truth, which only makes the next daemon stop earlier.
"""

import asyncio
import json
import logging
from pathlib import Path

from weir_nodedaemon.files import write_atomically

logger = logging.getLogger(__name__)


class Contact:
    """A note of one moment, by the seconds since boot; one of an earlier boot says nothing."""

    def __init__(self, path: Path, boot_id: str) -> None:
        """Read what is noted in this file; what cannot be read is as if nothing was."""
        self._path = path
        self._boot_id = boot_id
        self._writing: asyncio.Task[None] | None = None
        self.failing = False
        """Whether the disk refused the last note."""
        self.uptime = self._read()
        """The last life sign; None: there was none since the machine booted."""

    def note(self, uptime: float) -> None:
        """Note a life sign; the file has it soon, or keeps an older one. Does no I/O."""
        self.uptime = uptime
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="contact")

    async def close(self) -> None:
        """Give up what is not written yet."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        note = json.dumps({"boot_id": self._boot_id, "uptime": self.uptime}).encode()
        try:
            # Not synced: after a crash of the machine, another boot, nobody asks for it.
            await asyncio.to_thread(write_atomically, self._path, note, sync=False)
        except OSError as exc:
            if not self.failing:
                logger.warning("life sign not noted path=%s: %s", self._path, exc)
            self.failing = True
        else:
            self.failing = False

    def _read(self) -> float | None:
        try:
            noted = json.loads(self._path.read_text())
            return float(noted["uptime"]) if noted["boot_id"] == self._boot_id else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            logger.warning("last life sign not known path=%s: %s", self._path, exc)
            return None
