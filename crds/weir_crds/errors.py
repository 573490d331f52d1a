"""The root of every error that Weir raises on purpose."""

from typing import ClassVar


class WeirError(Exception):
    """Something failed in a way that we know and can name.

    A subclass says what happened by its type; ``str()`` of an instance says it to a person.
    """

    reason: ClassVar[str] = "InternalError"
    """Reason of the condition that reports it, in CamelCase. Part of the API, never reworded."""

    retry_after_seconds: float | None = None
    """When another try makes sense; ``None``: waiting alone does not help. An instance may know
    better than its class (the API server's Retry-After)."""

    fatal: ClassVar[bool] = False
    """True: the process that meets it may not go on; a work queue hands it to whoever runs it."""
