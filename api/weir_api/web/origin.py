"""From where a browser may be made to call: for unsafe requests, from our own pages alone.

Two attacks are meant. A page of another site has a browser send what its user may do (cookies, or
the browser's place in the network, come along by themselves). And a page whose name is made to
resolve to our address (DNS rebinding) is of our own site for the browser: only ``Host`` tells.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from weir_api.errors import AccessDeniedError

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_-]+([.][a-z0-9_-]+)*[.]?")
_FETCHED_BY_US = frozenset(("same-origin", "none"))


@dataclass(frozen=True, slots=True)
class Origins:
    """What pages may call.

    Attributes:
        known_hosts: names that ``Host`` may have, beside addresses and localhost; None: any,
            because a browser that was lured here has no credential.
        trusted: further origins (``https://weir.example.org``, see ``origin_of``) whose pages may
            call: those of proxies that change ``Host``.
    """

    known_hosts: frozenset[str] | None = None
    trusted: frozenset[str] = field(default_factory=frozenset)

    def check(self, request: web.Request) -> None:
        """Return if no foreign page can be behind a request.

        Raises:
            AccessDeniedError: one may be.
        """
        headers = request.headers
        if self.known_hosts is not None and not self._knows(headers.get("Host", "")):
            raise AccessDeniedError(
                "without authentication this is not served under that host name; --public-url"
                " names it"
            )
        if request.method in SAFE_METHODS and "Upgrade" not in headers:
            return
        origins = headers.getall("Origin", ())
        if origins:
            page = origin_of(origins[0]) if len(origins) == 1 else None  # browsers send one
            if page is not None and (page in self.trusted or _is_of(page, headers.get("Host", ""))):
                return
        elif headers.get("Sec-Fetch-Site", "none") in _FETCHED_BY_US:
            return
        raise AccessDeniedError("another site may not do that in the name of the user")

    def _knows(self, host: str) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in (self.known_hosts or ())
        return True  # nobody else's name resolves to it: the page would be of that address itself


def own_host_names(public_urls: Iterable[str]) -> frozenset[str]:
    """Return the names of this machine, and those in the URLs by which it is reached."""
    found = {socket.gethostname().lower()}
    for url in public_urls:
        name = urlsplit(url).hostname
        if name:
            found.add(name)
    return frozenset(found)


def _host_name(host: str) -> str | None:
    """Return the name or address in a ``Host`` header; None: it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def origin_of(url: str) -> str | None:
    """Return the origin of an http or https URL as browsers write it; None: it is none.

    RFC 6454 section 6.2: scheme and host in lower case, the port unless it is the scheme's own.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    usual = _PORTS.get(parts.scheme)
    if usual is None or "@" in parts.netloc or any(one.isspace() for one in url):
        return None
    host = _canonical_host(parts.hostname or "", bracketed="[" in parts.netloc)
    if host is None:
        return None
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


def _canonical_host(name: str, *, bracketed: bool) -> str | None:
    if bracketed:
        try:
            return f"[{ipaddress.IPv6Address(name).compressed}]" if "%" not in name else None
        except ValueError:
            return None
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        return None
    return ascii_name if _NAME.fullmatch(ascii_name) else None


def _is_of(origin: str, host: str) -> bool:
    """Tell whether a page of that origin has asked the host that it came from.

    The scheme does not count: behind a proxy that ends TLS we see another one than the browser.
    """
    scheme = origin.partition("://")[0]
    return origin_of(f"{scheme}://{host}") == origin
