"""Plain HTTP for set-up and probes: the API server with a client certificate, health endpoints.

Weir's own components reach the API server through ``weir_kube``; this one must work before any of
them does, and needs nothing but the standard library.
"""

import http.client
import json
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


class RestError(Exception):
    """The server answered with an error status, or not at all (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status beside what the server said."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Rest:
    """One HTTP(S) server and how to be known to it. Each request has its own connection."""

    server: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        if self.ca is None:  # a health endpoint with a certificate that its server made for itself
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        content_type: str = JSON,
        timeout_seconds: float = 10.0,
    ) -> bytes:
        """Return the body of the answer.

        Raises:
            RestError: no answer before the deadline, or an error status.
        """
        address = urlsplit(self.server)
        where = (address.hostname or "", address.port)
        connection = (
            http.client.HTTPSConnection(*where, timeout=timeout_seconds, context=self._context)
            if address.scheme == "https"
            else http.client.HTTPConnection(*where, timeout=timeout_seconds)
        )
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body).encode(),
                {"Content-Type": content_type, **self.headers},
            )
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise RestError(0, f"{self.server}: {exc}") from exc
        finally:
            connection.close()
        if answer.status >= 400:
            raise RestError(answer.status, _message(content) or f"HTTP {answer.status}")
        return content

    def json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object of the answer; raises as ``request``."""
        found: dict[str, Any] = json.loads(self.request(method, path, body))
        return found

    def find(self, path: str) -> dict[str, Any] | None:
        """Return the object at the path, None when there is none; raises as ``request``."""
        try:
            return self.json("GET", path)
        except RestError as exc:
            if exc.status == 404:
                return None
            raise

    def answers(self, path: str) -> bool:
        """Tell whether the server answers with success."""
        try:
            self.request("GET", path, timeout_seconds=5)
        except RestError:
            return False
        return True


def _message(content: bytes) -> str:
    text = content.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return text.strip()[:500]
    return str(found.get("message", "")) if isinstance(found, dict) else text[:500]
