from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from support.cluster import Cluster
from support.served_host import ServedHost, served_host
from weir_crds.names import daemon_audience
from weir_kube.api import Api
from weir_kube.kinds import SERVICEACCOUNT


@pytest.fixture
async def host(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[ServedHost]:
    async with served_host(cluster, namespace, tmp_path) as served:
        yield served


async def token(api: Api, account: str, namespace: str, audiences: Sequence[str]) -> str:
    issued: str = (await api.token_request(account, namespace, audiences))["token"]
    return issued


async def get(host: ServedHost, path: str, token: str | None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(host.url + path, headers=headers, ssl=False) as response,
    ):
        return response.status, await response.read()


async def test_tokens_for_the_daemon_pass_and_all_others_do_not(host: ServedHost) -> None:
    container = await host.run_task("train")
    await host.runs.print(container, b"hello\n")
    await host.runs.end(container)
    log = f"/v1/namespaces/{host.namespace}/tasks/train/log"
    admin, audience = host.admin, daemon_audience(host.uid)

    reader = await token(admin, "weir-reader", "weir-system", [audience])
    assert await get(host, log, reader) == (200, b"hello\n")
    assert (await get(host, "/v1/stats", reader))[0] == 200
    assert (await get(host, log, None))[0] == 401
    for_the_api = await token(admin, "weir-api", "weir-system", [])
    assert (await get(host, log, for_the_api))[0] == 401
    for_another = await token(admin, "weir-api", "weir-system", ["weir-daemon"])
    assert (await get(host, log, for_another))[0] == 401
    assert (await get(host, log, reader[:-4] + "AAAA"))[0] == 401

    await admin.create(SERVICEACCOUNT, {"metadata": {"name": "nobody"}}, host.namespace)
    nobody = await token(admin, "nobody", host.namespace, [audience])
    status, body = await get(host, log, nobody)
    assert status == 403
    assert f"system:serviceaccount:{host.namespace}:nobody" in body.decode()
    assert (await get(host, "/v1/stats", nobody))[0] == 403
