"""Times are RFC 3339, UTC, with microseconds."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_crds.times import InvalidTimeError, now_rfc3339, parse_time

EAST = dt.timezone(dt.timedelta(hours=2))


def test_a_time_is_written_in_utc_with_microseconds() -> None:
    assert now_rfc3339(dt.datetime(2026, 11, 22, 12, tzinfo=EAST)) == "2026-11-22T10:00:00.000000Z"


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(InvalidTimeError):
        now_rfc3339(dt.datetime(2026, 11, 22))  # noqa: DTZ001 (that is the point)


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-11-22T10:00:00Z", 0),
        ("2026-11-22T10:00:00.5Z", 500_000),
        ("2026-11-22T10:00:00.123456789Z", 123_456),  # Docker's
        ("2026-11-22T12:00:00.000001+02:00", 1),
    ],
)
def test_what_others_write_is_read(text: str, microsecond: int) -> None:
    expected = dt.datetime(2026, 11, 22, 10, microsecond=microsecond, tzinfo=dt.UTC)
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-22", "2026-11-22T10:00:00", "2026-11-22 10:00:00Z",
     "20261122T100000Z", "2026-13-01T00:00:00Z",
     "2026-11-22T10:00:00z\n", "0001-01-01T00:00:00+23:59"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidTimeError):
        parse_time(text)


@given(st.datetimes(timezones=st.just(dt.UTC), min_value=dt.datetime(1000, 1, 1)))  # noqa: DTZ001
def test_what_is_written_reads_back(time: dt.datetime) -> None:
    assert parse_time(now_rfc3339(time)) == time
