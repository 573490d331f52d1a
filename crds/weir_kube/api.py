"""The verbs of the API server on plain dicts."""

import copy
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from weir_crds.kinds import Kind
from weir_kube.access import Access
from weir_kube.answers import Event, event_in, object_in, page_in, status_in
from weir_kube.errors import GoneError, NotFoundError, error_of
from weir_kube.kinds import SERVICEACCOUNT, SUBJECTACCESSREVIEW, TOKENREVIEW
from weir_kube.store import Object, Objects
from weir_kube.transport import DEADLINE_SECONDS, Request, Transport

_PAGE = 500  # 10,000 Tasks in one answer would block the event loop for a quarter of a second
_WATCH_SECONDS = 290
# Bookmarks come about once a minute while anything happens: a watch this silent may be dead.
_IDLE_SECONDS = 150.0
_MERGE_PATCH = "application/merge-patch+json"


class ObjectList(NamedTuple):
    """A full list and the version of the world that it shows."""

    items: Objects
    resource_version: str


class Api:
    """A client of one API server; plain dicts in and out.

    Every call has a deadline and raises only ``ApiError`` and its subclasses. A write that ended
    with ApiUnavailableError may have taken effect.
    """

    def __init__(self, access: Access) -> None:
        """Use ``weir_kube.connect.connect`` instead."""
        self._transport = Transport(access)
        self._may_write: Callable[[], bool] = lambda: True

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        await self._transport.close()

    def writing_while(self, is_held: Callable[[], bool]) -> Self:
        """Return the same client, whose writes raise NotLeadingError while ``is_held`` is false.

        One that stood still (a machine asleep, a process stopped) decides by what it saw before,
        and acts before anything tells it that another leads now.
        """
        client = copy.copy(self)
        client._may_write = is_held
        return client

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._transport.access.server

    @property
    def namespace(self) -> str:
        """The namespace that the kubeconfig's context, or the pod, is in."""
        return self._transport.access.namespace

    def session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """Open an HTTP session for another library, which owns and closes it.

        Every request made with it carries the token as it is then, also after a rotation. kopf
        takes it as ``kopf.AiohttpSession(server=api.server, aiohttp_session=api.session())``.
        """
        return self._transport.authenticated_session(*middlewares)

    async def get(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Object:
        """Return an object as it is now; raises NotFoundError."""
        request = Request("get", kind.kind, "GET", kind.path(namespace, name))
        return await self._send_for_object(request, deadline_seconds)

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        field_selector: str | None = None,
        label_selector: str | None = None,
        resource_version: str | None = None,
        *,
        transform: Callable[[Object], Object] | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> ObjectList:
        """Return all objects of a kind, in one namespace or in all.

        Args:
            kind: what to list.
            namespace: None: all of them.
            field_selector: such as ``status.nodeName=n1``.
            label_selector: such as ``weir.dev/host=n1``.
            resource_version: None: a consistent list. Else one at least as new as this.
            transform: what to keep of each object, so that never more than a page is in memory
                whole; it must keep the metadata.
            deadline_seconds: for each page of 500 objects.
        """
        query = _selectors(field_selector, label_selector)
        query["limit"] = str(_PAGE)
        if resource_version is not None:
            query["resourceVersion"] = resource_version
            query["resourceVersionMatch"] = "NotOlderThan"
        request = Request("list", kind.kind, "GET", kind.path(namespace), query)
        items: Objects = []
        while True:
            try:
                page = page_in(await self._send(request, deadline_seconds), request.label)
            except GoneError:
                # The snapshot of the first page is compacted away: once more, in one piece.
                if "limit" not in query:
                    raise
                items.clear()
                query.pop("limit", None)
                query.pop("continue", None)
                continue
            found = page["items"]
            items += map(transform, found) if transform is not None else found
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return ObjectList(items, metadata["resourceVersion"])
            query.pop("resourceVersion", None)
            query.pop("resourceVersionMatch", None)
            query["continue"] = metadata["continue"]

    async def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        field_selector: str | None = None,
        label_selector: str | None = None,
        *,
        timeout_seconds: float | None = None,
        idle_seconds: float = _IDLE_SECONDS,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens after ``resource_version``, until the server ends it or is silent.

        Args:
            kind: what to watch.
            resource_version: of a list, or of the last event seen.
            namespace: None: all of them.
            field_selector: as for ``list``. What leaves the selection comes as DELETED.
            label_selector: as for ``list``.
            timeout_seconds: when the server ends it; None: about 290.
            idle_seconds: after how long a silence the watch ends, not even bookmarks having come.
            on_open: called once, when the server has accepted the watch.

        Raises:
            GoneError: ``resource_version`` is too old; list again.
        """
        if timeout_seconds is None:
            timeout_seconds = _WATCH_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311
        query = _selectors(field_selector, label_selector)
        query |= {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(int(timeout_seconds), 1)),
        }
        request = Request("watch", kind.kind, "GET", kind.path(namespace), query)
        async with aclosing(self._transport.lines(request, idle_seconds, on_open)) as lines:
            async for line in lines:
                event = event_in(line, request.label)
                if event.type == "ERROR":
                    code = event.object.get("code")
                    raise error_of(code if isinstance(code, int) else 500, event.object)
                yield event

    async def create(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Object:
        """Create an object and return it; raises AlreadyExistsError."""
        return await self._send_for_object(_creation(kind, body, namespace), deadline_seconds)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Object:
        """Apply a JSON merge patch and return the object.

        With ``metadata.resourceVersion`` in the patch, raises ConflictError when the object has
        changed since, or is another one of that name.
        """
        request = Request(
            "patch",
            _label(kind, subresource),
            "PATCH",
            kind.path(namespace, name, subresource),
            body=patch,
            content_type=_MERGE_PATCH,
        )
        return await self._send_for_object(request, deadline_seconds)

    async def replace(
        self,
        kind: Kind,
        name: str,
        body: Mapping[str, Any],
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Object:
        """Put an object in place of the one there; raises ConflictError when that has changed."""
        request = Request(
            "update",
            _label(kind, subresource),
            "PUT",
            kind.path(namespace, name, subresource),
            body=body,
        )
        return await self._send_for_object(request, deadline_seconds)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> bool:
        """Delete an object; False when it was not there.

        Raises:
            ConflictError: it has another uid or resourceVersion than the one given.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None or resource_version is not None:
            wanted = {"uid": uid, "resourceVersion": resource_version}
            body["preconditions"] = {field: value for field, value in wanted.items() if value}
        request = Request("delete", kind.kind, "DELETE", kind.path(namespace, name), body=body)
        try:
            await self._send(request, deadline_seconds)
        except NotFoundError:
            return False
        return True

    async def token_request(
        self,
        service_account: str,
        namespace: str,
        audiences: Sequence[str] = (),
        expiration_seconds: int = 3600,
        bound_object: Mapping[str, str] | None = None,
    ) -> Object:
        """Ask for a token of a service account; returns ``token`` and ``expirationTimestamp``.

        Args:
            service_account: its name.
            namespace: its namespace.
            audiences: who shall accept the token; empty: the API server.
            expiration_seconds: at least 600.
            bound_object: ``apiVersion``, ``kind``, ``name`` (and ``uid``) of a Pod, Secret or Node
                without which the token is void.
        """
        spec: Object = {"audiences": [*audiences], "expirationSeconds": expiration_seconds}
        if bound_object is not None:
            spec["boundObjectRef"] = dict(bound_object)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": spec,
        }
        path = SERVICEACCOUNT.path(namespace, service_account, "token")
        request = Request("create", "ServiceAccount/token", "POST", path, body=body)
        return status_in(await self._send(request), request.label)

    async def token_review(self, token: str, audiences: Sequence[str] = ()) -> Object:
        """Ask whose token this is; returns ``authenticated``, ``user``, ``audiences``."""
        return await self._review(TOKENREVIEW, {"token": token, "audiences": [*audiences]})

    async def access_review(
        self,
        user: str,
        groups: Sequence[str],
        extra: Mapping[str, Sequence[str]],
        resource_attributes: Mapping[str, str],
    ) -> bool:
        """Ask whether a user may do something.

        Args:
            user: as TokenReview named it.
            groups: likewise.
            extra: likewise.
            resource_attributes: ``namespace``, ``verb``, ``group``, ``resource``, ``subresource``,
                ``name``.
        """
        spec = {
            "user": user,
            "groups": [*groups],
            "extra": {key: [*values] for key, values in extra.items()},
            "resourceAttributes": dict(resource_attributes),
        }
        return bool((await self._review(SUBJECTACCESSREVIEW, spec)).get("allowed"))

    async def _review(self, kind: Kind, spec: Object) -> Object:
        request = _creation(kind, {"spec": spec})
        return status_in(await self._send(request), request.label)

    async def _send_for_object(self, request: Request, deadline_seconds: float) -> Object:
        return object_in(await self._send(request, deadline_seconds), request.label)

    async def _send(self, request: Request, deadline_seconds: float = DEADLINE_SECONDS) -> Object:
        if request.method != "GET":
            request = replace(request, may_be_sent=self._may_write)
        answer: Object = await self._transport.send(request, deadline_seconds)
        return answer


def _selectors(field_selector: str | None, label_selector: str | None) -> dict[str, str]:
    query: dict[str, str] = {}
    if field_selector:
        query["fieldSelector"] = field_selector
    if label_selector:
        query["labelSelector"] = label_selector
    return query


def _label(kind: Kind, subresource: str | None) -> str:
    return f"{kind.kind}/{subresource}" if subresource else kind.kind


def _creation(kind: Kind, body: Mapping[str, Any], namespace: str | None = None) -> Request:
    body = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
    return Request("create", kind.kind, "POST", kind.path(namespace), body=body)
