"""How much of everything one request may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of each request."""

    body_bytes: int = 1024 * 1024
    body_seconds: float = 10.0
    """How long a client may take to send its body."""
    request_seconds: float = 30.0
    """How long an answer may take, unless its endpoint streams."""
