"""Query parameters and path segments of the HTTPS port, checked."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from multidict import MultiMapping

from weir_nodedaemon.engines.port import Stream
from weir_nodedaemon.server.errors import InvalidParameterError

_NUMBER_LIMIT = 2**31 - 1
_NUMBER = re.compile(r"[0-9]{1,10}")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")  # RFC 1123 subdomain
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_STREAMS = {stream.value: stream for stream in Stream}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which part of a Task's output is wanted."""

    tail: int | None = None  # lines; None: all
    follow: bool = False
    stream: Stream | None = None  # None: both, in order
    run: int | None = None  # None: the Task's last


def parse_log_query(query: MultiMapping[str]) -> LogQuery:
    """Return the parameters of the log route.

    Raises:
        InvalidParameterError: one is unknown, there twice, or has a value that cannot be; it is
            named.
    """
    _check_names(query, LogQuery.__dataclass_fields__)
    return LogQuery(
        tail=_number(query, "tail", 0),
        follow=_choice(query, "follow", _FLAGS) or False,
        stream=_choice(query, "stream", _STREAMS),
        run=_number(query, "run", 1),
    )


def parse_stats_query(query: MultiMapping[str]) -> bool:
    """Return whether the figures of Tasks are wanted, too; raises InvalidParameterError."""
    _check_names(query, ("tasks",))
    wanted = _choice(query, "tasks", _FLAGS)
    return True if wanted is None else wanted


def parse_name(segment: str, what: str) -> str:
    """Return a path segment that is a Kubernetes name; raises InvalidParameterError."""
    if not _NAME.fullmatch(segment):
        raise InvalidParameterError(f"{what} {_shown(segment)} is not a Kubernetes name")
    return segment


def _check_names(query: MultiMapping[str], known: Collection[str]) -> None:
    for name in query:
        if name not in known:
            raise InvalidParameterError(
                f"unknown parameter {_shown(name)}; there are {', '.join(known)}"
            )
        if len(query.getall(name)) > 1:
            raise InvalidParameterError(f"parameter {name} is there more than once")


def _number(query: MultiMapping[str], name: str, lowest: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) and lowest <= int(text) <= _NUMBER_LIMIT:
        return int(text)
    raise InvalidParameterError(
        f"parameter {name} must be a number from {lowest} to {_NUMBER_LIMIT}, not {_shown(text)}"
    )


def _choice(query: MultiMapping[str], name: str, choices: Mapping[str, _T]) -> _T | None:
    text = query.get(name)
    if text is None:
        return None
    if text in choices:
        return choices[text]
    raise InvalidParameterError(
        f"parameter {name} must be one of {', '.join(choices)}, not {_shown(text)}"
    )


def _shown(text: str) -> str:
    """Return text of a stranger, short and without control characters."""
    return repr(text if len(text) <= 64 else text[:61] + "...")
