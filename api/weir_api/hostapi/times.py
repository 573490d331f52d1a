"""Points in time as this API's clients read them: ISO 8601, UTC with its offset, microseconds."""

import datetime as dt

_SECONDS = len("2026-11-22T10:00:00")


def wire_time(text: str) -> str:
    """Return a time of a resource (RFC 3339) as ``2026-11-22T10:00:00.123456+00:00``.

    One that cannot be, such as a 30th of February, is passed on: a single row must not keep a whole
    list from being read.
    """
    if text.endswith("Z"):
        seconds, fraction = text[:_SECONDS], text[_SECONDS + 1 : -1]
        return f"{seconds}.{fraction[:6]:0<6}+00:00"
    try:
        return wire_now(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return text


def wire_now(now: dt.datetime) -> str:
    """Return an aware time likewise."""
    return now.astimezone(dt.UTC).isoformat(timespec="microseconds")
