"""The output of tasks, from a real daemon's port."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.live_tasks import Facade
from support.served_host import ServedHost, served_host
from weir_crds.ids import task_id
from weir_crds.kinds import HOST
from weir_nodedaemon.engines.port import Stream


@pytest.fixture
async def daemon(
    world: Cluster, tasks_namespace: str, rest: Facade, tmp_path: Path
) -> AsyncIterator[ServedHost]:
    async with served_host(world, tasks_namespace, tmp_path) as made:
        await rest.see(lambda: (rest.caches_host(made.name) or {}).get("status"))
        yield made


async def run_task(rest: Facade, daemon: ServedHost, name: str = "t1") -> tuple[str, str]:
    """Have a Task run there; returns its id and its container."""
    container = await daemon.run_task(name)
    number = task_id(container.removeprefix("weir-").rpartition("-")[0])
    await rest.see(lambda: (entry := rest.index.get(number)) and entry.reading.bound_to)
    return str(number), container


async def read(rest: Facade, number: str, what: str = "stdout", caller: str = "system") -> str:
    answer = await rest.ask("GET", f"/tasks/{number}/{what}", caller=caller)
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    return str(answer.body)


async def test_while_it_runs_and_after(rest: Facade, daemon: ServedHost) -> None:
    number, container = await run_task(rest, daemon)
    assert await read(rest, number) == ""
    for line in range(5):
        await daemon.runs.print(container, f"out {line}\n".encode())
    await daemon.runs.print(container, b"err\n", Stream.STDERR)
    whole = "".join(f"out {line}\n" for line in range(5))
    for archived in (False, True):
        if archived:
            await daemon.runs.end(container)
        assert await read(rest, number) == whole
        assert await read(rest, number, "stderr") == "err\n"
        assert await read(rest, number, "stdout?lines=2") == "out 3\nout 4\n"
        assert await read(rest, number, "stdout?lines=0") == whole
        assert await read(rest, number, "stdout?lines=1000") == whole


async def test_who_reads_it_is_in_the_audit_log(
    rest: Facade, daemon: ServedHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    number, _ = await run_task(rest, daemon)

    await read(rest, number, "stderr", caller="operator")

    [line] = [one.getMessage() for one in caplog.records if one.name == "weir_api.audit"]
    name = f"Task/{rest.task(number)['metadata']['namespace']}/t1/log"
    assert line.startswith(
        f"caller=operator peer=127.0.0.1 verb=get object={name} outcome=done fields=stderr id="
    )


async def test_bytes_that_are_no_text(rest: Facade, daemon: ServedHost) -> None:
    number, container = await run_task(rest, daemon)
    for part in (b"\xc5", b"\xbe\xff", b"a\n\xf0\x9f"):
        await daemon.runs.print(container, part)
    assert await read(rest, number) == "ž\ufffda\n\ufffd"


async def test_much_of_it(rest: Facade, daemon: ServedHost) -> None:
    daemon.logs.limit_bytes = 10**7
    number, container = await run_task(rest, daemon)
    line = b"x" * 1023 + b"\n"
    for _ in range(64):
        await daemon.runs.print(container, line * 64)
    assert len(await read(rest, number)) == 4 * 1024 * 1024


async def test_before_it_has_a_host(rest: Facade) -> None:
    number = await rest.submit(targets=[await rest.host()])
    assert await read(rest, number) == ""


async def test_before_it_has_started(rest: Facade, daemon: ServedHost) -> None:
    obj = await daemon.create_task("t1")
    number = str(task_id(obj["metadata"]["uid"]))
    await daemon.set_task("t1", nodeName=daemon.name, runID=1)
    await rest.see(lambda: (entry := rest.index.get(int(number))) and entry.reading.bound_to)
    assert await read(rest, number) == ""


async def test_a_daemon_that_does_not_know_it_yet(rest: Facade, daemon: ServedHost) -> None:
    await rest.host()
    number = await rest.submit(targets=[daemon.name])
    await rest.run(number, daemon.name)
    assert await read(rest, number) == ""


async def test_a_run_that_was_on_a_host_before(rest: Facade, daemon: ServedHost) -> None:
    number, container = await run_task(rest, daemon)
    await daemon.runs.print(container, b"first run\n")
    await daemon.runs.end(container)
    result = {"runID": 1, "reason": "NonZeroExit", "nodeName": daemon.name}
    obj = await daemon.set_task("t1", nodeName=None, runID=2, lastResult=result)
    daemon.tasks.apply("DELETED", obj)
    await rest.see(lambda: not rest.task(number)["status"].get("nodeName"))
    assert await read(rest, number) == "first run\n"


async def test_a_host_that_is_away(rest: Facade) -> None:
    host = await rest.host()
    nowhere = {"url": "https://127.0.0.1:1", "fingerprint": "sha256:" + "0" * 64}
    await rest.admin.patch(HOST, host, {"status": {"endpoint": nowhere}}, subresource="status")
    number = await rest.submit(targets=[host])
    await rest.run(number, host)
    await rest.see(lambda: "127.0.0.1:1" in str(rest.caches_host(host)))
    answer = await rest.ask("GET", f"/tasks/{number}/stdout")
    assert answer.status == 503
    assert host in answer.body["detail"]
    assert "Retry-After" in answer.headers


async def test_a_host_that_is_gone(rest: Facade) -> None:
    host = await rest.host()
    number = await rest.submit(targets=[host])
    await rest.run(number, host)
    await rest.admin.delete(HOST, host)
    await rest.see(lambda: rest.caches_host(host) is None)
    answer = await rest.ask("GET", f"/tasks/{number}/stdout")
    assert answer.status == 503
    assert host in answer.body["detail"]


@pytest.mark.parametrize("query", ["lines=-1", "lines=x", "lines=99999999999999999999"])
async def test_no_number_of_lines(rest: Facade, query: str) -> None:
    number = await rest.submit(targets=[await rest.host()])
    assert (await rest.ask("GET", f"/tasks/{number}/stdout?{query}")).status == 422
