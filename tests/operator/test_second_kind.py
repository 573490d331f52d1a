"""A kind that is no Task goes through all of the operator, which does not know it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.aio import until
from support.madeup_kind import BOX, BOXES, box
from support.operator_rig import NAMESPACE, OperatorApi, OperatorRig, running
from weir_crds.kinds import HOST
from weir_kube.store import Key, Object
from weir_operator.wiring import WORKLOADS


class Boxes:
    """Boxes in an operator's world."""

    def __init__(self, rig: OperatorRig) -> None:
        self.rig = rig

    def make(self, name: str, **spec: Any) -> None:
        made = box(name, NAMESPACE, **spec)
        made["metadata"]["creationTimestamp"] = "2026-11-22T10:00:00Z"
        self.rig.api.put(BOX, made)

    def status(self, name: str) -> Object:
        found = self.rig.api.peek(BOX, Key(NAMESPACE, name))
        assert found is not None
        status: Object = found.get("status") or {}
        return status

    def tell(self, name: str, **status: Any) -> None:
        """Write what its daemon would."""
        self.rig.api.change_status(BOX, Key(NAMESPACE, name), **status)

    def change(self, name: str, **spec: Any) -> None:
        self.rig.api.change_spec(BOX, Key(NAMESPACE, name), **spec)

    async def bound(self, name: str, host: str) -> None:
        def is_there() -> bool:
            status = self.status(name)
            return status.get("nodeName") == host and not status.get("stopped")

        await until(is_there, f"{name} is on {host}")


@asynccontextmanager
async def boxes() -> AsyncIterator[Boxes]:
    async with running(OperatorApi(), workloads=[*WORKLOADS, BOXES]) as rig:
        yield Boxes(rig)


async def test_both_kinds_share_the_cores() -> None:
    async with boxes() as world:
        await world.rig.add_host(cores=2)
        world.rig.add_task("task")
        world.make("box")
        await world.bound("box", "n1")
        await world.rig.bound("task")
        assert world.status("box")["cpus"] != world.rig.status("task")["cpus"]
        world.make("waits")
        await until(lambda: world.status("waits").get("waiting") == "InsufficientCapacity", "waits")
        world.rig.end("task")
        await world.bound("waits", "n1")
        assert world.status("waits").get("waiting") is None


async def test_the_end_of_a_run_is_no_end() -> None:
    async with boxes() as world:
        await world.rig.add_host(cores=1)
        world.make("box")
        await world.bound("box", "n1")
        world.tell("box", finishedAt="2001-01-01T00:00:00Z", address="10.0.0.5")
        world.rig.add_task("task")
        await world.rig.settle()
        assert "nodeName" not in world.rig.status("task")
        kept = world.rig.store(BOX).get(Key(NAMESPACE, "box"))
        assert kept is not None
        assert kept["status"]["address"] == "10.0.0.5"
        assert world.rig.api.peek(BOX, Key(NAMESPACE, "box")) is not None


async def test_one_that_was_stopped_starts_again_on_its_host() -> None:
    async with boxes() as world:
        await world.rig.add_host("n1", cores=1)
        world.make("box")
        await world.bound("box", "n1")
        world.change("box", running=False)
        world.tell("box", stopped=True)
        world.rig.add_task("task")  # takes its core
        await world.rig.bound("task")
        await world.rig.add_host("n2", cores=4)
        world.change("box", running=True)
        await world.rig.settle()
        assert world.status("box")["stopped"]
        world.rig.end("task")
        await world.bound("box", "n1")


async def test_what_is_bound_to_a_lost_host_is_looked_at() -> None:
    async with boxes() as world:
        await world.rig.add_host()
        world.make("box")
        await world.bound("box", "n1")
        await until(lambda: world.status("box").get("isLost") is False, "looked at")
        host = world.rig.host("n1")
        unknown = [
            {**condition, "status": "Unknown"} if condition["type"] == "Ready" else condition
            for condition in host["status"]["conditions"]
        ]
        world.rig.api.change_status(HOST, Key("", "n1"), conditions=unknown)
        await until(lambda: world.status("box").get("isLost"), "looked at again")


async def test_one_that_a_list_does_not_show_gives_its_core_back() -> None:
    async with boxes() as world:
        await world.rig.add_host(cores=1)
        world.make("box")
        await world.bound("box", "n1")
        world.rig.add_task("task")
        world.rig.api.lose_events(BOX, Key(NAMESPACE, "box"))
        await world.rig.bound("task")


async def test_one_that_is_over_is_deleted_when_its_time_is_up() -> None:
    async with boxes() as world:
        await world.rig.add_host(cores=1)
        world.make("box", keepSeconds=0)
        world.make("kept", running=False)
        await world.bound("box", "n1")
        world.rig.add_task("task")
        end = "2026-11-22T10:00:00Z"
        for name in ("box", "kept"):
            world.tell(name, retiredAt=end if name == "box" else None)
        await until(lambda: world.rig.api.peek(BOX, Key(NAMESPACE, "box")) is None, "deleted")
        await world.rig.bound("task")
        assert world.rig.api.peek(BOX, Key(NAMESPACE, "kept")) is not None
