"""A second kind on a second engine, made up here, runs through all that kinds share.

Nothing of it is known to the machinery. Unlike a Task it keeps its container over stop and start.
"""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.aio import until
from support.daemon_rig import HOST_NAME, Rig
from support.tasks import BUSYBOX
from weir_crds import names
from weir_crds.kinds import GROUP, VERSION, Kind
from weir_kube.store import Key
from weir_kube.workqueue import WorkQueue
from weir_nodedaemon.engines.fake.engine import FakeEngine, FakeWorld
from weir_nodedaemon.engines.port import ContainerSpec, InstanceState
from weir_nodedaemon.instances.engines import Engine
from weir_nodedaemon.instances.fence_limits import fence_limits
from weir_nodedaemon.instances.holdings import EXCLUSIVE, SHARED, Claim
from weir_nodedaemon.instances.identity import InstanceID
from weir_nodedaemon.instances.journal import JournalEntry, StopReason
from weir_nodedaemon.instances.kind import InstanceKind, InstanceStore
from weir_nodedaemon.instances.machinery import Machinery
from weir_nodedaemon.kinds import KINDS

BOX = Kind(GROUP, VERSION, "boxes", "Box", namespaced=True)
NAMESPACE = "default"
RUNNING, EXITED = InstanceState.RUNNING, InstanceState.EXITED


def current_box(box: Mapping[str, Any]) -> InstanceID | None:
    """Return a Box's incarnation."""
    return InstanceID(box["metadata"]["uid"], box["status"]["incarnation"])


class Boxes:
    """The whole kind: what is wanted runs, what is not is stopped and stays."""

    def __init__(self, engine: Engine, containers: FakeEngine) -> None:
        self.engine = engine
        self.containers = containers

    def make(self, machinery: Machinery) -> InstanceKind:
        """Give the machinery what it needs."""
        store = InstanceStore(
            accepts=lambda box: (box.get("status") or {}).get("nodeName") == HOST_NAME,
            is_active=lambda _: True,
        )
        queue: WorkQueue[Key] = WorkQueue("boxes", max_backoff=0.2)

        async def reconcile(key: Key) -> dt.timedelta | None:
            box = store.get(key)
            id = current_box(box) if box else None
            if box is None or id is None or machinery.starts.is_under_way(id):
                return None
            seen = await self.engine.observations.observe(id.name)
            cpus = tuple(box["spec"].get("cpus") or ())
            if seen is not None and seen.state is RUNNING:
                machinery.starts.release(id)
                if box["spec"]["running"]:
                    return None
                entry = JournalEntry(BOX.kind, key.namespace, key.name)
                seconds = await machinery.stopper.stop(
                    self.containers, id, entry, StopReason.KILLED, 5
                )
                return dt.timedelta(seconds=seconds)
            if not box["spec"]["running"] or machinery.fence.forbids_start(
                fence_limits(box["spec"])
            ):
                return None

            async def begin() -> None:
                if seen is not None and seen.state is EXITED:
                    await self.containers.start_again(id.name)
                    return
                await self.containers.create(
                    ContainerSpec(
                        name=id.name,
                        image=BUSYBOX,
                        labels={
                            names.LABEL_KIND: BOX.kind,
                            names.LABEL_NAMESPACE: key.namespace,
                            names.LABEL_NAME: key.name,
                            names.LABEL_CPU_POOL: EXCLUSIVE if cpus else SHARED,
                        },
                        command=("sleep", "600"),
                        cpus=cpus or machinery.shared_pool.cpus,
                        stop_grace_seconds=1,
                    )
                )
                await self.containers.start(id.name)

            claim = Claim(frozenset(cpus), 0)
            result = await machinery.starts.start(
                id, claim, self.engine, lambda: queue.add(key), begin
            )
            return result.requeue_after

        return InstanceKind(
            kind=BOX,
            engine=self.engine,
            store=store,
            queue=queue,
            reconcile=reconcile,
            current=current_box,
            limits=lambda box: fence_limits(box["spec"]),
        )


class Two(Rig):
    """A host with Tasks on one engine and Boxes on another."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.boxes = FakeWorld()
        self.boxes.images.add(BUSYBOX)
        self.box_engine = FakeEngine(HOST_NAME, self.boxes)
        watched = Engine("boxes", self.box_engine)
        self.other_engines = (watched,)
        self.kinds = (*KINDS, Boxes(watched, self.box_engine).make)

    def box(self, name: str, incarnation: int = 1, **spec: Any) -> Key:
        """Bind a Box to this host."""
        self.api.put(
            BOX,
            {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"running": True, **spec},
                "status": {"nodeName": HOST_NAME, "incarnation": incarnation},
            },
        )
        return Key(NAMESPACE, name)

    def state(self, key: Key, incarnation: int = 1) -> InstanceState | None:
        """Return the state of a Box's container."""
        box = self.api.peek(BOX, key)
        assert box is not None
        found = self.boxes.containers.get(names.container_name(box["metadata"]["uid"], incarnation))
        return found.seen.state if found else None


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    """One host with two kinds on two engines."""
    async with Two(tmp_path) as made:
        yield made
        await made.boxes.close()


async def test_it_is_started_stopped_and_started_again_with_what_it_has(two: Two) -> None:
    key = two.box("a")
    two.start()
    await until(lambda: two.state(key) is RUNNING)
    container = next(iter(two.boxes.containers.values()))

    two.api.change_spec(BOX, key, running=False)
    await until(lambda: two.state(key) is EXITED)
    await two.kill()
    two.other_engines = (Engine("boxes", two.box_engine),)
    two.kinds = (*KINDS, Boxes(two.other_engines[0], two.box_engine).make)
    two.start()
    two.api.change_spec(BOX, key, running=True)
    await until(lambda: two.state(key) is RUNNING)
    assert list(two.boxes.containers.values()) == [container]


async def test_a_core_of_one_kind_is_not_given_to_another(two: Two) -> None:
    box = two.box("a", cpus=[1])
    two.start()
    await until(lambda: two.state(box) is RUNNING)
    task = two.bind("t", command=["sleep", "60"], cpus=(1,))
    await until(lambda: two.told(task, "Started") == ("False", "WaitingForCores"))

    two.api.change_spec(BOX, box, running=False)
    await until(lambda: two.container(task) is RUNNING)


async def test_both_engines_share_one_pool(two: Two) -> None:
    box = two.box("shared")
    two.start()
    await until(lambda: two.state(box) is RUNNING)
    task = two.bind("own", command=["sleep", "60"], cpus=(1, 2))
    await until(lambda: two.container(task) is RUNNING)
    (container,) = two.boxes.containers.values()
    assert container.seen.cpus == (0, 3)


async def test_an_orphan_is_swept_and_an_older_incarnation_too(two: Two) -> None:
    gone, lives = two.box("gone"), two.box("lives")
    two.start()
    await until(lambda: two.state(gone) is RUNNING and two.state(lives) is RUNNING)
    two.api.change_status(BOX, lives, incarnation=2)
    await until(lambda: two.state(lives, 2) is RUNNING)
    await until(lambda: two.state(lives, 1) is None)
    two.api.remove(BOX, gone)
    await until(lambda: len(two.boxes.containers) == 1)
    assert two.state(lives, 2) is RUNNING


async def test_a_stopped_one_is_no_orphan(two: Two) -> None:
    key = two.box("a")
    two.start()
    await until(lambda: two.state(key) is RUNNING)
    two.api.change_spec(BOX, key, running=False)
    await until(lambda: two.state(key) is EXITED)
    await two.quiet(1.0)
    assert two.state(key) is EXITED


async def test_it_is_fenced(two: Two) -> None:
    key = two.box("a", onHostLost="Restart", hostLostGraceSeconds=0, stopGraceSeconds=1)
    waits = two.box("waits")
    two.start()
    await until(lambda: two.state(key) is RUNNING and two.state(waits) is RUNNING)
    two.lease_age = 29.5
    await until(lambda: two.state(key) is EXITED)
    assert two.state(waits) is RUNNING


async def test_one_engine_that_is_away_stops_nothing_of_the_other(two: Two) -> None:
    two.world.available = False
    box = two.box("a", cpus=[0])
    task = two.bind("t", command=["sleep", "60"], cpus=(1,))
    two.start()
    await until(lambda: two.state(box) is RUNNING)
    await until(lambda: two.host_told("DockerReady") == ("False", "EngineUnavailable"))
    assert two.is_ready()
    engines = {
        engine["name"]: engine["ready"] for engine in (two.host() or {})["status"]["engines"]
    }
    assert engines == {"fake": False, "boxes": True}

    two.world.available = True
    await until(lambda: two.container(task) is RUNNING)
    two.boxes.available = False
    await until(lambda: two.host_told("DockerReady") == ("True", "EngineReady"))
    other = two.bind("other", command=["true"])
    assert (await two.finished(other))["exitCode"] == 0
