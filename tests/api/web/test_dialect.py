"""JSON, however odd what it is made of."""

import json
from typing import Any, cast

import aiohttp
import pytest

from support.facade import ClientOf
from weir_api.hostapi.dialect import DetailDialect
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


@pytest.mark.parametrize(("status", "told"), [(401, 403), (404, 403), (422, 403), (503, 503)])
async def test_clients_of_the_host_api_know_403_in_a_handshake(status: int, told: int) -> None:
    """Whatever is wrong; but what may be tried again is told as such."""
    answer = DetailDialect().handshake(status, "no", {"Retry-After": "2"})
    assert answer.status == told
    assert answer.headers["Retry-After"] == "2"
    assert json.loads(cast(bytes, answer.body)) == {"detail": "no"}


async def test_a_path_that_is_no_socket_is_403_to_a_handshake(client_of: ClientOf) -> None:
    client = await client_of([])
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect("/ws/nowhere")
    assert refused.value.status == 403
