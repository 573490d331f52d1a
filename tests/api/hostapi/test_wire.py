"""Times of resources, as clients read them."""

import pytest

from weir_api.hostapi.wire import wire_time


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000000+00:00"),
        ("2026-11-22T10:00:00.5Z", "2026-11-22T10:00:00.500000+00:00"),
        ("2026-11-22T10:00:00.123456789Z", "2026-11-22T10:00:00.123456+00:00"),
        ("2026-11-22T11:00:00.123456+01:00", "2026-11-22T10:00:00.123456+00:00"),
    ],
)
def test_times_are_utc_with_their_offset_and_microseconds(kept: str, shown: str) -> None:
    assert wire_time(kept) == shown


@pytest.mark.parametrize(
    "text", ["2026-02-30T10:00:00+00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_that_cannot_be_does_not_keep_a_list_from_being_read(text: str) -> None:
    assert wire_time(text) == text
