"""What the API server's answers have to be before anybody reads them.

What stands before it may answer in its place, with success and with whatever it likes. Such an
answer is none: the request may have taken effect.
"""

from typing import Any, NamedTuple

import orjson

from weir_kube.errors import ApiUnavailableError
from weir_kube.store import Object


class Event(NamedTuple):
    """A watch event: ADDED, MODIFIED, DELETED, BOOKMARK, or ERROR with a Status."""

    type: str
    object: Object


def object_in(answer: Object, what: str) -> Object:
    """Return an answer that is an object as the API server stores it.

    Args:
        answer: the JSON object of the answer.
        what: was asked for, as messages name it.

    Raises:
        ApiUnavailableError: it is something else.
    """
    if not _is_stored(answer):
        raise ApiUnavailableError(f"{what}: the answer is no object of its API")
    return answer


def page_in(answer: Object, what: str) -> Object:
    """Return an answer that is a page of a list; its ``items`` is a list of stored objects.

    Raises:
        ApiUnavailableError: it is something else.
    """
    items = answer.get("items") or []
    is_page = _is_stored(answer) and isinstance(items, list) and all(map(_is_stored, items))
    if not is_page:
        raise ApiUnavailableError(f"{what}: the answer is no list of objects")
    return {**answer, "items": items}


def status_in(answer: Object, what: str) -> Object:
    """Return the status of an answer that is stored nowhere, such as a review.

    Raises:
        ApiUnavailableError: it has none.
    """
    status = answer.get("status")
    if not isinstance(status, dict):
        raise ApiUnavailableError(f"{what}: the answer has no status")
    return status


def event_in(line: bytes, what: str) -> Event:
    """Return the event that a line of a watch is.

    Raises:
        ApiUnavailableError: it is none, or was cut off.
    """
    try:
        event = orjson.loads(line)
        found = Event(event["type"], event["object"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ApiUnavailableError(f"{what}: a line is no event, or was cut off") from exc
    is_error = found.type == "ERROR" and isinstance(found.object, dict)
    if not is_error and not _is_stored(found.object):
        raise ApiUnavailableError(f"{what}: an event has no object")
    return found


def _is_stored(found: Any) -> bool:
    """Tell whether that has a version, as all that is stored has, and each list of it."""
    metadata = found.get("metadata") if isinstance(found, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("resourceVersion"), str)
