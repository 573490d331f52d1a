"""Accounts as clients know them, and as the API's document shows them. Pure."""

from typing import Any

from weir_api.access.accounts import Account, Token
from weir_api.hostapi.wire import wire_now
from weir_crds.ids import account_id

TAG = "Accounts"
WHEN = "2026-11-22T10:00:00.123456+00:00"
SECRET = "0f1e2d3c" * 8  # an example, and it looks like one

USER_EXAMPLE: dict[str, Any] = {
    "id": 4503599627370497,
    "username": "ada",
    "display_name": "Ada",
    "role": "user",
    "is_active": True,
    "created_at": WHEN,
}
TOKEN_EXAMPLE: dict[str, Any] = {
    "id": 4503599627370498,
    "name": "laptop",
    "last_used": None,
    "created_at": WHEN,
    "expires_at": None,
}
SESSION_EXAMPLE: dict[str, Any] = {
    "id": 4503599627370500,
    "client": "192.0.2.7 Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "is_current": True,
    "created_at": WHEN,
    "expires_at": "2026-12-22T10:00:00.123456+00:00",
}
NEW_TOKEN_EXAMPLE: dict[str, Any] = {
    "id": 4503599627370498,
    "name": "laptop",
    "token": SECRET,
    "created_at": WHEN,
    "expires_at": None,
}
INVITATION_EXAMPLE: dict[str, Any] = {
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
LISTED_INVITATION_EXAMPLE = {**INVITATION_EXAMPLE, "token": f"{SECRET[:8]}…"}

DISABLED = "Authentication is off, or the API server cannot be reached."
TOO_MANY = "Too many failures: wait as long as `Retry-After` says."


def user_out(account: Account) -> dict[str, Any]:
    """Return a user."""
    return {
        "id": account.id,
        "username": account.username,
        "display_name": account.display_name or None,
        "role": account.role.value,
        "is_active": account.active,
        "created_at": wire_now(account.created_at),
    }


def token_out(token: Token) -> dict[str, Any]:
    """Return a token as it is listed."""
    return {
        "id": token.id,
        "name": token.display_name,
        "last_used": wire_now(token.last_used_at) if token.last_used_at else None,
        "created_at": wire_now(token.created_at),
        "expires_at": wire_now(token.expires_at) if token.expires_at else None,
    }


def session_out(session: Token, *, is_current: bool) -> dict[str, Any]:
    """Return a session as it is listed; ``is_current``: it is the caller's own."""
    return {
        "id": session.id,
        "client": session.display_name,
        "is_current": is_current,
        "created_at": wire_now(session.created_at),
        "expires_at": wire_now(session.expires_at) if session.expires_at else None,
    }


def new_token_out(token: Token, secret: str) -> dict[str, Any]:
    """Return a token that was made just now."""
    return {
        "id": token.id,
        "name": token.display_name,
        "token": secret,
        "created_at": wire_now(token.created_at),
        "expires_at": wire_now(token.expires_at) if token.expires_at else None,
    }


def invitation_out(
    invitation: Token, *, is_valid: bool, secret: str | None = None
) -> dict[str, Any]:
    """Return an invitation.

    Args:
        invitation: which.
        is_valid: whether somebody may still register with it.
        secret: its token, to who made it. None: it is not known any more, only how it begins.
    """
    used = len(invitation.used_by)
    creator = invitation.creator_uid
    return {
        "id": invitation.id,
        "token": secret if secret is not None else f"{invitation.hint}…",
        "role": invitation.role.value if invitation.role else None,
        "group_id": None,
        "max_usage": invitation.max_uses,
        "usage_count": used,
        "remaining_uses": max(invitation.max_uses - used, 0),
        "expires_at": wire_now(invitation.expires_at) if invitation.expires_at else None,
        "is_valid": is_valid,
        "created_by_id": account_id(creator) if creator else None,
        "created_at": wire_now(invitation.created_at),
    }
