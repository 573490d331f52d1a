"""Around every request: an id, its error put into words, a line in the log, a metric."""

import logging
import math
import random
import re
import time
from collections.abc import Callable

from aiohttp import web

from weir_api.errors import UnavailableError, status_of
from weir_api.web.access_log import AccessLog
from weir_api.web.calls import CALLER, WebHandler
from weir_api.web.dialect import Dialect
from weir_api.web.metrics import UNDER_WAY, count, seconds
from weir_api.web.probes import PROBES
from weir_api.web.under_way import UnderWay
from weir_api.web.unmatched import unmatched
from weir_crds.errors import WeirError
from weir_kube.errors import ApiError

logger = logging.getLogger(__name__)

REQUEST_ID = web.RequestKey("request_id", str)
"""The request's id: the client's own, if it is a good one, else one of ours."""

STALE_HEADER = "Weir-Stale-Seconds"
_ID_HEADER = "X-Request-ID"
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Made-up methods must not become labels of their own.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_CLIENT_GONE = 499


class Frame:
    """The one middleware of an application."""

    def __init__(
        self,
        family: str,
        dialect: Dialect,
        stale_seconds: Callable[[], float],
        under_way: UnderWay,
    ) -> None:
        """Prepare.

        Args:
            family: name of the API, for metrics.
            dialect: how it words failures.
            stale_seconds: for how long the caches have not followed the API server; 0: they do.
            under_way: counts requests.
        """
        self._family = family
        self._dialect = dialect
        self._stale_seconds = stale_seconds
        self._under_way = under_way
        self._access = AccessLog()
        UNDER_WAY.labels(family).set_function(lambda: under_way.count)

    def install(self, app: web.Application) -> None:
        """Put it around all requests of an application."""

        @web.middleware
        async def frame(request: web.Request, handler: WebHandler) -> web.StreamResponse:
            return await self._handle(request, handler)

        app.middlewares.append(frame)
        app.on_response_prepare.append(self._add_headers)
        app.on_cleanup.append(self._end)

    async def _end(self, _app: web.Application) -> None:
        self._access.flush()

    async def _handle(self, request: web.Request, handler: WebHandler) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get(_ID_HEADER)
        if given is not None and _GOOD_ID.fullmatch(given):
            request[REQUEST_ID] = given
        else:
            request[REQUEST_ID] = f"{random.getrandbits(64):016x}"
        code = _CLIENT_GONE
        self._under_way.enter()
        try:
            try:
                problem = request.match_info.http_exception
                if problem is None:
                    response = await handler(request)
                else:
                    response = await unmatched(request, problem, self._dialect)
            except web.HTTPException as exc:
                response = await unmatched(request, exc, self._dialect)
            except Exception as exc:
                response = self._answer(request, exc)
            code = response.status
            return response
        finally:
            self._under_way.leave()
            self._tell(request, code, time.perf_counter() - began)

    def _answer(self, request: web.Request, exc: Exception) -> web.StreamResponse:
        """Return what an exception means to the client.

        Raises:
            ConnectionError: the client is gone, or its answer has begun and cannot be taken back.
        """
        if isinstance(exc, ConnectionError) and _is_gone(request):
            raise exc
        if request.writer.output_size > 0:
            # What was sent cannot be taken back; only a broken connection tells that it is not all.
            self._log_failure(request, exc)
            raise ConnectionResetError("the answer broke off") from exc
        if isinstance(exc, WeirError):
            status = status_of(exc)
            if status < 500:
                return self._dialect.error(exc, status, _headers_of(exc, status))
            if status == 503:
                logger.info("refused id=%s reason=%s: %s", request[REQUEST_ID], exc.reason, exc)
                return self._dialect.error(exc, status, _headers_of(exc, status))
        self._log_failure(request, exc)
        return self._dialect.plain(
            500, f"internal error; the log knows more under {request[REQUEST_ID]}", {}
        )

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

    def _tell(self, request: web.Request, code: int, took: float) -> None:
        route = _route_of(request)
        method = request.method if request.method in _METHODS else "other"
        count(self._family, method, route, code).inc()
        seconds(self._family, method, route).observe(took)
        if route in PROBES and code < 400:
            return  # somebody asks every few seconds
        caller = request.get(CALLER)
        # Not the username: it may hold blanks, and look like the rest of a line.
        who = "-" if caller is None else caller.user_name or caller.username
        self._access.note((method, route, code, took * 1000, who, request[REQUEST_ID]))

    async def _add_headers(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        if self._under_way.ends:
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


def _is_gone(request: web.Request) -> bool:
    """Tell whether the client is: else it is another connection of ours that broke."""
    return request.transport is None or request.transport.is_closing()


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


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
