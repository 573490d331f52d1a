"""What Docker's ``local`` log driver has kept of a container, and where a follower goes on in it.

It is the way back after an interruption; while all is well output is read by attaching. It keeps
lines, the newest of them: what a program wrote without a newline is not there yet, and a line of
16 KiB or more is cut into messages, the last of which has lost its newline (moby, ``copier.go`` and
``logger/local/read.go``; seen with 20.10 and 28.2). Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir_nodedaemon.engines.docker.frames import frames
from weir_nodedaemon.engines.port import LogChunk, LogPosition, Stream

_MESSAGE_BYTES = 16 * 1024  # what the driver cuts a long line into
# Around a message in the file stand two lengths, the stream, a time; and the name of a cut line.
_MESSAGE_OVERHEAD_BYTES = 36
_CUT_OVERHEAD_BYTES = 128
_HEAD_BYTES = 512


@dataclass(slots=True)
class Record:
    """The log of one container, read piece by piece."""

    chunks: list[tuple[Stream, bytearray]] = field(default_factory=list)
    file_bytes: int = 0  # at most so many does it take in the driver's files
    _pending: bytes = b""
    _cut: dict[Stream, bool] = field(default_factory=lambda: dict.fromkeys(Stream, False))

    def feed(self, data: bytes) -> None:
        """Take what comes next; raises ValueError where it is no multiplexed stream."""
        data = self._pending + data
        read = 0
        for stream, start, end in frames(data):
            self._add(stream, data[start:end])
            read = end
        self._pending = data[read:]

    def of(self, stream: Stream) -> bytes:
        """Return all of one stream."""
        return b"".join(data for of, data in self.chunks if of is stream)

    def after(self, position: LogPosition, *, whole: bool) -> tuple[list[LogChunk], bool]:
        """Return what follows a position, and whether something may be missing before it.

        Args:
            position: how far the follower has got.
            whole: whether the driver has dropped nothing yet: then counting is enough.
        """
        skip = dict(position.came)
        unsure = False
        if not (whole and position.exact):
            sure = whole
            for stream in Stream:
                if position.came[stream]:
                    kept = self.of(stream)
                    most = position.came[stream] if position.exact else len(kept)
                    skip[stream], found = _end_of(position.recent[stream], kept, most)
                    unsure, sure = unsure or not found, sure or found
            # What one stream wrote first stands behind what was found of the other.
            unsure = unsure or not sure
        rest: list[LogChunk] = []
        for stream, data in self.chunks:
            if skip[stream] < len(data):
                rest.append(LogChunk(stream, bytes(data[skip[stream] :])))
            skip[stream] = max(0, skip[stream] - len(data))
        return rest, unsure

    def _add(self, stream: Stream, message: bytes) -> None:
        self.file_bytes += len(message) + _MESSAGE_OVERHEAD_BYTES
        if not message.endswith(b"\n"):
            self.file_bytes += _CUT_OVERHEAD_BYTES
            if len(message) == _MESSAGE_BYTES:
                self._cut[stream] = True
            elif self._cut[stream]:
                message += b"\n"
                self._cut[stream] = False
        else:
            self._cut[stream] = False
        if self.chunks and self.chunks[-1][0] is stream:
            self.chunks[-1][1].extend(message)
        else:
            self.chunks.append((stream, bytearray(message)))


def overlap(
    record: Record, live: Mapping[Stream, bytes], *, quiet: bool
) -> dict[Stream, int] | None:
    """Return how much of the beginning of a live stream the record has, too; None: who knows.

    Args:
        record: read after the live stream had begun.
        live: what came of it until after the record was read.
        quiet: nothing came while the record was read, so that it ends with the same line.
    """
    found: dict[Stream, int] = {}
    for stream, data in live.items():
        lines = data[: data.rfind(b"\n") + 1]
        kept = record.of(stream)
        if not data or (quiet and kept.endswith(lines)):
            found[stream] = len(lines)
        elif quiet or not lines:
            return None  # the driver is behind
        else:
            head = lines[: lines.find(b"\n", min(_HEAD_BYTES, len(lines) - 1)) + 1]
            at = kept.find(head, max(0, len(kept) - len(data)))
            if at < 0 or kept.find(head, at + 1) >= 0 or not data.startswith(kept[at:]):
                return None
            found[stream] = len(kept) - at
    return found


def _end_of(recent: bytes, kept: bytes, most: int) -> tuple[int, bool]:
    """Return where a follower's last bytes end in the record, and whether that is sure.

    Where they stand there more than once it is the last place up to ``most``: what is doubtful is
    rather left out than given twice.
    """
    if not recent:
        return 0, False
    unfinished = len(recent) - (recent.rfind(b"\n") + 1)
    for part, more in ((recent, 0), (recent[: len(recent) - unfinished], unfinished)):
        at = kept.rfind(part, 0, most) if part else -1
        if at >= 0:
            return at + len(part) + more, kept.rfind(part, 0, at + len(part) - 1) < 0
    return 0, False
