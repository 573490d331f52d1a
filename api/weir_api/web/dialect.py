"""How one API family words its failures: statuses are shared, bodies are not."""

from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from weir_api.errors import InvalidRequestError
from weir_api.web.replies import json_reply
from weir_crds.errors import WeirError


class Dialect(Protocol):
    """The envelope of a family's errors."""

    def error(self, error: WeirError, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for one of our errors."""
        ...

    def plain(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for what has no exception of ours: 404, 405, 413, 500."""
        ...


class DetailDialect:
    """``{"detail": "text"}``; of a 422 ``{"detail": [{type, loc, msg, input, ctx}]}``."""

    def error(self, error: WeirError, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for one of our errors."""
        detail: Any = error.details if isinstance(error, InvalidRequestError) else str(error)
        return json_reply({"detail": detail}, status, dict(headers))

    def plain(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        """Return the answer for what has no exception of ours."""
        return json_reply({"detail": message}, status, dict(headers))
