"""Logins of registries, with a real Docker and a real registry that wants one."""

import base64
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from support.engine_rig import Rig
from support.registries import real_registry
from weir_nodedaemon.engines.port import (
    ImagePullError,
    PullAccess,
    RegistryLogin,
    RegistryLoginError,
)

pytestmark = pytest.mark.docker

USER, PASSWORD = "reader", "s3cret"
_HTPASSWD = f"{USER}:$2y$04$QBjip8R42jufsP.35iqRNe8K33TE9QyAkezPVMi/fx4eS6kWgs57e"  # bcrypt
ANYBODY = PullAccess()


@pytest.fixture
def rig(docker_rig: Rig) -> Rig:
    """Real Docker only."""
    return docker_rig


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a registry that wants a login."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("private") / "registry"
    with real_registry(folder, port, htpasswd=_HTPASSWD) as address:
        yield address


@pytest.fixture
def image(docker_host: str, busybox_image: str, registry: str) -> Iterator[str]:
    """An image that is only there."""
    client = docker.APIClient(docker_host, version="auto")
    repository = f"{registry}/team/private"
    client.tag(busybox_image, repository, "1")
    login = {"username": USER, "password": PASSWORD}
    for line in client.push(repository, "1", stream=True, decode=True, auth_config=login):
        assert "error" not in line, line
    client.remove_image(f"{repository}:1")
    yield f"{repository}:1"
    if client.images(name=repository):
        client.remove_image(f"{repository}:1", force=True)
    client.close()


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Sets what somebody's ``docker login`` on this host has stored."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    helper = tmp_path / "docker-credential-sick"
    helper.write_text("#!/bin/sh\necho 'token expired'; exit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def store(config: dict[str, Any]) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config))

    store({})
    return store


def login(registry: str, password: str = PASSWORD) -> RegistryLogin:
    return RegistryLogin(registry, USER, password)


@pytest.mark.usefixtures("stored")
async def test_without_a_login_it_does_not_come(rig: Rig, image: str) -> None:
    with pytest.raises(ImagePullError) as caught:
        await rig.engine.pull(image)
    assert caught.value.permanent
    assert not await rig.engine.has_image(image)


@pytest.mark.usefixtures("stored")
async def test_a_login_that_is_handed_over_brings_it(rig: Rig, image: str, registry: str) -> None:
    await rig.engine.pull(image, PullAccess((login(registry),), host_login=False))
    assert await rig.engine.has_image(image)


@pytest.mark.usefixtures("stored")
async def test_every_login_for_it_is_tried(rig: Rig, image: str, registry: str) -> None:
    logins = (login("other.example"), login(f"{registry}/team", "wrong"), login(registry))
    await rig.engine.pull(image, PullAccess(logins))
    assert await rig.engine.has_image(image)


@pytest.mark.usefixtures("stored")
async def test_a_wrong_password_is_for_good(rig: Rig, image: str, registry: str) -> None:
    with pytest.raises(ImagePullError) as caught:
        await rig.engine.pull(image, PullAccess((login(registry, "wrong"),)))
    assert caught.value.permanent


async def test_what_is_stored_on_the_host_is_used_unless_it_may_not_be(
    rig: Rig, image: str, registry: str, stored: Callable[[dict[str, Any]], None]
) -> None:
    stored({"auths": {registry: {"username": USER, "password": PASSWORD, "auth": _auth()}}})
    with pytest.raises(ImagePullError):
        await rig.engine.pull(image, PullAccess(host_login=False))
    await rig.engine.pull(image, ANYBODY)
    assert await rig.engine.has_image(image)


BROKEN = [
    pytest.param({"credsStore": "sick"}, id="the helper fails"),
    pytest.param({"credsStore": "absent"}, id="the helper is not installed"),
    pytest.param({"auths": {"REGISTRY": {"auth": "not base64"}}}, id="a broken login"),
]


def _broken(config: dict[str, Any], registry: str) -> dict[str, Any]:
    filled: dict[str, Any] = json.loads(json.dumps(config).replace("REGISTRY", registry))
    return filled


@pytest.mark.parametrize("config", BROKEN)
async def test_a_stored_login_that_cannot_be_read_keeps_no_public_image_away(
    rig: Rig,
    docker_host: str,
    docker_images: Any,
    image_registry: str,
    config: dict[str, Any],
    stored: Callable[[dict[str, Any]], None],
) -> None:
    client = docker.APIClient(docker_host, version="auto")
    stored(_broken(config, image_registry))
    await rig.engine.pull(docker_images.pullable)
    assert await rig.engine.has_image(docker_images.pullable)
    client.remove_image(docker_images.pullable)
    client.close()


@pytest.mark.parametrize("config", BROKEN)
async def test_a_stored_login_that_cannot_be_read_is_named_where_one_is_wanted(
    rig: Rig,
    image: str,
    registry: str,
    config: dict[str, Any],
    stored: Callable[[dict[str, Any]], None],
) -> None:
    stored(_broken(config, registry))
    with pytest.raises(RegistryLoginError, match="the host's own cannot be read") as caught:
        await rig.engine.pull(image)
    assert not caught.value.permanent  # somebody may log in anew
    await rig.engine.pull(image, PullAccess((login(registry),)))
    assert await rig.engine.has_image(image)


def _auth() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
