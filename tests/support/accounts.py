"""What clients expect of accounts: the keys and types of the host API's objects."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import aiohttp

USER_KEYS: Mapping[str, Any] = {
    "id": int,
    "username": str,
    "display_name": (str, type(None)),
    "role": str,
    "is_active": bool,
    "created_at": "time",
}
TOKEN_KEYS: Mapping[str, Any] = {
    "id": int,
    "name": str,
    "last_used": "time or null",
    "created_at": "time",
    "expires_at": "time or null",
}
SESSION_KEYS: Mapping[str, Any] = {
    "id": int,
    "client": str,
    "is_current": bool,
    "created_at": "time",
    "expires_at": "time",
}
NEW_TOKEN_KEYS: Mapping[str, Any] = {
    "id": int,
    "name": str,
    "token": str,
    "created_at": "time",
    "expires_at": "time or null",
}
INVITATION_KEYS: Mapping[str, Any] = {
    "id": int,
    "token": str,
    "role": str,
    "group_id": (int, type(None)),
    "max_usage": int,
    "usage_count": int,
    "remaining_uses": int,
    "expires_at": "time or null",
    "is_valid": bool,
    "created_by_id": (int, type(None)),
    "created_at": "time",
}

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


def assert_shape(value: Any, keys: Mapping[str, Any]) -> None:
    """Assert that an object has exactly these keys, with values of these types."""
    assert isinstance(value, dict)
    assert value.keys() == keys.keys()
    for key, kind in keys.items():
        found = value[key]
        if kind == "time or null" and found is None:
            continue
        if isinstance(kind, str):
            assert _TIME.fullmatch(found), (key, found)
            dt.datetime.fromisoformat(found)
        else:
            assert isinstance(found, kind), (key, found)
            assert isinstance(found, bool) == (kind is bool), (key, found)
    assert 0 < value["id"] < 2**53  # JavaScript keeps it


async def call(
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    status: int = 200,
) -> Any:
    """Call an endpoint under /api/auth, assert the status and return the JSON of the answer."""
    async with http.request(method, f"/api/auth{path}", json=body, headers=headers) as answer:
        text = await answer.text()
        assert answer.status == status, (method, path, answer.status, text)
        assert answer.content_type == "application/json"
        told = await answer.json()
    if status >= 400:
        assert told.keys() == {"detail"}
        assert isinstance(told["detail"], list if status == 422 else str)
        assert told["detail"]
    return told
