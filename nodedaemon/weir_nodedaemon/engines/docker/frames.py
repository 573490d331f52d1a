"""Docker's multiplexed stream: frames of 8 bytes of header (stream, 0, 0, 0, length) and data.

Source: Docker Engine API, "Attach to a container", stream format.
"""

import struct
from collections.abc import Iterator

from weir_nodedaemon.engines.port import LogChunk, Stream

_HEADER = struct.Struct(">BxxxL")
# 0 is stdin, echoed on stdout; 3 carries the engine's own errors.
_STREAMS = {0: Stream.STDOUT, 1: Stream.STDOUT, 2: Stream.STDERR, 3: Stream.STDERR}
_NUMBERS = {Stream.STDOUT: 1, Stream.STDERR: 2}


def frame_header(stream: Stream, length: int) -> bytes:
    """Return what stands before so many bytes of a stream's output."""
    return _HEADER.pack(_NUMBERS[stream], length)


def frames(data: bytes) -> Iterator[tuple[Stream, int, int]]:
    """Yield stream, start and end of the payload of every frame that is whole.

    Raises:
        ValueError: the bytes are no multiplexed stream.
    """
    position = 0
    while position + _HEADER.size <= len(data):
        number, length = _HEADER.unpack_from(data, position)
        if number not in _STREAMS:
            raise ValueError(f"no multiplexed stream: a frame of stream {number}")
        position += _HEADER.size + length
        if position > len(data):
            return
        yield _STREAMS[number], position - length, position


class FrameDecoder:
    """Turns pieces of a multiplexed stream, cut anywhere, into chunks of output.

    Neighbouring frames of one stream come out as one chunk, and the data of a frame that is not
    complete yet comes out at once: nothing is held back but a cut header.
    """

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._header = b""
        self._missing = 0
        self._stream = Stream.STDOUT

    @property
    def is_between_frames(self) -> bool:
        """Whether all frames so far are whole."""
        return not self._header and not self._missing

    def feed(self, data: bytes) -> list[LogChunk]:
        """Return the output that these bytes complete.

        Raises:
            ValueError: the bytes are no multiplexed stream.
        """
        if self._header:
            data = self._header + data
            self._header = b""
        chunks: list[LogChunk] = []
        parts: list[bytes] = []
        stream = self._stream
        position, end = 0, len(data)
        while position < end:
            if self._missing == 0:
                if end - position < _HEADER.size:
                    self._header = data[position:]
                    break
                number, self._missing = _HEADER.unpack_from(data, position)
                position += _HEADER.size
                if number not in _STREAMS:
                    raise ValueError(f"no multiplexed stream: a frame of stream {number}")
                self._stream = _STREAMS[number]
                continue
            if self._stream is not stream and parts:
                chunks.append(LogChunk(stream, b"".join(parts)))
                parts = []
            stream = self._stream
            part = data[position : position + self._missing]
            parts.append(part)
            self._missing -= len(part)
            position += len(part)
        if parts:
            chunks.append(LogChunk(stream, b"".join(parts)))
        return chunks
