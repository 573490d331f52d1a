"""Requests that no endpoint answers: an unknown path, a wrong method, a slash too many."""

from aiohttp import web

from weir_api.web.dialect import Dialect


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
