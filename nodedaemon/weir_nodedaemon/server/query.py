"""Query parameters and path segments of the HTTPS port, checked."""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

from multidict import MultiMapping

from weir_nodedaemon.server.errors import InvalidParameterError

FLAGS = {"true": True, "1": True, "false": False, "0": False}
"""What a parameter that is true or false may be."""

_NUMBER_LIMIT = 2**31 - 1
_NUMBER = re.compile(r"[0-9]{1,10}")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")  # RFC 1123 subdomain

_T = TypeVar("_T")


def check_names(query: MultiMapping[str], known: Collection[str]) -> None:
    """Refuse a parameter that is unknown, or there twice; raises InvalidParameterError."""
    for name in query:
        if name not in known:
            raise InvalidParameterError(
                f"unknown parameter {_shown(name)}; there are {', '.join(known)}"
            )
        if len(query.getall(name)) > 1:
            raise InvalidParameterError(f"parameter {name} is there more than once")


def number(query: MultiMapping[str], name: str, lowest: int) -> int | None:
    """Return a parameter that is a number, or None; raises InvalidParameterError."""
    text = query.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) and lowest <= int(text) <= _NUMBER_LIMIT:
        return int(text)
    raise InvalidParameterError(
        f"parameter {name} must be a number from {lowest} to {_NUMBER_LIMIT}, not {_shown(text)}"
    )


def choice(query: MultiMapping[str], name: str, choices: Mapping[str, _T]) -> _T | None:
    """Return what a parameter stands for, or None; raises InvalidParameterError."""
    text = query.get(name)
    if text is None:
        return None
    if text in choices:
        return choices[text]
    raise InvalidParameterError(
        f"parameter {name} must be one of {', '.join(choices)}, not {_shown(text)}"
    )


def path_name(segment: str, what: str) -> str:
    """Return a path segment that is a Kubernetes name; raises InvalidParameterError."""
    if not _NAME.fullmatch(segment):
        raise InvalidParameterError(f"{what} {_shown(segment)} is not a Kubernetes name")
    return segment


def _shown(text: str) -> str:
    """Return text of a stranger, short and without control characters."""
    return repr(text if len(text) <= 64 else text[:61] + "...")
