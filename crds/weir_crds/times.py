"""Points in time as the API carries them: RFC 3339, UTC, with microseconds."""

import datetime as dt
import re

from weir_crds.errors import WeirError

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


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
    if _RFC3339.fullmatch(text) is None:
        raise InvalidTimeError(f"{text!r} is no RFC 3339 time")
    try:
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidTimeError(f"{text!r} is no RFC 3339 time") from exc
