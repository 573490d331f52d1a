"""Around every request: an id, its error put into words, a line in the log, a metric."""

import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from weir_api.errors import UnavailableError, shown_error, status_of
from weir_api.state import audit
from weir_api.web.calls import CALLER, REQUEST_ID, Gate, WebHandler
from weir_api.web.endpoint import Endpoint
from weir_api.web.traffic import AccessLog, UnderWay, measure
from weir_crds.errors import WeirError
from weir_kube.errors import ApiError

logger = logging.getLogger(__name__)

STALE_HEADER = "Weir-Stale-Seconds"
_ID_HEADER = "X-Request-ID"
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499
_TURNED_AWAY = (401, 403)
_LONGEST_PATH = 200
_BROKEN = (ConnectionError, web.PayloadAccessError, ClientPayloadError)


class Frame:
    """The one middleware of an application."""

    def __init__(
        self,
        family: str,
        gate: Gate,
        stale_seconds: Callable[[], float],
        under_way: UnderWay,
        unlogged: frozenset[str],
    ) -> None:
        """Prepare.

        Args:
            family: name of the API, for metrics.
            gate: the family's dialect, and who its callers are.
            stale_seconds: for how long the caches have not followed the API server; 0: they do.
            under_way: counts requests.
            unlogged: routes that leave no line while all is well.
        """
        self._family = family
        self._access = gate.access
        self._dialect = gate.dialect
        self._stale_seconds = stale_seconds
        self._under_way = under_way
        self._unlogged = unlogged
        self._log = AccessLog()
        self._refusals = audit.RateLimitedLines(burst=20, per_second=1.0)

    def install(self, app: web.Application) -> None:
        """Put it around all requests of an application."""

        @web.middleware
        async def frame(request: web.Request, handler: WebHandler) -> web.StreamResponse:
            return await self._handle(request, handler)

        app.middlewares.append(frame)
        app.on_response_prepare.append(self._add_headers)
        app.on_cleanup.append(self._end)

    async def _end(self, _app: web.Application) -> None:
        self._log.flush()

    async def _handle(self, request: web.Request, handler: WebHandler) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get(_ID_HEADER)
        if given is not None and _GOOD_ID.fullmatch(given):
            request[REQUEST_ID] = given
        else:
            request[REQUEST_ID] = f"{random.getrandbits(64):016x}"
        # Of a task of its own: nothing of it is left for the next request of the connection.
        audit.ACTOR.set(audit.Actor("-", self._access.peer_of(request), request[REQUEST_ID]))
        code = _CLIENT_GONE
        self._under_way.enter()
        try:
            try:
                problem = request.match_info.http_exception
                if problem is None:
                    response = await handler(request)
                else:
                    response = await self._unmatched(request, problem)
            except web.HTTPException as exc:
                response = await self._unmatched(request, exc)
            except Exception as exc:
                response = self._answer(request, exc)
            code = response.status
            return response
        finally:
            self._under_way.leave()
            self._note(request, code, time.perf_counter() - began)

    def _answer(self, request: web.Request, exc: Exception) -> web.StreamResponse:
        """Return what an exception means to the client.

        Raises:
            ConnectionError: the client is gone, or its answer has begun and cannot be taken back.
        """
        if isinstance(exc, _BROKEN) and _is_gone(request):
            # It left in the middle of its body, or of our answer: no failure of ours.
            raise ConnectionResetError("the client left") from exc
        if request.writer.output_size > 0:
            # What was sent cannot be taken back; only a broken connection tells that it is not all.
            self._log_failure(request, exc)
            raise ConnectionResetError("the answer broke off") from exc
        if isinstance(exc, ClientPayloadError | HttpProcessingError):
            return self._refuse(request, 400, "the body is not as HTTP says", {})
        if isinstance(exc, WeirError):
            status = status_of(exc)
            if status in _TURNED_AWAY:
                path = request.rel_url.raw_path[:_LONGEST_PATH]
                self._refusals.note(request.method[:20], path, exc.reason)
            if status == 503:
                logger.info("refused id=%s reason=%s: %s", request[REQUEST_ID], exc.reason, exc)
            if status < 500 or status == 503:
                headers = _headers_of(exc, status)
                shown = shown_error(exc)
                if _is_handshake(request):
                    return self._dialect.handshake(status, str(shown), headers)
                return self._dialect.error(shown, status, headers)
        self._log_failure(request, exc)
        return self._refuse(
            request, 500, f"internal error; the log knows more under {request[REQUEST_ID]}", {}
        )

    async def _unmatched(
        self, request: web.Request, problem: web.HTTPException
    ) -> web.StreamResponse:
        """Answer a request that the router has no handler for.

        A path with slashes at its end is sent to the one without, where there is one; clients rely
        on method and body being kept.
        """
        if isinstance(problem, web.HTTPMethodNotAllowed):
            allowed = ", ".join(sorted(problem.allowed_methods))
            return self._refuse(request, 405, f"this path takes {allowed} only", {"Allow": allowed})
        if isinstance(problem, web.HTTPNotFound):
            target = await _without_slash(request)
            if target is not None:
                return web.Response(status=307, headers={"Location": target})
            message = "there is nothing at this path; /docs shows what there is"
            return self._refuse(request, 404, message, {})
        return self._refuse(request, problem.status, problem.reason, {})

    def _refuse(
        self, request: web.Request, status: int, message: str, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        answer = self._dialect.handshake if _is_handshake(request) else self._dialect.plain
        return answer(status, message, headers)

    def _log_failure(self, request: web.Request, exc: Exception) -> None:
        known = isinstance(exc, WeirError)
        logger.log(
            logging.WARNING if known else logging.ERROR,
            "failed id=%s method=%s route=%s: %s",
            request[REQUEST_ID],
            request.method,
            _route_of(request),
            exc if known else type(exc).__name__,
            exc_info=None if known else exc,
        )

    def _note(self, request: web.Request, code: int, seconds: float) -> None:
        route = _route_of(request)
        measure(self._family, request.method, route, code, seconds)
        if route in self._unlogged and code < 400:
            return  # somebody asks every few seconds
        caller = request.get(CALLER)
        who = "-" if caller is None else self._access.name_of(caller)
        self._log.note((request.method, route, code, seconds * 1000, who, request[REQUEST_ID]))

    async def _add_headers(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        if self._under_way.ends and not isinstance(response, web.WebSocketResponse):
            response.force_close()
        headers = response.headers
        headers[_ID_HEADER] = request.get(REQUEST_ID, "-")
        headers["Server"] = "weir"  # not which versions it runs on
        headers.setdefault("Cache-Control", "no-store")
        # Output of Tasks is served as text: no browser may take it for anything else.
        headers["X-Content-Type-Options"] = "nosniff"
        stale = self._stale_seconds()
        if stale >= 1:  # less is a watch that is renewed
            headers[STALE_HEADER] = str(int(stale))


def refuse_other_methods(app: web.Application, endpoints: Iterable[Endpoint]) -> None:
    """Answer the other methods of literal paths with 405.

    Without it the router would go on looking, and take ``my`` of ``DELETE /tasks/my`` for an id.
    """
    methods: dict[str, set[str]] = {}
    for endpoint in endpoints:
        if not endpoint.parameters:
            methods.setdefault(endpoint.path, set()).add(endpoint.method)
    for path, allowed in methods.items():
        app.router.add_route("*", path, _refuse_method(frozenset(allowed)))


def _refuse_method(allowed: frozenset[str]) -> WebHandler:
    async def refuse(request: web.Request) -> NoReturn:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def _is_gone(request: web.Request) -> bool:
    """Tell whether the client is: else it is another connection of ours that broke."""
    return request.transport is None or request.transport.is_closing()


def _is_handshake(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


async def _without_slash(request: web.Request) -> str | None:
    path = request.rel_url.raw_path
    shorter = path.rstrip("/")
    if shorter in ("", path):
        return None
    there = request.clone(rel_url=request.rel_url.with_path(shorter, encoded=True))
    found = await request.app.router.resolve(there)
    if isinstance(found.http_exception, web.HTTPNotFound):
        return None
    query = request.rel_url.raw_query_string
    return f"{shorter}?{query}" if query else shorter


def _headers_of(error: WeirError, status: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    wait = error.retry_after_seconds
    if wait is None and status == 503 and isinstance(error, ApiError):
        wait = UnavailableError.retry_after_seconds
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return headers
