"""Where a Host's daemon is reached, and for whom a token for it has to be made. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_crds.errors import WeirError
from weir_crds.facts import is_external
from weir_crds.names import daemon_audience

URL_PATTERN = r"^https://([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?\])(:[0-9]{1,5})?$"
"""What a daemon's address looks like: a name or an address, and a port. The host says it itself:
with a path it would have us ask others than a daemon, and hand out what they answer."""

_URL = re.compile(URL_PATTERN)


class NotContactedError(WeirError):
    """Nobody sends anything to the daemon of this Host: it is not approved, has none of ours, or
    names what is no daemon's address.
    """

    reason = "HostNotContacted"


@dataclass(frozen=True, slots=True)
class DaemonEndpoint:
    """How one daemon is reached.

    Attributes:
        host: name of its Host.
        url: ``https://address:port``.
        fingerprint: SHA-256 of its certificate in DER form, 32 bytes.
        audience: what a token that is shown to it must be made for.
    """

    host: str
    url: str
    fingerprint: bytes
    audience: str


def daemon_endpoint(host: Mapping[str, Any]) -> DaemonEndpoint:
    """Return how a Host's daemon is reached.

    Raises:
        NotContactedError: the Host is not approved, is run by a runner of another make, or has not
            told an address, or more than that.
    """
    metadata, spec = host["metadata"], host.get("spec") or {}
    name = metadata["name"]
    if is_external(host):
        raise NotContactedError(f"host {name} is external: it has no daemon of Weir's")
    approval = spec.get("approval") or "Pending"
    if approval != "Approved":
        raise NotContactedError(f"host {name} is not approved ({approval}): it is sent nothing")
    told = (host.get("status") or {}).get("endpoint")
    if not told:
        raise NotContactedError(f"host {name} has not told where its daemon is reached")
    if not _URL.fullmatch(told["url"]):
        raise NotContactedError(f"host {name} tells a URL that is not https://address:port alone")
    return DaemonEndpoint(
        host=name,
        url=told["url"],
        fingerprint=bytes.fromhex(told["fingerprint"].removeprefix("sha256:")),
        audience=daemon_audience(metadata["uid"]),
    )
