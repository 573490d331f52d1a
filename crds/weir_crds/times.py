"""Points in time as the API carries them: RFC 3339, UTC, with microseconds."""

import datetime as dt
import re

from weir_crds.errors import WeirError

PATTERN = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
    "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""What a time looks like. The CRDs have it in the place of ``format: date-time``, with which the
API server takes a list for a string."""

_LAST = dt.datetime.max.replace(tzinfo=dt.UTC)
_REGEX = re.compile(PATTERN, re.ASCII)


class InvalidTimeError(WeirError):
    """A string is no RFC 3339 time, or has no time zone."""

    reason = "InvalidTime"


def now_rfc3339(now: dt.datetime) -> str:
    """Format an aware time as ``2026-11-22T10:00:00.123456Z``.

    Raises:
        InvalidTimeError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise InvalidTimeError(f"{now.isoformat()} has no time zone")
    return now.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> dt.datetime:
    """Return the aware UTC time that an RFC 3339 string means; digits past microseconds are cut.

    Raises:
        InvalidTimeError: it is malformed or has no time zone.
    """
    if _REGEX.fullmatch(text) is None:
        raise InvalidTimeError(f"{text!r} is no RFC 3339 time")
    try:
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidTimeError(f"{text!r} is no RFC 3339 time") from exc


def after(when: dt.datetime, seconds: float) -> dt.datetime:
    """Return an aware time so many seconds later; beyond the year 9999 the end of that."""
    try:
        return when + dt.timedelta(seconds=seconds)
    except OverflowError:
        return _LAST
