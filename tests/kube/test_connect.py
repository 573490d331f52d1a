"""Which API server, as whom; and a token that changes under us."""

import asyncio
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.aio import until_async
from support.api_proxy import ApiProxy, status_object
from support.cluster import Cluster
from weir_crds.kinds import HOST
from weir_kube.access import TokenFile
from weir_kube.api import Api
from weir_kube.connect import connect, load_access
from weir_kube.errors import ApiError, ConfigError, UnauthorizedError
from weir_kube.kinds import NAMESPACE, NODE

SERVER = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of this machine plays a part."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)


def write_kubeconfig(path: Path, user: dict[str, Any], server: str = SERVER, **context: Any) -> str:
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "c", "context": {"cluster": "c", "user": "u", **context}},
            {"name": "other", "context": {"cluster": "c", "user": "u", "namespace": "o"}},
        ],
    }
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(config))
    return str(path)


def files_in(folder: Path) -> set[Path]:
    return set(folder.iterdir())


async def test_the_path_given_comes_before_the_environment_and_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kubeconfig(tmp_path / "home" / ".kube" / "config", {}, "http://home:1/")
    in_env = write_kubeconfig(tmp_path / "env", {}, "http://env:1")
    given = write_kubeconfig(tmp_path / "given", {}, "http://given:1")
    assert (await load_access()).server == "http://home:1"
    monkeypatch.setenv("KUBECONFIG", in_env)
    assert (await load_access()).server == "http://env:1"
    assert (await load_access(given)).server == "http://given:1"
    monkeypatch.setenv("KUBECONFIG", f"/nowhere{os.pathsep}{given}{os.pathsep}{in_env}")
    assert (await load_access()).server == "http://given:1"


async def test_the_context_says_the_namespace(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", {}, namespace="mine")
    assert (await load_access(path)).namespace == "mine"
    assert (await load_access(path, "other")).namespace == "o"
    assert (await load_access(write_kubeconfig(tmp_path / "k2", {}))).namespace == "default"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        "{",
        "current-context: c\n",
        json.dumps({"current-context": "x", "contexts": [], "clusters": [], "users": []}),
    ],
    ids=["missing", "empty", "a list", "no YAML", "no contexts", "an unknown context"],
)
async def test_an_unusable_kubeconfig_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "k"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=str(path)):
        await load_access(str(path))


async def test_no_key_is_left_in_a_file(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = files_in(tmp_path)
    for _ in range(2):
        async with await connect(str(cluster.admin_kubeconfig)) as api:
            await api.get(NAMESPACE, "default")
    assert files_in(tmp_path) == before


async def test_in_a_pod_its_service_account_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("the-token\n")
    (folder / "namespace").write_text("the-namespace")
    (folder / "ca.crt").write_bytes(cluster.plane.pki.ca.read_bytes())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for module in ("kubernetes.aio.config.incluster_config", "weir_kube.connect"):
        monkeypatch.setattr(f"{module}.SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(
        "kubernetes.aio.config.incluster_config.SERVICE_CERT_FILENAME", str(folder / "ca.crt")
    )
    monkeypatch.setattr("weir_kube.connect._NAMESPACE_FILE", folder / "namespace")
    access = await load_access()
    assert access.server == "https://[fd00::1]:443"
    assert access.namespace == "the-namespace"
    assert await access.credentials.header() == "Bearer the-token"


async def test_a_token_file_is_relative_to_its_kubeconfig_and_wins_over_a_token(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    path = write_kubeconfig(tmp_path / "k", {"tokenFile": "token", "token": "inline"})
    assert await (await load_access(path)).credentials.header() == "Bearer from-file"


async def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "token"
    path.write_text("one")
    tokens = TokenFile(path, clock=lambda: now[0])
    assert await tokens.header() == "Bearer one"
    path.write_text("two2")
    assert await tokens.header() == "Bearer one"  # looked at once a second
    now[0] = 1.0
    assert await tokens.header() == "Bearer two2"
    now[0] = 2.0
    path.write_text("")  # being rewritten in place
    assert await tokens.header() == "Bearer two2"
    now[0] = 3.0
    path.unlink()
    assert await tokens.header() == "Bearer two2"
    path.write_text("three")
    assert await tokens.refresh("Bearer two2") is True
    assert await tokens.header() == "Bearer three"
    assert await tokens.refresh("Bearer three") is False


async def test_an_exec_plugin_is_run_again_when_its_token_is_refused(
    tmp_path: Path, api_proxy: ApiProxy, admin_token: str
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\ncat {tmp_path}/credential\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)

    def give(token: str) -> None:
        version = "client.authentication.k8s.io/v1"
        credential = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
        (tmp_path / "credential").write_text(json.dumps(credential))

    give("expired")
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    async with await connect(write_kubeconfig(tmp_path / "k", user, api_proxy.url)) as api:
        with pytest.raises(UnauthorizedError):
            await api.get(NAMESPACE, "default")
        give(admin_token)
        await asyncio.gather(*(api.get(NAMESPACE, "default") for _ in range(5)))
    assert (tmp_path / "runs").read_text().count("run") == 3


async def test_an_exec_plugin_that_fails_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false"}}
    with pytest.raises(ConfigError, match="exec plugin of user u"):
        await connect(write_kubeconfig(tmp_path / "k", user))


async def test_a_refused_token_is_looked_up_again_once(
    tmp_path: Path, api_proxy: ApiProxy, admin_token: str
) -> None:
    token = tmp_path / "token"
    token.write_text("a.wrong.token")
    path = write_kubeconfig(tmp_path / "k", {"tokenFile": str(token)}, api_proxy.url)
    async with await connect(path) as api:
        with pytest.raises(UnauthorizedError):
            await api.get(NAMESPACE, "default")
        assert len(api_proxy.requests) == 1  # the file held nothing else
        token.write_text(admin_token)
        await api.get(NAMESPACE, "default")
        assert len(api_proxy.requests) <= 3


async def test_an_unknown_static_token_is_refused(tmp_path: Path, api_proxy: ApiProxy) -> None:
    async with await connect(
        write_kubeconfig(tmp_path / "k", {"token": "x.y.z"}, api_proxy.url)
    ) as api:
        with pytest.raises(UnauthorizedError):
            await api.get(NAMESPACE, "default")


async def test_a_rotated_token_takes_over_before_the_old_one_is_revoked(
    cluster: Cluster, api: Api
) -> None:
    """The daemon's case: the token is bound to a Node, and void when that is gone."""
    host = f"rotated-{time.monotonic_ns()}"
    path = cluster.kubeconfig_for("weir-nodedaemon", host)
    old = token_of(path)
    async with await connect(str(path)) as daemon, daemon.session() as borrowed:

        async def borrowed_status() -> int:
            async with borrowed.get(f"{daemon.server}/apis/weir.dev/v1alpha1/hosts") as answer:
                return answer.status

        await daemon.list(HOST)
        assert await borrowed_status() == 200
        await api.delete(NODE, host)
        cluster.kubeconfig_for("weir-nodedaemon", host)  # a new Node, and a token of it
        assert token_of(path) != old

        async def refused() -> bool:
            return not (await api.token_review(old)).get("authenticated")

        await until_async(refused)  # the API server remembers a good token for 10 s
        await daemon.list(HOST)
        assert await borrowed_status() == 200


def token_of(kubeconfig: Path) -> str:
    user = json.loads(kubeconfig.read_text())["users"][0]["user"]
    return Path(user["tokenFile"]).read_text()


async def test_a_borrowed_session_looks_a_refused_token_up_again(
    tmp_path: Path, api_proxy: ApiProxy, admin_token: str
) -> None:
    token = tmp_path / "token"
    token.write_text("a.wrong.token")
    path = write_kubeconfig(tmp_path / "k", {"tokenFile": str(token)}, api_proxy.url)
    async with await connect(path) as api, api.session() as session:
        async with session.get(f"{api.server}/api/v1/namespaces") as answer:
            assert answer.status == 401
        token.write_text(admin_token)
        async with session.get(f"{api.server}/api/v1/namespaces") as answer:
            assert answer.status == 200


async def test_a_token_never_follows_a_redirect(
    tmp_path: Path, api_proxy: ApiProxy, proxied_api: Api
) -> None:
    seen: list[str] = []

    async def rule(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.json_response(
            status_object(302), status=302, headers={"Location": f"{api_proxy.url}/elsewhere"}
        )

    api_proxy.add_rule(rule)
    with pytest.raises(ApiError):
        await proxied_api.get(NAMESPACE, "default")
    assert seen == ["/api/v1/namespaces/default"]
