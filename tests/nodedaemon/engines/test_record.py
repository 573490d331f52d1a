"""Where a follower goes on in what Docker's log driver has kept."""

import pytest

from weir_nodedaemon.engines.docker.frames import frame_header
from weir_nodedaemon.engines.docker.record import Record, overlap
from weir_nodedaemon.engines.port import LogChunk, LogPosition, Stream

OUT, ERR = Stream.STDOUT, Stream.STDERR
LINES = b"".join(b"line %d\n" % n for n in range(1000))
PERIODIC = b"the same\n" * 1000


def record_of(*messages: bytes, stream: Stream = OUT) -> Record:
    record = Record()
    record.feed(b"".join(frame_header(stream, len(message)) + message for message in messages))
    return record


def position(came: bytes, *, exact: bool = True) -> LogPosition:
    return LogPosition({OUT: len(came), ERR: 0}, {OUT: came[-4096:], ERR: b""}, exact=exact)


def test_pieces_cut_anywhere_are_one_record() -> None:
    data = frame_header(OUT, 4) + b"out\n" + frame_header(ERR, 4) + b"err\n"
    for cut in range(len(data)):
        record = Record()
        record.feed(data[:cut])
        record.feed(data[cut:])
        assert (record.of(OUT), record.of(ERR)) == (b"out\n", b"err\n")


@pytest.mark.parametrize("length", [1, 16_383, 16_384, 16_385, 40_000])
def test_a_line_that_was_cut_has_its_newline_again(length: int) -> None:
    line = b"x" * length
    parts = [line[at : at + 16_384] for at in range(0, length, 16_384)]
    if len(parts[-1]) < 16_384 and len(parts) == 1:
        parts[-1] += b"\n"
    elif len(parts[-1]) == 16_384:
        parts.append(b"")
    assert record_of(*parts, b"next\n").of(OUT) == line + b"\nnext\n"


def test_where_nothing_was_dropped_counting_is_enough() -> None:
    record = record_of(PERIODIC)
    assert record.after(position(PERIODIC[:5400]), whole=True) == (
        [LogChunk(OUT, PERIODIC[5400:])],
        False,
    )


def test_where_some_was_dropped_the_last_bytes_are_looked_for() -> None:
    kept = LINES[2000:]
    rest, unsure = record_of(kept).after(position(LINES[:7000]), whole=False)
    assert (rest, unsure) == ([LogChunk(OUT, LINES[7000:])], False)


def test_where_the_last_bytes_were_dropped_all_is_new_and_some_is_missing() -> None:
    kept = LINES[7000:]
    rest, unsure = record_of(kept).after(position(LINES[:100]), whole=False)
    assert (rest, unsure) == ([LogChunk(OUT, kept)], True)


@pytest.mark.parametrize("dropped", [0, 900, 1800])
def test_what_is_in_doubt_is_not_given_twice(dropped: int) -> None:
    """All lines are the same: nobody can know how many of them were dropped."""
    came = PERIODIC[:5400]
    rest, unsure = record_of(PERIODIC[dropped:]).after(position(came), whole=False)
    assert unsure
    assert len(came) + sum(len(chunk.data) for chunk in rest) <= len(PERIODIC)


def test_an_unfinished_line_that_the_log_has_finished_meanwhile_is_found() -> None:
    rest, unsure = record_of(LINES).after(position(LINES[:7003]), whole=False)
    assert (rest, unsure) == ([LogChunk(OUT, LINES[7003:])], False)


@pytest.mark.parametrize("quiet", [True, False])
def test_where_a_live_stream_begins_in_the_record(quiet: bool) -> None:
    live = {OUT: LINES[3000:], ERR: b""}
    kept = record_of(LINES if quiet else LINES[: LINES.index(b"line 900")])
    expected = len(kept.of(OUT)) - 3000
    assert overlap(kept, live, quiet=quiet) == {OUT: expected, ERR: 0}


def test_a_record_that_lacks_what_came_live_is_behind() -> None:
    assert overlap(record_of(LINES[:3000]), {OUT: LINES[3000:], ERR: b""}, quiet=True) is None


def test_a_live_stream_of_equal_lines_begins_anywhere() -> None:
    assert overlap(record_of(PERIODIC), {OUT: PERIODIC[900:1800]}, quiet=False) is None


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiplexed stream"):
        Record().feed(b"\7\0\0\0\0\0\0\1x")
