"""Docker's multiplexed stream format: output of both streams, in order, as raw bytes.

A frame is an 8-byte header (stream number, three zero bytes, big-endian length of what follows) and
that many bytes, as in the Docker Engine API, "Attach to a container", "Stream format".
"""

import struct
from collections.abc import Iterator

from weir_nodedaemon.engines.port import LogChunk, Stream

_HEADER = struct.Struct(">BxxxL")
_NUMBER_OF = {Stream.STDOUT: 1, Stream.STDERR: 2}
_STREAM_OF = {number: stream for stream, number in _NUMBER_OF.items()}


class DamagedFramesError(ValueError):
    """The bytes are no whole frames."""


def header(stream: Stream, length: int) -> bytes:
    """Return the header of a frame that carries ``length`` bytes of ``stream``."""
    return _HEADER.pack(_NUMBER_OF[stream], length)


class Decoder:
    """Turns frames that come in pieces of any size back into chunks; holds no payload."""

    def __init__(self) -> None:
        """Start at the beginning of a frame."""
        self._head = b""
        self._stream = Stream.STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[LogChunk]:
        """Yield what ``data`` continues or completes, a long frame in several chunks.

        Raises:
            DamagedFramesError: a header names no stream.
        """
        at = 0
        while at < len(data):
            if self._left:
                payload = data[at : at + self._left]
                at += len(payload)
                self._left -= len(payload)
                yield LogChunk(self._stream, payload)
                continue
            piece = data[at : at + _HEADER.size - len(self._head)]
            at += len(piece)
            self._head += piece
            if len(self._head) == _HEADER.size:
                number, self._left = _HEADER.unpack(self._head)
                self._head = b""
                if number not in _STREAM_OF:
                    raise DamagedFramesError(f"no stream has the number {number}")
                self._stream = _STREAM_OF[number]

    def finish(self) -> None:
        """Check that the input ended where a frame ends; raises DamagedFramesError."""
        if self._left or self._head:
            raise DamagedFramesError("the last frame is cut")
