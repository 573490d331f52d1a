"""The audit log: one line for each change of a resource, with who had it made. Never what it holds.

Who calls is set where a request is let in, and holds for all that is done for it.
"""

import logging
from contextvars import ContextVar
from dataclasses import dataclass

logger = logging.getLogger("weir_api.audit")

DONE = "done"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who has changes made: words without blanks, as nobody can choose to mislead."""

    caller: str
    peer: str
    request_id: str


OURSELVES = Actor("weir-api", "-", "-")
ACTOR: ContextVar[Actor] = ContextVar("actor", default=OURSELVES)
"""Whoever the present request is from; the facade itself where there is none."""


def note(verb: str, what: str, outcome: str, detail: str = "") -> None:
    """Write a line.

    Args:
        verb: create, patch, delete.
        what: kind, namespace and name of the object.
        outcome: ``done``, or the reason why not.
        detail: which fields are changed.
    """
    actor = ACTOR.get()
    logger.info(
        "caller=%s peer=%s verb=%s object=%s outcome=%s fields=%s id=%s",
        actor.caller,
        actor.peer,
        verb,
        what,
        outcome,
        detail or "-",
        actor.request_id,
    )
