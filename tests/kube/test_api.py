"""The verbs against a real API server, and what becomes of its refusals."""

import asyncio
import json
import time
import uuid
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from support.aio import until
from support.api_proxy import ApiProxy, status_object
from support.cluster import Cluster
from support.tcp_proxy import TcpProxy
from weir_crds.kinds import TASK
from weir_crds.names import daemon_audience
from weir_kube.answers import Event
from weir_kube.api import Api
from weir_kube.connect import connect
from weir_kube.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidObjectError,
    NotFoundError,
    TooManyRequestsError,
)
from weir_kube.kinds import CONFIGMAP, NAMESPACE, SECRET
from weir_kube.status import patch_status


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def task(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"image": "x", "command": ["true"]}}


async def take(api: Api, count: int, version: str, kind: Any, **more: Any) -> list[Event]:
    """Return the next events that are no bookmarks."""
    events: list[Event] = []
    async with asyncio.timeout(60), aclosing(api.watch(kind, version, **more)) as watch:
        async for event in watch:
            if event.type != "BOOKMARK":
                events.append(event)
            if len(events) == count:
                break
    return events


async def test_an_object_from_creation_to_deletion(api: Api, namespace: str) -> None:
    made = await api.create(CONFIGMAP, config_map("a", x="1"), namespace)
    assert made["data"] == {"x": "1"}
    assert await api.get(CONFIGMAP, "a", namespace) == made
    patched = await api.patch(CONFIGMAP, "a", {"data": {"y": "2"}}, namespace)
    assert patched["data"] == {"x": "1", "y": "2"}
    replaced = await api.replace(CONFIGMAP, "a", {**patched, "data": {"z": "3"}}, namespace)
    assert replaced["data"] == {"z": "3"}
    assert await api.delete(CONFIGMAP, "a", namespace) is True
    assert await api.delete(CONFIGMAP, "a", namespace) is False


async def test_refusals_come_as_their_own_types(api: Api, namespace: str) -> None:
    made = await api.create(CONFIGMAP, config_map("a"), namespace)
    with pytest.raises(AlreadyExistsError):
        await api.create(CONFIGMAP, config_map("a"), namespace)
    with pytest.raises(NotFoundError) as not_found:
        await api.get(CONFIGMAP, "b", namespace)
    assert not_found.value.status == 404
    assert not_found.value.details["name"] == "b"
    await api.patch(CONFIGMAP, "a", {"data": {"x": "1"}}, namespace)
    version = made["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        await api.patch(CONFIGMAP, "a", {"metadata": {"resourceVersion": version}}, namespace)
    with pytest.raises(ConflictError):
        await api.replace(CONFIGMAP, "a", made, namespace)
    with pytest.raises(ConflictError):
        await api.delete(CONFIGMAP, "a", namespace, uid="another")
    with pytest.raises(ConflictError):
        await api.delete(CONFIGMAP, "a", namespace, resource_version=version)
    with pytest.raises(InvalidObjectError, match=r"spec\.image"):
        await api.create(TASK, {"metadata": {"name": "a"}, "spec": {"command": ["x"]}}, namespace)


async def test_what_the_server_warns_of_is_logged_once(
    api: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        it = task(name)
        it["spec"]["colour"] = "green"
        await api.create(TASK, it, namespace)
    assert caplog.text.count('unknown field \\"spec.colour\\"') == 1, caplog.text


async def test_a_missing_role_is_forbidden(cluster: Cluster) -> None:
    path = cluster.kubeconfig_for("default")
    async with await connect(str(path)) as reader:
        with pytest.raises(ForbiddenError):
            await reader.list(SECRET)


async def test_an_unfinished_namespace_is_forbidden_ground(api: Api, namespace: str) -> None:
    await api.create(
        CONFIGMAP, {"metadata": {"name": "a", "finalizers": ["weir.dev/test"]}}, namespace
    )
    await api.delete(NAMESPACE, namespace)
    with pytest.raises(ForbiddenError) as refused:
        await api.create(CONFIGMAP, config_map("b"), namespace)
    assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    await api.patch(CONFIGMAP, "a", {"metadata": {"finalizers": None}}, namespace)


async def test_a_list_follows_its_pages(
    api: Api, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_kube.api._PAGE", 3)
    names = {f"p{number}" for number in range(8)}
    for name in names:
        await api.create(CONFIGMAP, config_map(name), namespace)
    listed = await api.list(CONFIGMAP, namespace)
    assert {it["metadata"]["name"] for it in listed.items} >= names
    one = await api.list(CONFIGMAP, namespace, field_selector="metadata.name=p3")
    assert [it["metadata"]["name"] for it in one.items] == ["p3"]
    recent = await api.list(CONFIGMAP, namespace, resource_version=listed.resource_version)
    assert recent.items == listed.items


async def test_a_list_whose_snapshot_is_gone_starts_again_in_one_piece(
    proxied_api: Api, api_proxy: ApiProxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir_kube.api._PAGE", 3)
    for number in range(8):
        await proxied_api.create(CONFIGMAP, config_map(f"p{number}"), namespace)
    api_proxy.fail(1, 410, when=lambda request: "continue" in request.query)
    listed = await proxied_api.list(CONFIGMAP, namespace)
    names = [it["metadata"]["name"] for it in listed.items]
    assert len(names) == len(set(names)) >= 8


async def test_a_watch_tells_what_happened_after_its_version(api: Api, namespace: str) -> None:
    before = await api.list(CONFIGMAP, namespace, field_selector="metadata.name=a")
    await api.create(CONFIGMAP, config_map("a"), namespace)
    await api.patch(CONFIGMAP, "a", {"data": {"x": "1"}}, namespace)
    await api.delete(CONFIGMAP, "a", namespace)
    events = await take(
        api,
        3,
        before.resource_version,
        CONFIGMAP,
        namespace=namespace,
        field_selector="metadata.name=a",
    )
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_a_watch_takes_lines_of_any_length(api: Api, namespace: str) -> None:
    before = await api.list(CONFIGMAP, namespace)
    big = {f"k{number}": "ä" * 30_000 for number in range(15)}
    for name in ("a", "b", "c"):
        await api.create(CONFIGMAP, config_map(name, **big), namespace)
    events = await take(
        api,
        3,
        before.resource_version,
        CONFIGMAP,
        namespace=namespace,
        field_selector="metadata.name!=kube-root-ca.crt",  # every new namespace gets that
    )
    assert [event.object["metadata"]["name"] for event in events] == ["a", "b", "c"]
    assert all(event.object["data"] == big for event in events)


async def test_a_watch_ends_when_the_server_ends_it(api: Api, namespace: str) -> None:
    before = await api.list(CONFIGMAP, namespace)
    await api.create(CONFIGMAP, config_map("not-selected"), namespace)
    opened: list[bool] = []
    started = time.monotonic()
    events = [
        event
        async for event in api.watch(
            CONFIGMAP,
            before.resource_version,
            namespace,
            "metadata.name=a",
            timeout_seconds=2,
            on_open=lambda: opened.append(True),
        )
    ]
    assert time.monotonic() - started > 1
    assert {event.type for event in events} <= {"BOOKMARK"}
    assert opened == [True]


@pytest.mark.parametrize("as_event", [True, False], ids=["event", "answer"])
async def test_a_watch_from_a_version_long_past_is_gone(
    proxied_api: Api, api_proxy: ApiProxy, as_event: bool
) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        gone = status_object(410, "Expired", "too old resource version: 1 (99)")
        if as_event:
            return web.Response(text=json.dumps({"type": "ERROR", "object": gone}) + "\n")
        return web.json_response(gone, status=410)

    api_proxy.add_rule(rule)
    with pytest.raises(GoneError, match="too old"):
        await take(proxied_api, 1, "1", CONFIGMAP)


async def test_what_leaves_a_selection_comes_as_deleted(api: Api, namespace: str) -> None:
    before = await api.list(TASK, namespace)
    made = await api.create(TASK, task("a"), namespace)
    bound = await patch_status(api, TASK, made, {"runID": 1, "nodeName": "n1"})
    await patch_status(api, TASK, bound, {"runID": 2, "nodeName": "n2"})
    events = await take(
        api,
        2,
        before.resource_version,
        TASK,
        namespace=namespace,
        field_selector="status.nodeName=n1",
    )
    assert [(event.type, event.object["status"]["nodeName"]) for event in events] == [
        ("ADDED", "n1"),
        ("DELETED", "n1"),
    ]


async def test_a_status_write_is_refused_when_the_object_has_changed(
    api: Api, namespace: str
) -> None:
    made = await api.create(TASK, task("a"), namespace)
    bound = await patch_status(api, TASK, made, {"runID": 1, "nodeName": "n1"})
    with pytest.raises(ConflictError):
        await patch_status(api, TASK, made, {"runID": 1, "nodeName": "n2"})
    assert await patch_status(api, TASK, bound, {"nodeName": "n1"}) is bound
    assert await api.get(TASK, "a", namespace) == bound
    cleared = await patch_status(api, TASK, bound, {"runID": 2, "nodeName": None})
    assert cleared["status"] == {"runID": 2}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_request_put_off_by_the_server_is_made_again_when_it_says(
    proxied_api: Api, api_proxy: ApiProxy, namespace: str, status: int
) -> None:
    api_proxy.fail(1, status, headers={"Retry-After": "1"})
    started = time.monotonic()
    made = await proxied_api.create(CONFIGMAP, config_map("a"), namespace)
    assert made["metadata"]["name"] == "a"
    assert time.monotonic() - started >= 1


async def test_a_request_put_off_beyond_its_deadline_fails_at_once_and_says_when(
    proxied_api: Api, api_proxy: ApiProxy
) -> None:
    api_proxy.fail(9, 429, headers={"Retry-After": "50"})
    with pytest.raises(TooManyRequestsError) as put_off:
        await proxied_api.get(NAMESPACE, "default", deadline_seconds=40)
    assert put_off.value.retry_after_seconds == 50
    assert len(api_proxy.requests) == 1


async def test_a_failure_of_the_server_is_the_callers_to_retry(
    proxied_api: Api, api_proxy: ApiProxy
) -> None:
    api_proxy.fail(1, 500)
    with pytest.raises(ApiUnavailableError, match="forged"):
        await proxied_api.get(NAMESPACE, "default")
    assert len(api_proxy.requests) == 1


async def test_an_answer_that_is_no_json_is_no_answer(
    proxied_api: Api, api_proxy: ApiProxy
) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>captive portal</html>")

    api_proxy.add_rule(rule)
    with pytest.raises(ApiUnavailableError):
        await proxied_api.get(NAMESPACE, "default")
    with pytest.raises(ApiUnavailableError):
        await take(proxied_api, 1, "1", NAMESPACE)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": "default"}},
        {"metadata": {"resourceVersion": "1"}, "items": "none"},
        {"metadata": {"resourceVersion": "1"}, "items": [{"spec": {}}]},
        {"kind": "Status", "metadata": {}, "status": "Success"},
    ],
)
async def test_an_answer_that_is_no_list_or_no_object_is_no_answer(
    proxied_api: Api, api_proxy: ApiProxy, answer: dict[str, Any]
) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        return web.json_response(answer)

    api_proxy.add_rule(rule)
    with pytest.raises(ApiUnavailableError):
        await proxied_api.list(NAMESPACE)
    if "items" not in answer:
        with pytest.raises(ApiUnavailableError):
            await proxied_api.get(NAMESPACE, "default")
        with pytest.raises(ApiUnavailableError):
            await proxied_api.patch(NAMESPACE, "default", {})
    with pytest.raises(ApiUnavailableError):
        await proxied_api.token_review("a token")
    with pytest.raises(ApiUnavailableError):
        await take(proxied_api, 1, "1", NAMESPACE)


async def test_a_request_has_a_deadline(far_api: Api, tcp_proxy: TcpProxy) -> None:
    await far_api.get(NAMESPACE, "default")
    tcp_proxy.hold()
    with pytest.raises(ApiUnavailableError):
        await far_api.get(NAMESPACE, "default", deadline_seconds=0.5)
    tcp_proxy.release()
    await far_api.get(NAMESPACE, "default")


async def test_a_server_that_is_not_there(far_api: Api, tcp_proxy: TcpProxy) -> None:
    await far_api.get(NAMESPACE, "default")
    await tcp_proxy.refuse()
    with pytest.raises(ApiUnavailableError):
        await far_api.get(NAMESPACE, "default")
    with pytest.raises(ApiUnavailableError):
        await far_api.patch(NAMESPACE, "default", {})
    await tcp_proxy.listen()
    await far_api.get(NAMESPACE, "default")


async def test_a_silent_watch_ends(far_api: Api, tcp_proxy: TcpProxy) -> None:
    version = (await far_api.list(NAMESPACE)).resource_version
    async with asyncio.timeout(60):
        async for _ in far_api.watch(NAMESPACE, version, idle_seconds=0.5, on_open=tcp_proxy.hold):
            pass


async def test_a_watch_left_early_closes_its_connection(far_api: Api, tcp_proxy: TcpProxy) -> None:
    before = await far_api.list(NAMESPACE)
    open_before = tcp_proxy.connections
    opened = asyncio.Event()
    for _ in range(3):

        async def watch() -> None:
            async for _ in far_api.watch(NAMESPACE, before.resource_version, on_open=opened.set):
                pass

        opened.clear()
        watching = asyncio.create_task(watch())
        await opened.wait()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await until(lambda: tcp_proxy.connections <= open_before)


async def test_a_hundred_watches_leave_room_for_requests(api: Api) -> None:
    version = (await api.list(NAMESPACE)).resource_version
    opened: list[int] = []
    watches = [
        asyncio.create_task(take(api, 1, version, SECRET, on_open=partial(opened.append, number)))
        for number in range(100)
    ]
    await until(lambda: len(opened) == 100)
    await api.get(NAMESPACE, "default")
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)


async def test_proxies_of_the_environment_are_not_used(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with await connect(str(cluster.admin_kubeconfig)) as api:
        await api.get(NAMESPACE, "default")


async def test_tokens_are_made_and_reviewed(api: Api) -> None:
    audience = daemon_audience(str(uuid.uuid4()))
    made = await api.token_request("weir-reader", "weir-system", [audience], 600)
    review = await api.token_review(made["token"], [audience])
    assert review["authenticated"] is True
    assert review["audiences"] == [audience]
    assert review["user"]["username"] == "system:serviceaccount:weir-system:weir-reader"
    refused = await api.token_review(made["token"], ["other"])
    assert not refused.get("authenticated")
    user = review["user"]
    asked = {"namespace": "default", "verb": "get", "group": "weir.dev", "resource": "tasks"}
    for subresource, allowed in (("log", True), ("exec", False)):
        answer = await api.access_review(
            user["username"],
            user["groups"],
            user.get("extra", {}),
            {**asked, "subresource": subresource, "name": "t"},
        )
        assert answer is allowed
