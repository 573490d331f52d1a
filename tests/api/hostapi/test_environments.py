"""Which image a request means."""

import pytest

from weir_api.errors import BadRequestError
from weir_api.hostapi.environments import (
    Environments,
    Image,
    InvalidEnvironmentsError,
    parse_environments,
)

FILE = """
default: base
images:
  base: debian:12
  torch: registry.example.org/torch:2.9
"""


@pytest.mark.parametrize(
    ("environment", "image", "chosen"),
    [
        (None, None, Image("debian:12", environment="base")),
        ("", None, Image("debian:12", environment="base")),
        ("torch", None, Image("registry.example.org/torch:2.9", environment="torch")),
        ("torch", "python:3.12", Image("python:3.12")),
        ("NULL", "python:3.12", Image("python:3.12")),
        ("my-env", None, Image("kohakuriver/my-env:base", "Never", "my-env")),
    ],
)
def test_image(environment: str | None, image: str | None, chosen: Image) -> None:
    assert parse_environments(FILE).choose(environment, image) == chosen


def test_without_a_file_the_default_is_on_the_host() -> None:
    assert Environments().choose(None, None) == Image(
        "kohakuriver/kohakuriver-base:base", "Never", "kohakuriver-base"
    )


@pytest.mark.parametrize("name", ["NULL", "My Env", "../x", "a/b", "a:b", "é", "-", "a" * 200])
def test_no_environment(name: str) -> None:
    with pytest.raises(BadRequestError):
        Environments().choose(name, None)


def test_an_empty_file() -> None:
    assert parse_environments("# nothing yet") == Environments()


@pytest.mark.parametrize(
    "text",
    ["[]", "a: b", "default: [x]", "images: [a]", "images: {a: 1}", "images: {a: ''}", "{", "a"],
)
def test_no_file(text: str) -> None:
    with pytest.raises(InvalidEnvironmentsError):
        parse_environments(text)
