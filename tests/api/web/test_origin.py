"""Which pages a browser may be made to call from: our own alone."""

import pytest
from aiohttp.test_utils import make_mocked_request

from weir_api.errors import AccessDeniedError
from weir_api.web.origin import Origins, own_host_names

OURS = {"Host": "weir.example:8000"}


def allowed(origins: Origins, method: str, headers: dict[str, str]) -> bool:
    try:
        origins.check(make_mocked_request(method, "/api/submit", headers=headers))
    except AccessDeniedError:
        return False
    return True


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({}, True),  # no browser: those send Origin with what is unsafe
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "whatever"}, False),
        ({"Origin": "http://weir.example:8000"}, True),
        ({"Origin": "https://weir.example:8000"}, True),  # a proxy ends TLS
        ({"Origin": "HTTP://WEIR.example:8000"}, True),
        ({"Origin": "http://weir.example"}, False),
        ({"Origin": "http://weir.example:8001"}, False),
        ({"Origin": "http://evil.weir.example:8000"}, False),
        ({"Origin": "http://weir.example:8000.evil.example"}, False),
        ({"Origin": "http://weir.example:8000@evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": "https://weir.example.org"}, True),  # as --public-url names it
        ({"Origin": "https://weir.example.org:1"}, False),
        ({"Origin": "http://weir.example:8000", "Sec-Fetch-Site": "same-site"}, True),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET upgrade"])
def test_what_is_unsafe_comes_from_our_own_pages(
    method: str, headers: dict[str, str], fine: bool
) -> None:
    origins = Origins(trusted=frozenset({"https://weir.example.org"}))
    verb, _, upgrade = method.partition(" ")
    given = {**OURS, **headers, **({"Upgrade": "websocket"} if upgrade else {})}

    assert allowed(origins, verb, given) is fine
    assert allowed(origins, "GET", {**OURS, **headers})


@pytest.mark.parametrize(
    ("host", "fine"),
    [
        ("127.0.0.1:8000", True),
        ("10.1.2.3", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("box", True),
        ("weir.example.org", True),
        ("evil.example:8000", False),  # its name was made to resolve to us
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[::1", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_authentication_only_names_of_ours_are_answered(
    method: str, host: str, fine: bool
) -> None:
    origins = Origins(known_hosts=frozenset({"box", "weir.example.org"}))

    assert allowed(origins, method, {"Host": host}) is fine
    assert allowed(Origins(), method, {"Host": host})


def test_names_of_this_machine_and_of_where_it_is_reached_are_ours() -> None:
    names = own_host_names(["https://weir.example.org:8443", "http://10.0.0.9"])

    assert {"weir.example.org", "10.0.0.9"} < names
    assert len(names) == 3
