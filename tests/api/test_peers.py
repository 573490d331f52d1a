"""Where a request comes from: never what its sender says of itself."""

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from weir_api.peers import Peers, neighbourhood

PROXIES = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "127.0.0.1/32", "fd00::/8")]


class Transport:
    """Knows the other end of a connection."""

    def __init__(self, peer: str | None) -> None:
        self._peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self._peer, 1234) if name == "peername" and self._peer else default


@pytest.mark.parametrize(
    ("remote", "forwarded", "peer"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        # Two proxies, one header or two.
        ("127.0.0.1", ["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("127.0.0.1", ["192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        # What the client itself wrote stands before what the proxies did.
        ("10.0.0.1", ["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["10.9.9.9, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["garbage, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["garbage"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        # An interface's name, of which a log would be made up.
        ("10.0.0.1", ["fe80::1%x verb=delete"], "fe80::1"),
        # No proxy of ours.
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        (None, ["203.0.113.9"], "unknown"),
        # Only proxies: the farthest.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ],
)
def test_the_address_that_trusted_proxies_vouch_for(
    remote: str | None, forwarded: list[str], peer: str
) -> None:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    request = make_mocked_request("GET", "/", headers=headers, transport=Transport(remote))
    assert Peers(PROXIES).of(request) == peer


def test_without_trusted_proxies_the_header_means_nothing() -> None:
    request = make_mocked_request(
        "GET", "/", headers={"X-Forwarded-For": "192.0.2.7"}, transport=Transport("10.0.0.1")
    )
    assert Peers().of(request) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),  # each customer has so many
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("/run/socket", "unknown"),
    ],
)
def test_what_a_peer_is_counted_under(address: str, key: str) -> None:
    assert neighbourhood(address) == key
