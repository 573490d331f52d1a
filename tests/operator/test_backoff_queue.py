"""What waits for its next try: how long, how often, and until when."""

import asyncio
from dataclasses import replace

from prometheus_client import REGISTRY

from support.scheduling_rig import SchedulingRig
from support.virtual_time import in_virtual_time, virtual_clock
from weir_crds.demand import Request
from weir_kube.errors import ForbiddenError
from weir_operator.scheduling.backoff_queue import BackoffQueue
from weir_operator.scheduling.queue import Pending
from weir_operator.scheduling.workload import WorkloadKey

KEY = WorkloadKey("Task", "default", "a")


def pending(priority: int = 0) -> Pending:
    return Pending("u-a", KEY, "namespace:default", priority, "", Request(cpu_millis=1000))


class Waiting:
    """A queue, and when each of its keys came due."""

    def __init__(self) -> None:
        self.due: list[float] = []
        self.queue = BackoffQueue(lambda _key: self.due.append(virtual_clock()))

    async def wait(self) -> float:
        """Let one wait; return for how many seconds."""
        began = virtual_clock()
        self.queue.add(pending())
        await asyncio.sleep(60)
        assert len(self.queue) == 0
        return self.due[-1] - began


@in_virtual_time
async def test_each_wait_is_longer_up_to_a_limit_until_it_is_forgotten() -> None:
    waiting = Waiting()
    waits = [await waiting.wait() for _ in range(12)]
    assert 0.1 <= waits[0] <= 0.2
    assert all(5 <= wait <= 10 for wait in waits[-5:])
    waiting.queue.remove("u-a")
    assert await waiting.wait() >= 5
    waiting.queue.forget("u-a")
    assert await waiting.wait() <= 0.2


@in_virtual_time
async def test_one_that_was_taken_out_does_not_come_due() -> None:
    waiting = Waiting()
    waiting.queue.add(pending())
    assert pending() in waiting.queue
    assert replace(pending(), priority=1) not in waiting.queue
    waiting.queue.remove("u-a")
    assert pending() not in waiting.queue
    await asyncio.sleep(60)
    assert waiting.due == []


@in_virtual_time
async def test_one_that_got_a_host_meanwhile_does_not_count_as_pending() -> None:
    rig = SchedulingRig()
    rig.add_host("n1")
    rig.refuse = lambda _name: ForbiddenError("no", status=403)
    rig.add_task("a")
    rig.turns(4)
    await asyncio.sleep(0.01)
    assert rig.writes == ["a"]
    assert REGISTRY.get_sample_value("weir_operator_pending_tasks") == 1
    bound = {"nodeName": "n1", "cpus": [0], "gpus": [], "runID": 1}
    live = rig.live["a"]
    version = str(int(live["metadata"]["resourceVersion"]) + 100)
    metadata = {**live["metadata"], "resourceVersion": version}
    rig.live["a"] = {**live, "metadata": metadata, "status": bound}
    rig.see("a")
    assert rig.host_of("a") == "n1"
    assert REGISTRY.get_sample_value("weir_operator_pending_tasks") == 0
