"""JSON, however odd what it is made of."""

import json
from typing import Any

import pytest

from weir_api.web.dialect import encode


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, None, True, "é"]}, {"a": [1, None, True, "é"]}),
        ("\udcff", "?"),
        ({"\udcff": ["a\ud800b"]}, {"?": ["a?b"]}),
        (2**70, 2**70),
        ([], []),
    ],
)
def test_it_is_valid_json(value: Any, told: Any) -> None:
    assert json.loads(encode(value)) == told


@pytest.mark.parametrize("value", [object(), {1: {2}}])
def test_what_cannot_be_json_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)
