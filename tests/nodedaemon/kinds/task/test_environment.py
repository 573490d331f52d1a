"""A Task's environment: what is read, and what is said when it cannot be."""

import base64
from typing import Any

import pytest

from support.fake_api import FakeApi
from weir_crds.task import TaskSpec
from weir_kube.errors import ApiUnavailableError
from weir_kube.kinds import CONFIGMAP, SECRET
from weir_nodedaemon.kinds.task.environment import SecretNotReadableError, resolve


def spec(*env: dict[str, Any]) -> TaskSpec:
    return TaskSpec.model_validate({"image": "busybox", "env": list(env)})


def secret(key: str, name: str = "s") -> dict[str, Any]:
    return {"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def config(key: str) -> dict[str, Any]:
    return {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": key}}}


@pytest.fixture
def api() -> FakeApi:
    made = FakeApi()
    data = {
        "text": base64.b64encode("grün\n".encode()).decode(),
        "bytes": base64.b64encode(b"\xff").decode(),
        "nul": base64.b64encode(b"a\0b").decode(),
    }
    made.put(SECRET, {"metadata": {"name": "s", "namespace": "default"}, "data": data})
    made.put(CONFIGMAP, {"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "v"}})
    return made


async def test_values_come_as_they_are(api: FakeApi) -> None:
    found = await resolve(
        spec(secret("text"), config("k"), {"name": "C", "value": "$(A)"}, {"name": "D"}),
        "default",
        api,
    )

    assert found == {"A": "grün\n", "B": "v", "C": "$(A)", "D": ""}


async def test_without_references_the_api_server_is_not_asked(api: FakeApi) -> None:
    api.available = False

    assert await resolve(spec({"name": "C", "value": "x"}), "default", api) == {"C": "x"}


@pytest.mark.parametrize(
    ("variable", "namespace", "said"),
    [
        (secret("none"), "default", "Secret s has no key none"),
        (secret("text", "other"), "default", "there is no Secret other in default"),
        (secret("text"), "elsewhere", "there is no Secret s in elsewhere"),
        (secret("bytes"), "default", "key bytes of Secret s is no text"),
        (secret("nul"), "default", "key nul of Secret s is no text"),
        (config("none"), "default", "ConfigMap c has no key none"),
    ],
)
async def test_what_cannot_be_read_is_named(
    api: FakeApi, variable: dict[str, Any], namespace: str, said: str
) -> None:
    with pytest.raises(SecretNotReadableError, match=said):
        await resolve(spec(variable), namespace, api)


async def test_a_missing_role_is_named_with_the_line_that_binds_it(api: FakeApi) -> None:
    api.forbidden.add(("ConfigMap", "default"))

    with pytest.raises(SecretNotReadableError) as caught:
        await resolve(spec(config("k")), "default", api)

    assert "may not read ConfigMap c" in str(caught.value)
    assert str(caught.value).endswith(
        "kubectl create rolebinding weir-secrets --clusterrole=weir-secrets"
        " --serviceaccount=weir-system:weir-nodedaemon -n default"
    )


async def test_an_api_server_that_is_away_is_no_missing_secret(api: FakeApi) -> None:
    api.available = False

    with pytest.raises(ApiUnavailableError):
        await resolve(spec(secret("text")), "default", api)
