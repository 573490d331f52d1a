"""What all parts of this API write alike: points in time (ISO 8601, UTC with its offset,
microseconds), and the answer that only says that something is done."""

import datetime as dt

from pydantic import BaseModel, ConfigDict

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


class MessageOut(BaseModel):
    """It is done, or on its way."""

    model_config = ConfigDict(extra="forbid")

    message: str
