"""Log lines on stderr: for people, or one JSON object each."""

import datetime as dt
import json as jsonlib
import logging
import sys

from weir_crds.unprintable import escape_in_json, escape_unprintable

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Text(logging.Formatter):
    def formatTime(  # noqa: N802
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002
    ) -> str:
        return _time(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the message as one line: what others sent us may stand in it."""
        return escape_unprintable(super().formatMessage(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return escape_in_json(jsonlib.dumps(line, ensure_ascii=False))


def setup_logging(level: str = "info", json: bool = False) -> None:
    """Send the process's log to stderr, with UTC times; replaces what was set up before.

    Raises:
        ValueError: there is no such level.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if json else _Text(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per request of theirs would drown ours.
    for name in ("aiohttp.access", "asyncio", "docker", "urllib3"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _time(record: logging.LogRecord) -> str:
    when = dt.datetime.fromtimestamp(record.created, dt.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
