"""Two operators: exactly one acts, and what the old leader writes late is refused or harmless."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from support.api_proxy import Answer, ApiProxy, call_of, when
from support.cluster import Cluster
from support.faulty_system import FaultySystem
from support.loop_thread import LoopThread
from support.operator_process import OperatorProcess
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# Longer than the Lease (15 s) in any case; WEIR_TEST_FREEZE_SECONDS=60 for a long one.
FREEZE_SECONDS = float(os.environ.get("WEIR_TEST_FREEZE_SECONDS", "20"))


class Watched:
    """One of two operators, behind a proxy that sees and can hold up what it writes.

    Attributes:
        late: the answers to writes that were held up.
    """

    def __init__(self, world: Cluster, loop: LoopThread, name: str, folder: Path) -> None:
        ca = world.admin.ca
        assert ca is not None
        self._loop = loop
        self.proxy = loop.enter(ApiProxy(world.server, ca))
        kubeconfig = folder / f"{name}.kubeconfig"
        original = world.kubeconfig_for("weir-operator").read_text()
        kubeconfig.write_text(original.replace(world.server, self.proxy.url))
        self.process = OperatorProcess(
            world, f"--identity={name}", name=f"weir-operator-{name}", kubeconfig=kubeconfig
        )
        self.held: list[str] = []
        self.late: list[int] = []
        self._released = asyncio.Event()

    def writes(self) -> list[str]:
        """Return what it wrote to Tasks and Hosts."""
        return [
            f"{method} {path}"
            for method, path in self.proxy.requests
            if method != "GET" and "/apis/weir.dev/" in path
        ]

    def hold_up_writes(self) -> None:
        """Let no write to a Task arrive until they are let go."""
        about_tasks = when("write", resource="tasks")

        async def rule(request: web.Request) -> Answer:
            if not about_tasks(request) or self._released.is_set():
                return None
            self.held.append(call_of(request).name)
            await request.read()
            await self._released.wait()
            answer = await self.proxy.forward(request)
            self.late.append(answer.status)
            return answer

        self.proxy.add_rule(rule)

    def let_go(self) -> None:
        """Let the writes arrive that were held up, and all others."""
        self._loop.call(self._released.set)


@pytest.fixture
def pair(system: FaultySystem, world: Cluster, tmp_path: Path) -> Iterator[tuple[Watched, Watched]]:
    """Two operators in place of the one; the first leads."""
    system.stop("operator")
    first, second = (Watched(world, system.loop, name, tmp_path) for name in ("first", "second"))
    first.process.start()
    first.process.wait_ready()
    second.process.start()
    eventually(lambda: second.process.alive() and second.process.ready(), "the second is well")
    yield first, second
    for one in (second, first):
        one.let_go()
        one.process.stop()


def test_a_leader_that_stood_still(
    system: FaultySystem, faulty_namespace: str, pair: tuple[Watched, Watched]
) -> None:
    """Its late writes are refused, or do no harm: no core has two owners, no Task two lives."""
    first, second = pair
    system.create(task("before", faulty_namespace))
    system.wait_finished(faulty_namespace, "before")
    assert first.writes()
    # As long as another one leads, nothing is written, listed or watched.
    lease = "/apis/coordination.k8s.io/v1/namespaces/weir-system/leases/weir-operator"
    assert {(m, path.partition("?")[0]) for m, path in second.proxy.requests} == {("GET", lease)}
    with system.watch_containers() as watcher:
        first.hold_up_writes()
        for number in range(6):
            script = f"sleep 1; exit {number}"
            system.create(task(f"t-{number}", faulty_namespace, command=["sh", "-c", script]))
        eventually(lambda: len(first.held) >= 2, "binds are on their way")
        system.cluster.runner[first.process.name].freeze()
        frozen = time.monotonic()
        eventually(second.process.leads, "the second leads")
        before = [system.wait_finished(faulty_namespace, f"t-{n}") for n in range(6)]
        for number in range(6, 12):
            script = f"sleep 1; exit {number}"
            system.create(task(f"t-{number}", faulty_namespace, command=["sh", "-c", script]))
        time.sleep(max(0.0, FREEZE_SECONDS - (time.monotonic() - frozen)))
        first.let_go()
        eventually(lambda: len(first.late) >= 2, "the late writes have arrived")
        system.cluster.runner[first.process.name].thaw()
        eventually(lambda: not first.process.running(), "the first one has ended")
        ended = [system.wait_finished(faulty_namespace, f"t-{n}") for n in range(12)]
        system.wait_no_containers()

    assert first.late[:2] == [409, 409]
    assert first.process.stop() == 1
    assert [seen["status"] for seen in ended[:6]] == [seen["status"] for seen in before]
    for number, seen in enumerate(ended):
        assert condition(seen, "Succeeded")["reason"] == ("NonZeroExit" if number else "Completed")
        assert seen["status"]["exitCode"] == number
    assert watcher.runs == {(seen["metadata"]["uid"], 1): 1 for seen in ended}
    assert watcher.shared == []
    assert watcher.most_at_once <= 2
