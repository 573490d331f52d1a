"""Who may read: TokenReview, then SubjectAccessReview, as the kubelet does. Denied by default."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from weir_crds.names import daemon_audience
from weir_kube.store import Key, Store
from weir_nodedaemon.server.errors import (
    AccessDeniedError,
    InvalidParameterError,
    NotReadyError,
    UnauthenticatedError,
)

_TOKEN_LIMIT = 16 * 1024
ALLOWED_SECONDS = 10.0
"""How long the API server's word that somebody may do something counts."""
FIGURES_ALLOWED_SECONDS = 120.0
"""The same for figures: who reads them asks every second, and there is no secret in them."""
_DENIED_SECONDS = 2.0
_CACHED = 4096

_V = TypeVar("_V")


class Reviews(Protocol):
    """The two questions to the API server (``weir_kube.api.Api`` answers them)."""

    async def token_review(self, token: str, audiences: Sequence[str] = ()) -> dict[str, Any]:
        """Return the status of a TokenReview."""
        ...

    async def access_review(
        self,
        user: str,
        groups: Sequence[str],
        extra: Mapping[str, Sequence[str]],
        resource_attributes: Mapping[str, str],
    ) -> bool:
        """Tell whether the user may."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token stands for."""

    token_digest: bytes
    name: str
    groups: tuple[str, ...]
    extra: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller wants, as RBAC names it."""

    resource: str
    subresource: str
    name: str
    namespace: str = ""
    group: str = "weir.dev"
    verb: str = "get"

    def attributes(self) -> dict[str, str]:
        """Return the ``resourceAttributes`` of a SubjectAccessReview."""
        attributes = {
            "verb": self.verb,
            "group": self.group,
            "resource": self.resource,
            "subresource": self.subresource,
            "name": self.name,
        }
        return attributes | ({"namespace": self.namespace} if self.namespace else {})


class VerdictCache(Generic[_V]):
    """Verdicts and their age; the oldest goes when there are too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start empty."""
        self._clock = clock
        self._verdicts: OrderedDict[object, tuple[float, _V]] = OrderedDict()

    def get(self, key: object) -> tuple[_V, float] | None:
        """Return a verdict and how many seconds old it is, or None."""
        known = self._verdicts.get(key)
        return None if known is None else (known[1], self._clock() - known[0])

    def put(self, key: object, verdict: _V) -> _V:
        """Keep a verdict of now, and return it."""
        self._verdicts.pop(key, None)
        self._verdicts[key] = (self._clock(), verdict)
        if len(self._verdicts) > _CACHED:
            self._verdicts.popitem(last=False)
        return verdict


class Authorizer:
    """Checks callers with the API server and remembers its verdicts for seconds."""

    def __init__(
        self,
        reviews: Reviews,
        hosts: Store,
        host_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask ``reviews`` about tokens for the Host of that name in ``hosts``: this machine's."""
        self._reviews = reviews
        self._hosts = hosts
        self._host_key = Key("", host_name)
        self._callers: VerdictCache[Caller | str] = VerdictCache(clock)
        self._verdicts: VerdictCache[bool] = VerdictCache(clock)

    async def authenticate(
        self,
        authorization: str | None,
        *,
        allowed_seconds: float = ALLOWED_SECONDS,
        before_review: Callable[[], None] = lambda: None,
    ) -> Caller:
        """Return whom the ``Authorization`` header stands for.

        Args:
            authorization: the header.
            allowed_seconds: for how long a token that was valid is taken to be so still.
            before_review: called before the API server is asked about a token that was never
                valid; may raise to refuse that.

        Raises:
            UnauthenticatedError: no bearer token, or one that was not made for this very host.
            NotReadyError: the daemon does not know its Host yet.
            InvalidParameterError: the header is too long to be a token.
            ApiError: the API server could not be asked.
        """
        token = _bearer_token(authorization)
        audience = self._audience()
        digest = hashlib.sha256(f"{audience} {token}".encode("utf-8", "surrogateescape")).digest()
        known = self._callers.get(digest)
        verdict = known[0] if known is not None else None
        longest = allowed_seconds if isinstance(verdict, Caller) else _DENIED_SECONDS
        if known is None or verdict is None or known[1] >= longest:
            if not isinstance(verdict, Caller):
                before_review()
            status = await self._reviews.token_review(token, [audience])
            verdict = self._callers.put(digest, _caller(digest, status, audience))
        if isinstance(verdict, Caller):
            return verdict
        raise UnauthenticatedError(verdict)

    def _audience(self) -> str:
        """Return what tokens must be made for: a Host that is made anew is another one."""
        host = self._hosts.get(self._host_key)
        if host is None:
            raise NotReadyError("the daemon does not know its Host yet")
        return daemon_audience(host["metadata"]["uid"])

    async def authorize(
        self, caller: Caller, access: Access, *, allowed_seconds: float = ALLOWED_SECONDS
    ) -> None:
        """Return if the caller may.

        Args:
            caller: who asks.
            access: for what.
            allowed_seconds: for how long who was allowed is taken to be so still.

        Raises:
            AccessDeniedError: the API server says no.
            ApiError: the API server could not be asked.
        """
        key = (caller.token_digest, access)
        known = self._verdicts.get(key)
        allowed = known is not None and known[0]
        longest = allowed_seconds if allowed else _DENIED_SECONDS
        if known is None or known[1] >= longest:
            allowed = await self._reviews.access_review(
                caller.name, caller.groups, caller.extra, access.attributes()
            )
            self._verdicts.put(key, allowed)
        if not allowed:
            where = f' in namespace "{access.namespace}"' if access.namespace else ""
            raise AccessDeniedError(
                f'user "{caller.name}" cannot {access.verb} {access.resource}.{access.group}'
                f'/{access.subresource} "{access.name}"{where}'
            )


def _bearer_token(authorization: str | None) -> str:
    if authorization is None:
        raise UnauthenticatedError("a bearer token for this host's daemon is needed")
    if len(authorization) > _TOKEN_LIMIT:
        raise InvalidParameterError(f"header Authorization is longer than {_TOKEN_LIMIT} bytes")
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii() or " " in token:
        raise UnauthenticatedError("header Authorization is not of the form: Bearer <token>")
    return token


def _caller(digest: bytes, status: Mapping[str, Any], audience: str) -> Caller | str:
    """Return whom a TokenReview's status names, or why the token is refused.

    An API server that knows nothing of audiences leaves ``audiences`` out: then the token is not
    known to be ours and is refused, as the TokenReview documentation demands.
    """
    user = status.get("user") or {}
    if status.get("authenticated") is not True or not user.get("username"):
        return f"the token is not valid for the audience {audience}"
    if audience not in (status.get("audiences") or ()):
        return f"the token is not for the audience {audience}"
    return Caller(
        digest, user["username"], tuple(user.get("groups") or ()), dict(user.get("extra") or {})
    )
