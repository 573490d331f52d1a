"""The cache follows the API server through everything that can go wrong between them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from support.aio import until, until_async
from support.api_proxy import ApiProxy, status_object
from support.cluster import Cluster
from support.tcp_proxy import TcpProxy
from weir_crds.kinds import TASK
from weir_kube.api import Api
from weir_kube.errors import ApiError
from weir_kube.kinds import LEASE
from weir_kube.reflector import Reflector, selection
from weir_kube.status import patch_status
from weir_kube.store import Key, Store


class Watched:
    """A running reflector of Leases, of which a fresh namespace has none, and what it told."""

    def __init__(self, api: Api, namespace: str, **more: Any) -> None:
        self.namespace = namespace
        self.changed: list[str] = []
        self.syncs = 0
        more.setdefault("kind", LEASE)
        self.reflector = Reflector(
            api, namespace=namespace, on_change=self._changed, on_sync=self._synced, **more
        )

    def _changed(self, key: Key) -> None:
        self.changed.append(key.name)

    def _synced(self) -> None:
        self.syncs += 1

    @property
    def store(self) -> Store:
        return self.reflector.store

    def names(self) -> set[str]:
        return {it["metadata"]["name"] for it in self.store.list()}

    def value(self, name: str) -> str | None:
        it = self.store.get(Key(self.namespace, name))
        return None if it is None else it["spec"]["holderIdentity"]


@asynccontextmanager
async def watching(api: Api, namespace: str, **more: Any) -> AsyncIterator[Watched]:
    watched = Watched(api, namespace, **more)
    task = asyncio.create_task(watched.reflector.run())
    try:
        async with asyncio.timeout(60):
            await watched.reflector.synced()
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task


async def put(api: Api, namespace: str, name: str, value: str = "0") -> None:
    lease = {"metadata": {"name": name}, "spec": {"holderIdentity": value}}
    await api.create(LEASE, lease, namespace)


def is_watch(request: web.Request) -> bool:
    return "watch" in request.query


async def test_the_cache_follows(api: Api, namespace: str) -> None:
    await put(api, namespace, "a")
    async with watching(api, namespace) as seen:
        assert seen.names() == {"a"}
        assert "a" in seen.changed
        assert seen.syncs == 1
        seen.changed.clear()
        await put(api, namespace, "b")
        await until(lambda: seen.names() == {"a", "b"})
        await api.patch(LEASE, "a", {"spec": {"holderIdentity": "1"}}, namespace)
        await until(lambda: seen.value("a") == "1")
        await api.delete(LEASE, "b", namespace)
        await until(lambda: seen.names() == {"a"})
        assert [name for name in seen.changed if name in "ab"] == ["b", "a", "b"]
        assert seen.reflector.is_watching
        assert seen.syncs == 1


async def test_only_what_is_kept_gets_into_the_cache(api: Api, namespace: str) -> None:
    """Of what was listed and of what came by watch alike."""
    await put(api, namespace, "listed")

    def keep(obj: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": obj["metadata"], "spec": {"holderIdentity": "kept"}}

    async with watching(api, namespace, transform=keep) as seen:
        await put(api, namespace, "watched")
        await until(lambda: seen.names() == {"listed", "watched"})

        assert {seen.value(name) for name in seen.names()} == {"kept"}


async def test_a_cut_watch_goes_on_where_it_was(
    far_api: Api, api: Api, namespace: str, tcp_proxy: TcpProxy
) -> None:
    async with watching(far_api, namespace) as seen:
        for number in range(30):
            await put(api, namespace, f"c{number}")
            if number % 3 == 0:
                tcp_proxy.cut()
        await api.delete(LEASE, "c0", namespace)
        await until(lambda: seen.names() == {f"c{number}" for number in range(1, 30)})
        assert seen.syncs == 1
        assert [seen.changed.count(f"c{number}") for number in range(30)] == [2] + [1] * 29


async def test_what_happened_while_the_server_was_out_of_reach_is_seen_after_it(
    far_api: Api, api: Api, namespace: str, tcp_proxy: TcpProxy
) -> None:
    await put(api, namespace, "a")
    async with watching(far_api, namespace) as seen:
        await tcp_proxy.refuse()
        await until(lambda: not seen.reflector.is_watching)
        await api.delete(LEASE, "a", namespace)
        await put(api, namespace, "b")
        await until(lambda: seen.reflector.contact_age_seconds > 1)
        assert seen.names() == {"a"}  # an error makes it forget nothing
        await tcp_proxy.listen()
        await until(lambda: seen.names() == {"b"})
        assert seen.changed.count("a") == 2


@pytest.mark.parametrize("as_event", [True, False], ids=["event", "answer"])
async def test_a_watch_too_far_behind_lists_again_and_sees_the_deletion_in_the_gap(
    proxied_api: Api, api: Api, namespace: str, api_proxy: ApiProxy, as_event: bool
) -> None:
    await put(api, namespace, "a")
    await put(api, namespace, "kept")
    gone = status_object(410, "Expired", "too old resource version")
    opened = asyncio.Event()
    go_on = asyncio.Event()

    async def rule(request: web.Request) -> web.StreamResponse | None:
        if not is_watch(request) or go_on.is_set():
            return None
        opened.set()
        await go_on.wait()
        if as_event:
            return web.Response(text=json.dumps({"type": "ERROR", "object": gone}) + "\n")
        return web.json_response(gone, status=410)

    api_proxy.add_rule(rule)
    async with watching(proxied_api, namespace) as seen:
        await opened.wait()
        await api.delete(LEASE, "a", namespace)
        await put(api, namespace, "b")
        go_on.set()
        await until(lambda: seen.names() == {"b", "kept"})
        assert seen.syncs == 2
        assert [seen.changed.count(name) for name in ("a", "b", "kept")] == [2, 1, 1]


async def test_an_event_that_got_lost_is_known_when_the_watch_ends(
    proxied_api: Api,
    api: Api,
    namespace: str,
    api_proxy: ApiProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not as long as the last list is young; what is known already changes nothing."""
    monkeypatch.setattr("weir_kube.reflector._SHORT_WATCH_SECONDS", 0.0)
    await put(api, namespace, "gone")
    await put(api, namespace, "kept")
    async with watching(proxied_api, namespace, relist_seconds=0.0) as seen:
        await until(lambda: seen.reflector.is_watching)
        seen.changed.clear()
        api_proxy.drop_every = 1
        await put(api, namespace, "a")
        await api.patch(LEASE, "kept", {"spec": {"holderIdentity": "1"}}, namespace)
        await api.delete(LEASE, "gone", namespace)
        await until(lambda: len(api_proxy.lost_events) == 3)
        assert not seen.changed
        api_proxy.end_watches()
        await until(lambda: seen.names() == {"a", "kept"})
        assert seen.value("kept") == "1"
        assert sorted(seen.changed) == ["a", "gone", "kept"]
        assert seen.syncs == 2
    async with watching(proxied_api, namespace) as seen:
        await until(lambda: seen.reflector.is_watching)
        asked = len(api_proxy.requests)
        api_proxy.end_watches()
        await until(lambda: len(api_proxy.requests) > asked)
        await until(lambda: seen.reflector.is_watching)
        assert seen.syncs == 1


async def test_a_bookmark_moves_the_place_from_which_it_goes_on(
    proxied_api: Api, namespace: str, api_proxy: ApiProxy
) -> None:
    bookmark = {
        "type": "BOOKMARK",
        "object": {"kind": "Lease", "metadata": {"resourceVersion": "9000000000"}},
    }
    asked: list[str] = []

    async def rule(request: web.Request) -> web.StreamResponse | None:
        if not is_watch(request):
            return None
        asked.append(request.query["resourceVersion"])
        return web.Response(text=json.dumps(bookmark) + "\n")

    api_proxy.add_rule(rule)
    async with watching(proxied_api, namespace) as seen:
        listed_at = seen.store.resource_version
        await until(lambda: len(asked) == 2)
        assert asked == [listed_at, "9000000000"]
        assert seen.store.resource_version == "9000000000"
        assert seen.syncs == 1


@pytest.mark.parametrize(
    "when",
    [is_watch, lambda request: not is_watch(request)],
    ids=["watch", "list"],
)
async def test_failures_of_the_server_are_tried_again(
    proxied_api: Api, namespace: str, api_proxy: ApiProxy, when: Callable[[web.Request], bool]
) -> None:
    for status in (500, 504, 401, 403):
        api_proxy.fail(1, status, when=when)
    async with watching(proxied_api, namespace) as seen:
        await put(proxied_api, namespace, "a")
        await until(lambda: seen.names() == {"a"})


async def test_retry_after_is_honoured(
    proxied_api: Api, namespace: str, api_proxy: ApiProxy
) -> None:
    asked: list[float] = []

    async def rule(request: web.Request) -> web.StreamResponse | None:
        if is_watch(request):
            asked.append(time.monotonic())
        return None

    api_proxy.fail(1, 429, when=is_watch, headers={"Retry-After": "2"})
    api_proxy.add_rule(rule)
    async with watching(proxied_api, namespace) as seen:
        await until(lambda: seen.reflector.is_watching)
    first, second, *_ = asked
    assert second - first >= 2


async def test_the_api_server_killed_and_back(cluster: Cluster, api: Api, namespace: str) -> None:
    """What happens while it starts is seen after that."""
    await put(api, namespace, "a")
    await put(api, namespace, "b")
    async with watching(api, namespace) as seen:
        await until(lambda: seen.reflector.is_watching)
        cluster.kill_apiserver()
        await until(lambda: not seen.reflector.is_watching)
        await until(lambda: seen.reflector.contact_age_seconds > 1)
        assert seen.names() == {"a", "b"}
        cluster.runner["kube-apiserver"].start()

        async def delete() -> bool:
            try:
                return await api.delete(LEASE, "a", namespace, deadline_seconds=2)
            except ApiError:
                return False

        await until_async(delete)
        await until(lambda: seen.names() == {"b"})
        assert seen.changed.count("a") == 2
        await put(api, namespace, "c")
        await until(lambda: seen.names() == {"b", "c"})
    await asyncio.to_thread(cluster.start_apiserver)


async def test_a_change_missed_for_good_comes_by_the_list_after_a_restart(
    cluster: Cluster, far_api: Api, api: Api, namespace: str, tcp_proxy: TcpProxy
) -> None:
    await put(api, namespace, "a")
    async with watching(far_api, namespace) as seen:
        await tcp_proxy.refuse()
        await api.delete(LEASE, "a", namespace)
        await put(api, namespace, "b")
        cluster.restart_apiserver()
        await tcp_proxy.listen()
        await until(lambda: seen.names() == {"b"})
        assert seen.syncs == 2  # the API server's own 410
        assert seen.changed.count("a") == 2


async def test_what_leaves_the_selection_is_dropped(api: Api, namespace: str) -> None:
    task = {"metadata": {"name": "t"}, "spec": {"image": "x", "command": ["true"]}}
    async with watching(api, namespace, kind=TASK, field_selector="status.nodeName=n1") as seen:
        made = await api.create(TASK, task, namespace)
        bound = await patch_status(api, TASK, made, {"runID": 1, "nodeName": "n1"})
        await until(lambda: seen.names() == {"t"})
        moved = await patch_status(api, TASK, bound, {"runID": 2, "nodeName": "n2"})
        await until(lambda: seen.names() == set())
        assert seen.changed == ["t", "t"]
        assert seen.store.apply("MODIFIED", moved) is None


async def test_the_reply_to_our_own_write_goes_in_and_is_not_told_twice(
    api: Api, namespace: str
) -> None:
    await put(api, namespace, "a")
    async with watching(api, namespace) as seen:
        seen.changed.clear()
        reply = await api.patch(LEASE, "a", {"spec": {"holderIdentity": "1"}}, namespace)
        news = seen.store.apply("MODIFIED", reply) is not None  # else the watch was faster
        await put(api, namespace, "b")
        await until(lambda: "b" in seen.changed)
        assert seen.changed == (["b"] if news else ["a", "b"])


async def test_a_callback_that_raises_stops_nothing(
    api: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def on_change(key: Key) -> None:
        seen.append(key.name)
        raise ZeroDivisionError

    reflector = Reflector(api, LEASE, namespace=namespace, on_change=on_change)
    task = asyncio.create_task(reflector.run())
    await reflector.synced()
    await put(api, namespace, "a")
    await put(api, namespace, "b")
    await until(lambda: {"a", "b"} <= set(seen))
    task.cancel()
    assert "on_change failed" in caplog.text


@pytest.mark.parametrize(
    ("selector", "accepted"),
    [
        ("status.nodeName=n1", True),
        ("status.nodeName==n1", True),
        ("status.nodeName!=n1", False),
        ("status.nodeName=n2", False),
        ("metadata.name=t,status.nodeName=n1", True),
        ("metadata.name=u,status.nodeName=n1", False),
        ("status.runID=3", True),
        ("status.missing.deep=", True),
    ],
)
def test_selection(selector: str, accepted: bool) -> None:
    accepts = selection(selector)
    assert accepts is not None
    it = {"metadata": {"name": "t"}, "status": {"nodeName": "n1", "runID": 3}}
    assert accepts(it) is accepted


def test_no_selector_selects_all() -> None:
    assert selection(None) is None
    assert selection("") is None
