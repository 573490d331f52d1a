"""What every verb does to a Task in every state of its life, once everybody has acted."""

from collections.abc import Callable
from typing import Any

import pytest

from support.protocol import World
from support.protocol_host import Container
from weir_crds import conditions
from weir_operator.task.decide import Standing, standing_of

VERBS: dict[str, dict[str, Any] | None] = {
    "run": {"desiredState": "Running"},
    "pause": {"desiredState": "Paused"},
    "kill": {"desiredState": "Killed"},
    "suspend": {"suspend": True},
    "release": {"suspend": False},
    "approve": {"approval": "Approved"},
    "reject": {"approval": "Rejected"},
    "delete": None,
}
RETRY = {"limit": 3, "backoffSeconds": 600}


def create(world: World, **spec: Any) -> None:
    world.create("t", **{"retry": RETRY, **spec})


def running(world: World, *, deaf: bool = False, **spec: Any) -> None:
    create(world, **spec)
    world.settle()
    [container] = world.hosts["n1"].containers.values()
    container.deaf = deaf
    world.wait(1)
    world.settle()


def exited(world: World, code: int) -> None:
    running(world)
    [container] = world.hosts["n1"].containers.values()
    world.hosts["n1"].exit(container, code)


def told(world: World) -> None:
    """Let the daemon act, and the operator not yet."""
    world.hosts["n1"].see()
    world.hosts["n1"].observe_all()


def lost(world: World, wish: str) -> None:
    running(world, onHostLost=wish, hostLostGraceSeconds=60)
    world.hosts["n1"].alive = False
    world.wait(50)
    world.settle()


def awaiting(world: World) -> None:
    create(world, approval="Pending")


def suspended(world: World) -> None:
    create(world, suspend=True)


def queued(world: World) -> None:
    create(world, resources={"cpu": 99})


def backing_off(world: World) -> None:
    exited(world, 3)
    world.settle()


def bound(world: World) -> None:
    create(world)
    world.operator.see()
    world.operator.look("t")


def held(world: World) -> None:
    create(world, desiredState="Paused")
    world.settle()


def paused(world: World) -> None:
    running(world)
    world.want("t", desiredState="Paused")
    world.settle()


def being_killed(world: World) -> None:
    running(world, deaf=True)
    world.want("t", desiredState="Killed")
    world.settle()


def being_suspended(world: World) -> None:
    running(world, deaf=True)
    world.want("t", suspend=True)
    world.settle()


def completed(world: World) -> None:
    exited(world, 0)


def failed(world: World) -> None:
    exited(world, 3)


def retrying(world: World) -> None:
    exited(world, 3)
    told(world)


def given_back(world: World) -> None:
    running(world)
    world.want("t", suspend=True)
    for _ in range(3):
        told(world)


def lost_and_waits(world: World) -> None:
    lost(world, "Wait")


def lost_and_restarts(world: World) -> None:
    lost(world, "Restart")


def lost_and_fails(world: World) -> None:
    lost(world, "Fail")


def finished(world: World) -> None:
    exited(world, 0)
    world.settle()


# Where a Task is in the end, with its run, and its host while it has one. Left on a lost host is
# what runs there: it goes when the host is back.
TABLE = {
    # after: run, pause, kill, suspend,
    #        release, approve, reject, delete
    awaiting: [
        "waits 0", "waits 0", "Killed 0", "waits 0",
        "waits 0", "running 1 n1", "Rejected 0", "gone",
    ],
    suspended: [
        "suspended 0", "suspended 0", "Killed 0", "suspended 0",
        "running 1 n1", "suspended 0", "suspended 0", "gone",
    ],
    queued: [
        "queued 0", "queued 0", "Killed 0", "suspended 0",
        "queued 0", "queued 0", "queued 0", "gone",
    ],
    backing_off: [
        "backs off 2", "backs off 2", "Killed 2", "suspended 2",
        "backs off 2", "backs off 2", "backs off 2", "gone",
    ],
    bound: [
        "running 1 n1", "held 1 n1", "Killed 1", "suspended 2",
        "running 1 n1", "running 1 n1", "running 1 n1", "gone",
    ],
    held: [
        "running 1 n1", "held 1 n1", "Killed 1", "suspended 2",
        "held 1 n1", "held 1 n1", "held 1 n1", "gone",
    ],
    running: [
        "running 1 n1", "paused 1 n1", "Killed 1", "suspended 2",
        "running 1 n1", "running 1 n1", "running 1 n1", "gone",
    ],
    paused: [
        "running 1 n1", "paused 1 n1", "Killed 1", "suspended 2",
        "paused 1 n1", "paused 1 n1", "paused 1 n1", "gone",
    ],
    being_killed: [
        "Killed 1", "Killed 1", "Killed 1", "Killed 1",
        "Killed 1", "Killed 1", "Killed 1", "gone",
    ],
    being_suspended: [
        "suspended 2", "suspended 2", "Killed 1", "suspended 2",
        "running 2 n1", "suspended 2", "suspended 2", "gone",
    ],
    completed: [
        "Completed 1", "Completed 1", "Completed 1", "Completed 1",
        "Completed 1", "Completed 1", "Completed 1", "gone",
    ],
    failed: [
        "backs off 2", "backs off 2", "Killed 1", "suspended 2",
        "backs off 2", "backs off 2", "backs off 2", "gone",
    ],
    retrying: [
        "backs off 2", "backs off 2", "Killed 2", "suspended 2",
        "backs off 2", "backs off 2", "backs off 2", "gone",
    ],
    given_back: [
        "suspended 2", "suspended 2", "Killed 2", "suspended 2",
        "running 2 n1", "suspended 2", "suspended 2", "gone",
    ],
    lost_and_waits: [
        "running 1 n1", "running 1 n1", "running 1 n1", "running 1 n1",
        "running 1 n1", "running 1 n1", "running 1 n1", "gone",
    ],
    lost_and_restarts: [
        "running 2 n2", "held 2 n2", "Killed 2", "suspended 2",
        "running 2 n2", "running 2 n2", "running 2 n2", "gone",
    ],
    lost_and_fails: [
        "HostLost 1", "HostLost 1", "HostLost 1", "HostLost 1",
        "HostLost 1", "HostLost 1", "HostLost 1", "gone",
    ],
    finished: [
        "Completed 1", "Completed 1", "Completed 1", "Completed 1",
        "Completed 1", "Completed 1", "Completed 1", "gone",
    ],
}  # fmt: skip


def play(state: Callable[[World], None], verb: str) -> World:
    """Bring a Task into a state, apply a verb, and let everybody act until the graces are over."""
    world = World(hosts=2, calm=True)
    state(world)
    wish = VERBS[verb]
    if wish is None:
        world.delete("t")
    else:
        world.want("t", **wish)
    for seconds in (0, 11, 60, 11):
        world.wait(seconds)
        world.settle()
    return world


def outcome(world: World) -> str:
    """Return where the Task is."""
    obj = world.tasks.get("t")
    if obj is None:
        return "gone"
    status = obj["status"]
    run = status.get("runID", 0)
    if "finishedAt" in status:
        succeeded = conditions.get(status["conditions"], "Succeeded")
        assert succeeded is not None
        return f"{succeeded['reason']} {run}"
    if "nodeName" in status:
        found = world.hosts[status["nodeName"]].containers.values()
        states = [container.seen.state.value for container in found if container.run == run]
        return f"{states[0] if states else 'held'} {run} {status['nodeName']}"
    return f"{_WAITS[standing_of(obj, world.now)]} {run}"


_WAITS = {
    Standing.AWAITING_APPROVAL: "waits",
    Standing.SUSPENDED: "suspended",
    Standing.BACKING_OFF: "backs off",
    Standing.PENDING: "queued",
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", TABLE, ids=lambda state: state.__name__)
def test_every_pair(state: Callable[[World], None], verb: str) -> None:
    world = play(state, verb)

    assert outcome(world) == TABLE[state][list(VERBS).index(verb)]
    for host in world.hosts.values():
        left = [c for c in host.containers.values() if not _is_current(world, host.name, c)]
        assert not (host.alive and left)
    # Whoever is back finds what became of it, and keeps to it.
    host = world.hosts["n1"]
    if not host.alive:
        before = outcome(world)
        host.restart()
        world.wait(1)
        world.settle()
        expected = {"kill": "Killed 1", "suspend": "suspended 2", "pause": "paused 1 n1"}
        assert outcome(world) == (
            expected.get(verb, before) if state is lost_and_waits and verb != "delete" else before
        )
        assert all(_is_current(world, "n1", c) for c in host.containers.values())


def _is_current(world: World, host: str, container: Container) -> bool:
    status = world.tasks.get("t", {}).get("status", {})
    return status.get("nodeName") == host and status.get("runID") == container.run
