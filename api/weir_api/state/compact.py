"""Objects as they are kept: equal words once in memory, and nothing that nobody reads. Pure.

What a watch tells is parsed event by event, each with its own copies of all field names: without
this, ten thousand Tasks would take twice the memory after an hour of changes.
"""

import re
from sys import intern
from typing import Any

from weir_kube.store import Object

# Words of the API, as opposed to names, times and ids, which are each there once.
_is_word = re.compile(r"[^0-9]{1,64}").fullmatch


def compact(obj: Object) -> Object:
    """Return an equal object without ``managedFields`` that shares its words with all others."""
    kept: Object = _shared(obj)
    kept["metadata"].pop("managedFields", None)
    return kept


def _shared(value: Any) -> Any:
    if isinstance(value, str):
        return intern(value) if _is_word(value) else value
    if isinstance(value, dict):
        return {intern(key): _shared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return value
