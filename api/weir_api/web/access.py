"""What a family has to say about its callers; ``web`` itself knows no accounts and no roles."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from aiohttp import web

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a caller needs for a capability, as the OpenAPI document says it.

    Attributes:
        who_may: in words, a sentence.
        security: the document's ``security``; empty: no credential.
        refusals: statuses by which somebody can be turned away.
    """

    who_may: str
    security: tuple[Mapping[str, list[str]], ...] = ()
    refusals: frozenset[int] = frozenset()


class Access(Protocol):
    """Who calls a family, and what they may do.

    What a caller is, and what a capability is, only the family and its Access know.
    """

    @property
    def anonymous(self) -> Any:
        """Who shows no credential."""
        ...

    @property
    def security_schemes(self) -> Object:
        """``components.securitySchemes`` of the OpenAPI document."""
        ...

    async def authenticate(self, request: web.Request) -> Any:
        """Return who sends a request.

        Raises:
            AccessDeniedError: it must not be served, whoever sends it.
            UnavailableError: that cannot be found out now.
        """
        ...

    def is_public(self, capability: Enum) -> bool:
        """Tell whether everyone has a capability, so that it does not matter who calls."""
        ...

    def check(self, caller: Any, capability: Enum) -> None:
        """Return if the caller has the capability, at least for what is its own.

        Raises:
            FacadeError: it has not, in the family's own words.
        """
        ...

    def needs(self, capability: Enum) -> Needs:
        """Return what a capability needs, for the document."""
        ...

    def peer_of(self, request: web.Request) -> str:
        """Return the address that a request comes from, as far as it can be known."""
        ...

    def name_of(self, caller: Any) -> str:
        """Return how a caller is named in logs: one word, that nobody can choose to mislead."""
        ...
