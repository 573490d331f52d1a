"""Docker's multiplexed stream, cut anywhere."""

import struct
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_nodedaemon.engines.docker.frames import FrameDecoder, frame_header, frames
from weir_nodedaemon.engines.port import LogChunk, Stream

NUMBERS = {Stream.STDOUT: 1, Stream.STDERR: 2}
CHUNKS = st.lists(st.builds(LogChunk, st.sampled_from(Stream), st.binary(max_size=40)))


def encoded(chunks: list[LogChunk]) -> bytes:
    return b"".join(
        struct.pack(">BxxxL", NUMBERS[chunk.stream], len(chunk.data)) + chunk.data
        for chunk in chunks
    )


def joined(chunks: list[LogChunk]) -> list[tuple[Stream, bytes]]:
    """Neighbours of one stream as one, and nothing without data."""
    full = [chunk for chunk in chunks if chunk.data]
    return [
        (stream, b"".join(chunk.data for chunk in run))
        for stream, run in groupby(full, lambda chunk: chunk.stream)
    ]


@pytest.mark.parametrize("stream", Stream)
def test_a_header_is_dockers(stream: Stream) -> None:
    assert frame_header(stream, 70_000) == struct.pack(">BxxxL", NUMBERS[stream], 70_000)


@given(CHUNKS, st.integers(1, 30))
def test_output_survives_being_cut_into_pieces(chunks: list[LogChunk], size: int) -> None:
    data = encoded(chunks)
    decoder = FrameDecoder()
    decoded = [
        chunk
        for start in range(0, len(data), size)
        for chunk in decoder.feed(data[start : start + size])
    ]
    assert joined(decoded) == joined(chunks)


@given(CHUNKS)
def test_neighbours_of_one_stream_become_one_chunk(chunks: list[LogChunk]) -> None:
    decoded = FrameDecoder().feed(encoded(chunks))
    assert [(chunk.stream, chunk.data) for chunk in decoded] == joined(chunks)


def test_a_frame_that_is_not_complete_is_told_as_far_as_it_goes() -> None:
    data = encoded([LogChunk(Stream.STDERR, b"hello")])
    assert FrameDecoder().feed(data[:-2]) == [LogChunk(Stream.STDERR, b"hel")]


def test_bytes_that_are_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiplexed stream"):
        FrameDecoder().feed(b"plain text")


@given(CHUNKS, st.integers(0, 7))
def test_whole_frames_are_found_in_bytes_that_end_amid_one(
    chunks: list[LogChunk], cut: int
) -> None:
    whole = encoded(chunks)
    data = whole + encoded([LogChunk(Stream.STDERR, b"cut")])[: 8 + 2 if cut == 7 else cut]
    found = [LogChunk(stream, data[start:end]) for stream, start, end in frames(data)]
    assert found == chunks
    with pytest.raises(ValueError, match="no multiplexed stream"):
        list(frames(whole + b"plain text"))
