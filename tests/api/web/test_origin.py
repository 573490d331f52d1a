"""Which pages a browser may be made to call from: our own alone."""

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from weir_api.errors import AccessDeniedError
from weir_api.web.origin import Origins, origin_of, own_host_names

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


def test_two_origins_are_none() -> None:
    request = make_mocked_request(
        "POST", "/", CIMultiDict([*OURS.items(), ("Origin", "http://weir.example:8000")] * 2)
    )
    with pytest.raises(AccessDeniedError):
        Origins().check(request)


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


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://weir.example.org", "https://weir.example.org"),
        ("https://weir.example.org:443", "https://weir.example.org"),
        ("http://weir.example.org:80/", "http://weir.example.org"),
        ("http://weir.example.org:443", "http://weir.example.org:443"),
        ("HTTPS://Weir.Example.ORG:0443/ui?a=b#c", "https://weir.example.org"),
        ("https://[2001:DB8:0:0::1]:8443/", "https://[2001:db8::1]:8443"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://wéir.example", "https://xn--wir-bma.example"),
        ("https://weir.example:", "https://weir.example"),
        ("ftp://weir.example", None),
        ("weir.example", None),
        ("https://", None),
        ("https://:443", None),
        ("https://ada@weir.example", None),
        ("https://weir.example:65536", None),
        ("https://weir.example:x", None),
        ("https://[::1", None),
        ("https://[fe80::1%eth0]", None),
        ("https://[v1.x]", None),
        ("https://we ir.example", None),
        ("https://weir..example", None),
        ("https://weir.example\n", None),
        ("https://ab\u2100.example", None),
        ("null", None),
        ("", None),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


def _spelled(text: str, upper: bool) -> str:
    return text.upper() if upper else text


_NAMES = st.from_regex(r"[a-z]([a-z0-9]{0,5}[.][a-z]{2,5})?", fullmatch=True)
_HOSTS = st.one_of(
    _NAMES.map(lambda name: (name, name)),
    st.ip_addresses(v=4).map(lambda one: (str(one), str(one))),
    st.ip_addresses(v=6).map(lambda one: (f"[{one.compressed}]", f"[{one.exploded}]")),
)
_SCHEMES = st.sampled_from([("http", 80), ("https", 443)])


@given(_SCHEMES, _HOSTS, st.integers(1, 65535), st.booleans(), st.booleans(), st.booleans())
def test_however_a_url_is_spelled_its_pages_may_call_and_no_others(
    scheme: tuple[str, int],
    host: tuple[str, str],
    port: int,
    upper: bool,
    default: bool,
    in_full: bool,
) -> None:
    name, usual = scheme
    if default:
        port = usual
    canonical = f"{name}://{host[0]}" + ("" if port == usual else f":{port}")
    spelled = f"{_spelled(name, upper)}://{_spelled(host[1], upper)}"
    if in_full or port != usual:
        spelled += f":{port}"
    assert origin_of(spelled) == canonical
    assert origin_of(canonical) == canonical

    named = Origins(trusted=frozenset({origin_of(spelled) or ""}))
    headers = {"Host": "inside:8000"}
    assert allowed(named, "POST", {**headers, "Origin": canonical})
    other = port % 65535 + 1
    assert not allowed(named, "POST", {**headers, "Origin": f"{name}://{host[0]}:{other}"})
    # By Host alone, with the port in full or without, as clients and proxies happen to write it.
    beside = spelled.partition("://")[2]
    assert allowed(Origins(), "POST", {"Host": beside, "Origin": canonical})
    assert not allowed(Origins(), "POST", {"Host": f"{host[0]}:{other}", "Origin": canonical})


@given(st.text(max_size=40))
def test_any_text_is_an_origin_or_none(text: str) -> None:
    for url in (text, f"https://{text}", f"https://[{text}]"):
        origin = origin_of(url)
        assert origin is None or origin_of(origin) == origin
        allowed(Origins(frozenset({"box"}), frozenset({"https://a"})), "POST", {"Origin": url})
