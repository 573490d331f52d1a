"""Logins of registries in Secrets: what is read, and what is said when it cannot be."""

import base64
import json
from typing import Any

import pytest

from support.fake_api import FakeApi
from weir_kube.kinds import SECRET
from weir_nodedaemon.engines.port import RegistryLogin
from weir_nodedaemon.instances.secrets import PullSecretNotReadableError, read_logins


def encoded(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.b64encode(text.encode()).decode()


def put(api: FakeApi, name: str, **data: str) -> None:
    values = {key.replace("_", "."): value for key, value in data.items()}
    api.put(SECRET, {"metadata": {"name": name, "namespace": "ns"}, "data": values})


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


async def test_both_types_of_kubernetes_and_every_way_to_write_a_login(api: FakeApi) -> None:
    written = {
        "auths": {
            "a.io": {"username": "u", "password": "p", "auth": encoded("x:y")},
            "b.io": {"auth": encoded("u:p:with:colons")},
            "c.io": {"identitytoken": "t"},
        }
    }
    put(api, "new", _dockerconfigjson=encoded(written))
    put(api, "old", _dockercfg=encoded({"d.io": {"username": "u", "password": "p"}}))
    assert await read_logins(["old", "new"], "ns", api) == (
        RegistryLogin("d.io", "u", "p"),
        RegistryLogin("a.io", "u", "p"),
        RegistryLogin("b.io", "u", "p:with:colons"),
        RegistryLogin("c.io", identity_token="t"),
    )


async def test_without_any_nothing_is_read(api: FakeApi) -> None:
    api.available = False
    assert await read_logins([], "ns", api) == ()


BROKEN = [
    {},
    {"password": "eA=="},
    {"_dockerconfigjson": "not base64!"},
    {"_dockerconfigjson": encoded("not json")},
    {"_dockerconfigjson": encoded({})},
    {"_dockerconfigjson": encoded([])},
    {"_dockerconfigjson": encoded({"auths": []})},
    {"_dockerconfigjson": encoded({"auths": {"a.io": "x"}})},
    {"_dockerconfigjson": encoded({"auths": {"a.io": {"auth": "!"}}})},
    {"_dockerconfigjson": encoded({"auths": {"a.io": {"auth": encoded("no colon")}}})},
]


@pytest.mark.parametrize("data", BROKEN, ids=map(str, range(len(BROKEN))))
async def test_a_secret_that_is_no_login_is_named(api: FakeApi, data: dict[str, str]) -> None:
    put(api, "s", **data)
    with pytest.raises(PullSecretNotReadableError, match="Secret s is no login") as caught:
        await read_logins(["s"], "ns", api)
    assert "colon" not in str(caught.value)  # nothing of what it holds


async def test_one_that_is_not_there_or_may_not_be_read_is_named(api: FakeApi) -> None:
    with pytest.raises(PullSecretNotReadableError, match="there is no Secret s in ns"):
        await read_logins(["s"], "ns", api)
    api.forbidden.add(("Secret", "ns"))
    with pytest.raises(PullSecretNotReadableError, match="kubectl create rolebinding weir-secrets"):
        await read_logins(["s"], "ns", api)
