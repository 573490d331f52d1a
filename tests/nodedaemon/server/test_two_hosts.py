"""Two hosts, two tokens: nothing taken from one opens anything at the other. All of it real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.bare_daemon import Asked, bare_daemon
from support.cluster import Cluster
from support.served_host import ServedHost, served_host, weir
from weir_crds.daemon_endpoint import NotContactedError
from weir_crds.kinds import HOST
from weir_crds.names import SERVICE_ACCOUNT_API, daemon_audience
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.daemon_tokens import DaemonTokens
from weir_kube.daemons import Daemons
from weir_kube.errors import DaemonRefusedError, ForbiddenError


@pytest.fixture
async def good(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[ServedHost]:
    """A host with a daemon as it should be, and a secret in the output of its Task."""
    async with served_host(cluster, namespace, tmp_path / "good") as host:
        container = await host.run_task("train")
        await host.runs.print(container, b"secret\n")
        await host.runs.end(container)
        yield host


@pytest.fixture
async def facade(cluster: Cluster) -> AsyncIterator[Daemons]:
    """The facade's client, with the facade's account."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            await connect(str(cluster.kubeconfig_for(SERVICE_ACCOUNT_API)))
        )
        daemons = Daemons(DaemonTokens(api, SERVICE_ACCOUNT_API), user_agent="test")
        stack.push_async_callback(daemons.close)
        yield daemons


@pytest.fixture
async def evil(good: ServedHost, tmp_path: Path) -> AsyncIterator[tuple[str, list[Asked]]]:
    """An approved Host whose daemon keeps all tokens: its name, and what it was asked."""
    async with bare_daemon(
        tmp_path / "evil", lambda _: web.json_response({"host": {}, "tasks": []})
    ) as (host, asked):
        name = f"{good.name}-evil"
        made = {"metadata": {"name": name}, "spec": {"approval": "Approved"}}
        await good.admin.create(HOST, made)
        await good.admin.patch(HOST, name, {"status": host["status"]}, subresource="status")
        yield name, asked
        await good.admin.delete(HOST, name)


async def show(host: ServedHost, path: str, authorization: str) -> int:
    """Show a header to a host's daemon; returns the status."""
    headers = {"Authorization": authorization}
    async with (
        aiohttp.ClientSession() as session,
        session.get(host.url + path, headers=headers, ssl=False) as response,
    ):
        return response.status


def paths_of(host: ServedHost) -> list[str]:
    return ["/v1/stats", f"/v1/namespaces/{host.namespace}/tasks/train/log"]


async def test_what_one_host_is_shown_opens_nothing_at_the_other_nor_at_the_api_server(
    good: ServedHost, evil: tuple[str, list[Asked]], facade: Daemons, cluster: Cluster
) -> None:
    name, asked = evil
    await facade.get_json(await good.admin.get(HOST, good.name), "/v1/stats", {}, 10)
    await facade.get_json(await good.admin.get(HOST, name), "/v1/stats", {}, 10)
    await good.create_task("other")
    await good.set_task("other", nodeName=name, runID=1, startedAt="2026-11-22T10:00:00Z")
    words = ("logs", "-n", good.namespace, "other")
    by_plugin = await weir(Path(cluster.admin_kubeconfig), *words)
    assert by_plugin.code == 0, by_plugin.err
    taken = {one.authorization for one in asked}
    assert len(taken) == 2  # the facade's and the plugin's
    for authorization in taken:
        for path in paths_of(good):
            assert await show(good, path, authorization) == 401
        async with (
            aiohttp.ClientSession(headers={"Authorization": authorization}) as session,
            session.get(f"{cluster.server}/api/v1/namespaces", ssl=False) as response,
        ):
            assert response.status == 401


async def test_a_host_that_states_anothers_address_and_certificate_shows_nothing_of_it(
    good: ServedHost, evil: tuple[str, list[Asked]], facade: Daemons, cluster: Cluster
) -> None:
    name, _ = evil
    endpoint = (await good.admin.get(HOST, good.name))["status"]["endpoint"]
    changes = {"status": {"endpoint": endpoint}}
    liar = await good.admin.patch(HOST, name, changes, subresource="status")
    for path in paths_of(good):
        with pytest.raises(DaemonRefusedError) as caught:
            await facade.get_json(liar, path, {}, 10)
        assert caught.value.status == 401
    got = await weir(Path(cluster.admin_kubeconfig), "top", "hosts", name)
    assert got.code == 1
    assert f"host {name} refused (Unauthorized)" in got.out.decode()  # in its own row


@pytest.mark.parametrize("approval", ["Pending", "Rejected"])
async def test_a_host_that_is_not_approved_hears_from_nobody(
    good: ServedHost,
    evil: tuple[str, list[Asked]],
    facade: Daemons,
    cluster: Cluster,
    approval: str,
) -> None:
    name, asked = evil
    spec = {"spec": {"approval": approval}}
    host = await good.admin.patch(HOST, name, spec)
    with pytest.raises(NotContactedError, match=f"{name} is not approved"):
        await facade.get_json(host, "/v1/stats", {}, 10)
    await good.set_task("train", nodeName=name, runID=2)
    task_log = ("logs", "-n", good.namespace, "train")
    by_plugin: tuple[tuple[str, ...], ...] = (("top", "hosts", name), task_log)
    for got in await asyncio.gather(
        *(weir(Path(cluster.admin_kubeconfig), *words) for words in by_plugin)
    ):
        assert got.code == 1
        said = got.out.decode() + got.err  # a table says it in the host's own row
        assert f"host {name} is not approved ({approval})" in said
    assert asked == []


@pytest.mark.parametrize("audiences", [[], ["weir-daemon"], ["two", "of them"]])
async def test_the_account_that_reads_all_has_tokens_for_single_hosts_only(
    good: ServedHost, audiences: list[str]
) -> None:
    api: Api = good.admin
    with pytest.raises(ForbiddenError, match=r"spec\.audiences"):
        await api.token_request("weir-reader", "weir-system", audiences)
    two: list[Any] = [daemon_audience(good.uid), daemon_audience(good.uid[::-1])]
    with pytest.raises(ForbiddenError, match=r"spec\.audiences"):
        await api.token_request("weir-reader", "weir-system", two)
