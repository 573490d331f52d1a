"""Words and examples that the accounts' endpoints share in the API's document."""

from typing import Any

TAG = "Accounts"
WHEN = "2026-11-22T10:00:00.123456+00:00"
SECRET = "0f1e2d3c" * 8  # an example, and it looks like one

USER: dict[str, Any] = {
    "id": 4503599627370497,
    "username": "ada",
    "display_name": "Ada",
    "role": "user",
    "is_active": True,
    "created_at": WHEN,
}
TOKEN: dict[str, Any] = {
    "id": 4503599627370498,
    "name": "laptop",
    "last_used": None,
    "created_at": WHEN,
}
NEW_TOKEN: dict[str, Any] = {
    "id": 4503599627370498,
    "name": "laptop",
    "token": SECRET,
    "created_at": WHEN,
}
INVITATION: dict[str, Any] = {
    "id": 4503599627370499,
    "token": SECRET,
    "role": "user",
    "group_id": None,
    "max_usage": 1,
    "usage_count": 0,
    "remaining_uses": 1,
    "expires_at": "2026-11-25T10:00:00.123456+00:00",
    "is_valid": True,
    "created_by_id": 4503599627370497,
    "created_at": WHEN,
}
LISTED_INVITATION = {**INVITATION, "token": f"{SECRET[:8]}…"}

DISABLED = "Authentication is off, or the API server cannot be reached."
TOO_MANY = "Too many failures: wait as long as `Retry-After` says."
