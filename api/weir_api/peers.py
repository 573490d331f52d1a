"""Where a request comes from: the client's address, also behind proxies that are known. Pure."""

import ipaddress
from collections.abc import Sequence

from aiohttp import web

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN = "unknown"
_FORWARDED_FOR = "X-Forwarded-For"


class Peers:
    """Tells addresses of clients; believes ``X-Forwarded-For`` of trusted proxies only."""

    def __init__(self, trusted_proxies: Sequence[Network] = ()) -> None:
        """Believe what proxies in these networks say."""
        self._trusted = tuple(trusted_proxies)

    def of(self, request: web.Request) -> str:
        """Return the client's address, ``unknown`` where it has none.

        Each proxy appends whom it was called by, so the header is read from its end for as long as
        a trusted proxy has written it; what stands before that, anybody may have made up.
        """
        seen = _address(request.remote)
        if seen is None:
            return UNKNOWN
        if self._trusted and self._is_trusted(seen):
            forwarded = ",".join(request.headers.getall(_FORWARDED_FOR, ())).split(",")
            for text in reversed(forwarded):
                before = _address(text)
                if before is None:
                    break
                seen = before
                if not self._is_trusted(seen):
                    break
        return str(seen)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def is_in(peer: str, networks: Sequence[Network]) -> bool:
    """Tell whether a peer is in one of these networks."""
    found = _address(peer)
    return found is not None and any(found in network for network in networks)


def neighbourhood(peer: str) -> str:
    """Return what a peer is counted under: its IPv4 address, or its IPv6 network of 64 bits."""
    found = _address(peer)
    if found is None:
        return UNKNOWN
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
    return str(found)


def _address(text: str | None) -> Address | None:
    # What stands behind a % names an interface, in any words: a header's would get into the log.
    bare = (text or "").strip().partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
