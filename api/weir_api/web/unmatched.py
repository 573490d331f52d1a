"""Requests that no endpoint answers: an unknown path, a wrong method, a slash too many."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from aiohttp import web

from weir_api.web.calls import WebHandler
from weir_api.web.dialect import Dialect
from weir_api.web.endpoint import Endpoint


async def unmatched(
    request: web.Request, problem: web.HTTPException, dialect: Dialect
) -> web.StreamResponse:
    """Answer a request that the router has no handler for.

    A path with slashes at its end is sent to the one without, where there is one; clients rely on
    method and body being kept.
    """
    if isinstance(problem, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(problem.allowed_methods))
        return dialect.plain(405, f"here is only {allowed}", {"Allow": allowed})
    if isinstance(problem, web.HTTPNotFound):
        target = await _without_slash(request)
        if target is not None:
            return web.Response(status=307, headers={"Location": target})
        return dialect.plain(404, "there is nothing at this path; /docs shows what there is", {})
    return dialect.plain(problem.status, problem.reason, {})


def literal_paths(endpoints: Iterable[Endpoint]) -> Mapping[str, frozenset[str]]:
    """Return the paths without parameters, each with its methods."""
    found: dict[str, set[str]] = {}
    for endpoint in endpoints:
        if not endpoint.parameters:
            found.setdefault(endpoint.path, set()).add(endpoint.method)
    return {path: frozenset(methods) for path, methods in found.items()}


def refuse_method(allowed: frozenset[str]) -> WebHandler:
    """Return a handler for the other methods of a literal path.

    Without it the router would go on looking, and take ``my`` of ``DELETE /tasks/my`` for an id.
    """

    async def refuse(request: web.Request) -> NoReturn:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


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
