"""What is wrong with a request, in the shape in which clients know it."""

from typing import Any, TypeAlias

from pydantic import ValidationError

Fault = dict[str, Any]
Place = tuple[str | int, ...]
# The way to a member of a value: the way to what holds it, and its name or index there.
_Trail: TypeAlias = "tuple[_Trail, str | int] | None"

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
    """Return a string with a NUL in a JSON value, as a fault: nothing here can hold one.

    The work is in proportion to the value, however deep it is: anyone may send one.
    """
    left: list[tuple[Any, _Trail]] = [(value, None)]
    while left:  # a stack of our own: the value may be deep
        one, trail = left.pop()
        if isinstance(one, str):
            if "\0" in one:
                return _nul_fault((*place, *_names(trail)), one)
        elif isinstance(one, dict):
            for name, member in one.items():
                if "\0" in name:
                    return _nul_fault((*place, *_names(trail), name), name)
                left.append((member, (trail, name)))
        elif isinstance(one, list):
            left.extend((member, (trail, index)) for index, member in enumerate(one))
    return None


def _nul_fault(place: Place, text: str) -> Fault:
    return fault("string_nul", place, "Strings must not contain a NUL character", text)


def _names(trail: _Trail) -> Place:
    names: list[str | int] = []
    while trail is not None:
        trail, name = trail
        names.append(name)
    return tuple(reversed(names))


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
