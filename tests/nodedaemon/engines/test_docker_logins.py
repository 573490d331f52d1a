"""Which logins are tried for an image."""

import base64
import json

import pytest

from weir_nodedaemon.engines.docker.logins import header_of, logins_for
from weir_nodedaemon.engines.port import RegistryLogin


@pytest.mark.parametrize(
    ("written", "registry", "path", "matches"),
    [
        ("reg.example", "reg.example", "team/app", True),
        ("https://reg.example/", "reg.example", "app", True),
        ("http://reg.example:5000/v2/", "reg.example:5000", "app", True),
        ("reg.example", "reg.example:5000", "app", False),
        ("reg.example:5000", "reg.example", "app", False),
        ("other.example", "reg.example", "app", False),
        ("reg.example/team", "reg.example", "team/app", True),
        ("reg.example/team", "reg.example", "team", True),
        ("reg.example/team", "reg.example", "teammates/app", False),
        ("*.example", "reg.example", "app", True),
        ("*.example", "a.reg.example", "app", False),
        ("https://index.docker.io/v1/", "docker.io", "library/busybox", True),
        ("docker.io", "docker.io", "team/app", True),
    ],
)
def test_a_login_is_for_its_registry_or_a_path_in_it(
    written: str, registry: str, path: str, matches: bool
) -> None:
    login = RegistryLogin(written, "u", "p")
    assert logins_for(registry, path, [login]) == ([login] if matches else [])


def test_the_one_for_the_longest_path_is_tried_first() -> None:
    wide, narrow, other = (RegistryLogin(r) for r in ("r.io", "r.io/team", "r.io/team2"))
    assert logins_for("r.io", "team/app", [wide, other, narrow]) == [narrow, wide]


def test_the_header_is_that_of_the_engine_api() -> None:
    header = header_of(RegistryLogin("https://r.io/v1/", "me", "s3cret?>"))
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "me",
        "password": "s3cret?>",
        "serveraddress": "r.io",
    }
    token = header_of(RegistryLogin("r.io", "me", "p", identity_token="t"))
    assert json.loads(base64.urlsafe_b64decode(token)) == {
        "identitytoken": "t",
        "serveraddress": "r.io",
    }


def test_no_secret_is_ever_printed() -> None:
    assert "s3cret" not in repr(RegistryLogin("r.io", "me", "s3cret", "s3cret-token"))
