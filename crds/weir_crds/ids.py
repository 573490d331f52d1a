"""The numbers by which REST clients know objects, made of their uids: no counter, never reused.

Two objects of one kind have the same number with a chance of about n²/2^63 (tasks) or n²/2^54
(accounts) for n objects: 1 in 10^7 for a million Tasks, 1 in 10^8 for ten thousand users.
"""

from hashlib import sha256


def task_id(uid: str) -> int:
    """Return the id of a Task: 62 bits, so that it is positive in a signed 64-bit integer."""
    return int.from_bytes(sha256(uid.encode()).digest()[:8]) >> 2


def account_id(uid: str) -> int:
    """Return the id of a user, token or invitation: 53 bits, a number that JavaScript keeps."""
    return int.from_bytes(sha256(uid.encode()).digest()[:8]) >> 11
