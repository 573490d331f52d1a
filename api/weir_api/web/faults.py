"""What is wrong with a request, in the shape in which clients know it."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

Fault = dict[str, Any]
Place = tuple[str | int, ...]

# A body of a megabyte can hold half a million faults; nobody reads them, and telling them is work.
_MOST_FAULTS = 50
_LONGEST_INPUT = 200
_SECRET_WORDS = ("password", "secret", "token")


def fault(kind: str, place: Place, message: str, value: Any = None) -> Fault:
    """Return one fault.

    Args:
        kind: what sort of fault, as pydantic names them.
        place: where: ``path``, ``query`` or ``body`` first, then names and indexes.
        message: for people.
        value: what stands there.
    """
    return {"type": kind, "loc": list(place), "msg": message, "input": _shown(value, place)}


def faults_of(error: ValidationError, part: str, *names: str) -> list[Fault]:
    """Return what pydantic found in one part of a request.

    Args:
        error: its finding.
        part: ``path``, ``query`` or ``body``.
        names: what goes before pydantic's own place.
    """
    count = error.error_count()
    if count > _MOST_FAULTS:
        return [fault("too_many_faults", (part, *names), f"{count} faults; it cannot be meant so")]
    return [
        _with_context(
            fault(found["type"], (part, *names, *found["loc"]), found["msg"], found["input"]),
            found.get("ctx"),
        )
        for found in error.errors(include_url=False)
    ]


def nul_fault(value: Any, place: Place) -> Fault | None:
    """Return the first string with a NUL in a JSON value, as a fault: nothing here can hold one."""
    for where, text in _strings(value, place):
        if "\0" in text:
            return fault("string_nul", where, "Strings must not contain a NUL character", text)
    return None


def _strings(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    left: list[tuple[Place, Any]] = [(place, value)]
    while left:  # a stack of our own: the value may be deep
        where, one = left.pop()
        if isinstance(one, str):
            yield where, one
        elif isinstance(one, dict):
            for name, member in one.items():
                yield (*where, name), name
                left.append(((*where, name), member))
        elif isinstance(one, Sequence):
            left.extend(((*where, index), member) for index, member in enumerate(one))


def _with_context(found: Fault, context: dict[str, Any] | None) -> Fault:
    if context:
        found["ctx"] = {
            name: value if isinstance(value, str | int | float | bool) else str(value)
            for name, value in context.items()
        }
    return found


def _shown(value: Any, place: Place) -> Any:
    """Return what of a value goes back: no secret, nothing big."""
    if not isinstance(value, str | int | float | bool):
        return None
    name = str(place[-1]) if place else ""
    if any(word in name for word in _SECRET_WORDS):
        return "***"
    return value[:_LONGEST_INPUT] if isinstance(value, str) else value
