"""``/openapi.json`` and ``/docs``: made once, open to everyone."""

from aiohttp import web

from weir_api.web.docs_page import CONTENT_SECURITY_POLICY, page
from weir_api.web.endpoint import Family
from weir_api.web.openapi import document
from weir_api.web.replies import encode, raw_json


class Documents:
    """What tells of a family's endpoints."""

    def __init__(self, family: Family) -> None:
        """Make the document and the page."""
        made = document(family)
        self._json = encode(made)
        self._page = page(made)

    def install(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_route("GET", "/openapi.json", self._get_json)
        app.router.add_route("GET", "/docs", self._get_page)

    async def _get_json(self, _request: web.Request) -> web.Response:
        return raw_json(self._json)

    async def _get_page(self, _request: web.Request) -> web.Response:
        return web.Response(
            text=self._page,
            content_type="text/html",
            headers={
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "Referrer-Policy": "no-referrer",
            },
        )
