"""An engine that refuses, is slow with one container, or loses one: nobody else suffers."""

import asyncio
import datetime as dt
import threading
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from support.aio import until
from support.daemon_rig import Rig, WatchedWorld
from support.tasks import BUSYBOX
from weir_crds.kinds import TASK
from weir_nodedaemon.engines.fake.engine import FakeEngine
from weir_nodedaemon.engines.port import (
    BEGINNING,
    ContainerSpec,
    CreateRefusedError,
    EngineRefusedError,
    EngineUnavailableError,
    InstanceState,
    LogChunk,
    LogPosition,
    ObservedInstance,
)
from weir_nodedaemon.instances import starts
from weir_nodedaemon.kinds.task import reconcile
from weir_nodedaemon.logs import LogStore, collector

RUNNING, EXITED = InstanceState.RUNNING, InstanceState.EXITED
WORDS = "OCI runtime create failed: the moon is full"


class Moody(FakeEngine):
    """An engine that refuses to start, or is endlessly at it, for some containers.

    While Docker starts a container it answers nothing that is asked about it.
    """

    def __init__(self, host_name: str, world: WatchedWorld) -> None:
        super().__init__(host_name, world)
        self.calls: Counter[str] = Counter()
        self.refuses = lambda spec: False
        self.slow: set[str] = set()
        self.immovable: set[str] = set()
        self.hides = False
        self.go_on = asyncio.Event()
        self.unread: list[Exception] = []  # what the next readers of output get
        self.silent = False  # no output comes, nor its end

    async def follow(
        self, name: str, after: LogPosition = BEGINNING
    ) -> AsyncGenerator[LogChunk, None]:
        """Break off in the middle for some."""
        if self.silent:
            await asyncio.Event().wait()
        failure = self.unread.pop() if self.unread else None
        async with aclosing(super().follow(name, after)) as chunks:
            async for chunk in chunks:
                if chunk.data and failure is not None:
                    raise failure
                yield chunk

    async def create(self, spec: ContainerSpec) -> None:
        """Refuse some."""
        self.calls["create"] += 1
        if self.refuses(spec):
            raise EngineRefusedError(WORDS)
        await super().create(spec)
        if spec.env.get("SLOW"):
            self.slow.add(spec.name)

    async def start(self, name: str) -> None:
        """Take long over some."""
        if name in self.slow:
            await self.go_on.wait()
        await super().start(name)

    async def update_cpus(self, name: str, cpus: tuple[int, ...]) -> None:
        """Leave some where they are, as Docker does whose shim of one has died."""
        if name in self.immovable:
            raise EngineRefusedError("Cannot update container: ttrpc: broken")
        await super().update_cpus(name, cpus)

    async def inspect(self, name: str) -> ObservedInstance | None:
        """Say nothing of those."""
        if name in self.slow and not self.go_on.is_set():
            await asyncio.sleep(0.5)
            raise EngineUnavailableError("no answer")
        return await super().inspect(name)

    async def observe(self) -> dict[str, ObservedInstance]:
        """Show the others."""
        if self.hides:
            raise EngineRefusedError("Docker answered 500: database is corrupt")
        found = await super().observe()
        if self.go_on.is_set():
            return found
        return {
            name: ObservedInstance(name, seen.labels, InstanceState.UNKNOWN)
            if name in self.slow
            else seen
            for name, seen in found.items()
        }


@pytest.fixture
def moody(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Moody:
    """The rig's engine, which starts are tried on again soon."""
    monkeypatch.setattr(starts, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(starts, "_WITH_A_WORKER_SECONDS", 0.05)
    engine = Moody("n1", rig.world)
    rig.engine = engine
    return engine


async def test_what_is_refused_for_unknown_reasons_is_tried_a_bounded_number_of_times(
    rig: Rig, moody: Moody
) -> None:
    """Not at each resync either, and then the engine's words are the end."""
    moody.refuses = lambda spec: "BAD" in spec.env
    rig.start()
    others = [rig.bind(f"o{i}", command=["sleep", "60"]) for i in range(3)]
    await until(lambda: all(rig.container(key) is RUNNING for key in others))
    moody.calls.clear()

    bad = rig.bind("bad", env=[{"name": "BAD", "value": "1"}])
    await until(lambda: rig.told(bad, "Started") == ("False", "CreateFailed"))
    assert rig.message(bad, "Started").startswith(WORDS)  # by now it may be the last try
    await rig.finished(bad)

    assert rig.told(bad, "Succeeded") == ("False", "CreateFailed")
    assert WORDS in rig.message(bad, "Succeeded")
    assert moody.calls["create"] == starts.TRIES
    assert rig.is_ready()
    assert all(rig.container(key) is RUNNING for key in others)


async def test_what_is_refused_is_not_tried_again_before_its_time(
    rig: Rig, moody: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often all is looked at meanwhile, or the Task changes."""
    monkeypatch.setattr(starts, "_RETRY_SECONDS", 600.0)
    monkeypatch.setattr(starts, "_RETRY_MAX_SECONDS", 600.0)
    moody.refuses = lambda spec: "BAD" in spec.env
    rig.start()
    bad = rig.bind("bad", env=[{"name": "BAD", "value": "1"}])
    await until(lambda: rig.told(bad, "Started") == ("False", "CreateFailed"))
    for priority in range(1, 4):
        rig.want(bad, priority=priority)
        rig.machinery.container_engine.resync()
        other = rig.bind(f"o{priority}", command=["true"])
        await rig.finished(other)

    assert moody.calls["create"] == 1 + 3
    assert rig.message(bad, "Started") == WORDS


async def test_a_sick_host_ends_nobodys_task_and_says_so(rig: Rig, moody: Moody) -> None:
    moody.refuses = lambda spec: True
    rig.start()
    tasks = [rig.bind(f"t{i}", command=["true"]) for i in range(5)]
    await until(lambda: rig.host_told("StartsFailing")[0] == "True")
    await until(lambda: moody.calls["create"] > 5 * starts.TRIES)
    assert not any("finishedAt" in rig.status(key) for key in tasks)

    moody.refuses = lambda spec: False
    for key in tasks:
        assert (await rig.finished(key))["exitCode"] == 0
    await until(lambda: rig.host_told("StartsFailing")[0] == "False")


async def test_a_core_that_is_gone_since_the_bind_is_the_hosts_fault(
    rig: Rig, moody: Moody
) -> None:
    """The Host says what is left, the Task goes back to be bound anew, and nothing is failing."""
    rig.periods = replace(rig.periods, resync=3600.0)  # nobody looks by chance
    rig.start()
    await until(rig.is_ready)
    rig.world.cpus = (0, 1, 2)
    moody.refuses = lambda spec: 3 in spec.cpus
    key = rig.bind("t", cpus=(2, 3), command=["sleep", "60"])

    await until(lambda: rig.told(key, "Started") == ("False", "Stopped"))
    assert "core 3" in rig.message(key, "Started")
    assert "finishedAt" not in rig.status(key)
    assert "lastResult" not in rig.status(key)
    host = rig.host()
    assert host is not None
    assert host["status"]["capacity"]["cpus"] == 3
    assert rig.host_told("StartsFailing")[0] != "True"

    late = rig.bind("late", cpus=(3,), command=["sleep", "60"])  # the operator's view was older
    calls = moody.calls["create"]
    await until(lambda: rig.told(late, "Started") == ("False", "Stopped"))
    assert moody.calls["create"] == calls
    good = rig.bind("good", cpus=(2,), command=["true"])
    assert (await rig.finished(good))["exitCode"] == 0


def bind_slow(rig: Rig, name: str, **spec: Any) -> Any:
    """Bind a Task whose start takes the engine for ever."""
    return rig.bind(name, command=["sleep", "60"], env=[{"name": "SLOW", "value": "1"}], **spec)


async def test_slow_starts_keep_no_kill_waiting_and_no_other_start(rig: Rig, moody: Moody) -> None:
    rig.start()
    victim = rig.bind("victim", command=["sleep", "60"])
    await until(lambda: rig.told(victim, "Started")[0] == "True")
    slow = [bind_slow(rig, f"slow{i}") for i in range(15)]
    await until(lambda: len(moody.slow) == 15)

    rig.want(victim, desiredState="Killed")
    assert (await rig.finished(victim))["phase"] == "Killed"
    other = rig.bind("other", command=["true"])
    assert (await rig.finished(other))["exitCode"] == 0
    assert rig.is_ready()

    moody.go_on.set()
    await until(lambda: all(rig.told(key, "Started")[0] == "True" for key in slow))
    assert not rig.world.violations


async def test_a_kill_during_a_slow_start_takes_effect_when_it_is_over(
    rig: Rig, moody: Moody
) -> None:
    rig.start()
    key = bind_slow(rig, "slow", stopGraceSeconds=1)
    await until(lambda: bool(moody.slow))
    rig.want(key, desiredState="Killed")
    await asyncio.sleep(0.3)
    assert "finishedAt" not in rig.status(key)
    moody.go_on.set()
    assert (await rig.finished(key))["phase"] == "Killed"


async def test_a_slow_start_holds_no_fence_up(rig: Rig, moody: Moody) -> None:
    rig.start()
    fenced = rig.bind(
        "fenced",
        command=["sleep", "60"],
        onHostLost="Restart",
        hostLostGraceSeconds=0,
        stopGraceSeconds=1,
    )
    await until(lambda: rig.told(fenced, "Started")[0] == "True")
    bind_slow(rig, "slow")
    await until(lambda: bool(moody.slow))
    rig.api.available = False
    rig.lease_age = 40.0
    await until(lambda: rig.container(fenced) is EXITED)


async def test_an_end_that_was_seen_outlives_the_container(rig: Rig) -> None:
    """``docker container prune`` while the API server is away, and a restart besides."""
    key = rig.bind("t", command=rig.ends_when_told(7))
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    rig.api.available = False
    rig.tell_to_end(key)
    notes = rig.state_dir / "runs"
    await until(lambda: any('"exit_code": 7' in note.read_text() for note in notes.glob("*.json")))
    await rig.kill()
    rig.world.containers.pop(rig.name(key)).destroy()

    rig.api.available = True
    rig.start()
    status = await rig.finished(key)
    assert (status["exitCode"], rig.told(key, "Succeeded")[1]) == (7, "NonZeroExit")


async def test_who_follows_output_learns_that_the_container_is_lost(rig: Rig) -> None:
    """``docker rm -f``: what it printed until then is kept, and its status says how much."""
    key = rig.bind("t", command=["sh", "-c", "echo before; sleep 600"])
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    uid = rig.task(key)["metadata"]["uid"]
    store = rig.machinery.collector.store
    reading = store.read(uid, 1, follow=True)
    assert (await anext(reading)).data == b"before\n"
    rig.world.containers.pop(rig.name(key)).destroy()

    status = await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("False", "HostLost")
    async with asyncio.timeout(60):
        assert await anext(reading, None) is None
    assert status["logs"] == {"stdoutBytes": 7, "stderrBytes": 0, "truncated": False}


async def test_what_a_lost_container_printed_while_nobody_looked_is_not_known(rig: Rig) -> None:
    key = rig.bind("t", command=["sh", "-c", "echo before; sleep 600"])
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    uid = rig.task(key)["metadata"]["uid"]
    await until(lambda: rig.machinery.collector.follow(uid, 1, "").progress > 0)
    await rig.kill()
    rig.world.containers.pop(rig.name(key)).destroy()

    rig.start()
    status = await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("False", "HostLost")
    assert status["logs"] == {"stdoutBytes": 7, "stderrBytes": 0, "truncated": True}


async def test_nobody_follows_a_container_that_was_removed_before_its_start(
    rig: Rig, moody: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker ends no stream of it: a connection would stay for each start that fails."""

    async def refuse(name: str) -> None:
        raise CreateRefusedError("no such user")

    monkeypatch.setattr(moody, "start", refuse)
    rig.start()
    key = rig.bind("t", command=["true"])
    await rig.finished(key)
    assert rig.told(key, "Succeeded")[1] == "CreateFailed"
    of = f"output of {rig.name(key)}"
    await until(lambda: all(task.get_name() != of for task in asyncio.all_tasks()))


FAILURES = [EngineUnavailableError("the stream was cut"), EngineRefusedError("broken pipe")]


@pytest.mark.parametrize("failure", FAILURES, ids=["away", "refuses"])
async def test_an_end_waits_for_output_that_the_engine_does_not_show_at_once(
    rig: Rig, moody: Moody, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """What it says of the output is final."""
    monkeypatch.setattr(collector, "_RETRY_SECONDS", (0.02,))
    moody.unread = [failure] * 3
    rig.start()
    status = await rig.finished(rig.bind("t", command=["sh", "-c", "echo out; exit 3"]))
    assert status["exitCode"] == 3
    assert status["logs"] == {"stdoutBytes": 4, "stderrBytes": 0, "truncated": False}
    assert not moody.unread


@pytest.mark.parametrize("failure", FAILURES, ids=["away", "refuses"])
async def test_output_that_never_comes_holds_no_end_up_for_long(
    rig: Rig, moody: Moody, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """And the container stays, as it has the only copy."""
    monkeypatch.setattr(collector, "_RETRY_SECONDS", (0.02,))
    monkeypatch.setattr(reconcile, "_OUTPUT_RETRY", dt.timedelta(milliseconds=20))
    moody.unread = [failure] * 10_000
    rig.start()
    rig.machinery.collector._still_seconds = 0.3
    key = rig.bind("t", command=["sh", "-c", "echo out; exit 3"])
    await until(lambda: "finishedAt" in rig.status(key))
    assert rig.status(key)["exitCode"] == 3
    assert rig.status(key)["logs"]["truncated"]
    assert rig.container(key) is EXITED

    moody.unread.clear()
    await rig.finished(key)
    kept = await LogStore(rig.state_dir / "logs", 1024).summary(rig.task(key)["metadata"]["uid"], 1)
    assert kept is not None
    assert kept.stdout_bytes == 4


async def test_many_whose_output_does_not_come_keep_no_kill_waiting(
    rig: Rig, moody: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "_WITH_CALLER_SECONDS", 0.05)
    monkeypatch.setattr(collector, "_ATTACH_SECONDS", 0.05)
    rig.start()
    rig.machinery.collector._still_seconds = 600.0
    victim = rig.bind("victim", command=["sleep", "60"])
    await until(lambda: rig.container(victim) is RUNNING)
    moody.silent = True
    ended = [rig.bind(f"t{n}", command=["true"]) for n in range(40)]
    await until(lambda: all(rig.container(key) is EXITED for key in ended))
    rig.want(victim, desiredState="Killed", stopGraceSeconds=0)
    assert (await rig.finished(victim))["phase"] == "Killed"
    assert not any("finishedAt" in rig.status(key) for key in ended)


@pytest.mark.parametrize("notes_are", ["empty", "gone"])
async def test_output_of_a_living_task_outlives_its_lost_notes(rig: Rig, notes_are: str) -> None:
    """As after a power cut: nothing goes before the API server was asked."""
    rig.start()
    key = rig.bind("t", command=["sh", "-c", "echo result; exit 3"], retry={"limit": 1})
    await until(lambda: rig.told(key, "Succeeded") == ("Unknown", "Retrying"))
    uid = rig.task(key)["metadata"]["uid"]
    output = rig.state_dir / "logs" / uid
    await until(output.exists)
    rig.api.change_status(TASK, key, nodeName="n2", runID=2)  # the next run is elsewhere
    await rig.kill()
    for note in rig.state_dir.glob("runs/*.json"):
        note.write_text("") if notes_are == "empty" else note.unlink()

    rig.start()
    await until(lambda: rig.daemon is not None and rig.daemon.has_synced)
    rig.bind("other", command=["true"])
    await asyncio.sleep(0.5)
    assert output.exists()

    rig.api.remove(TASK, key)
    await until(lambda: not output.exists())


async def test_an_instance_that_cannot_be_moved_hurts_only_who_wants_its_cores(
    rig: Rig, moody: Moody
) -> None:
    """No other start fails by it, the others are moved, and who waits for it ends not."""
    rig.start()
    stuck = rig.bind("a-stuck", command=["sleep", "60"])
    moved = rig.bind("b-moved", command=["sleep", "60"])
    await until(lambda: rig.container(stuck) is rig.container(moved) is RUNNING)
    moody.immovable.add(rig.name(stuck))

    waits = rig.bind("waits", cpus=(2,), command=["true"])
    await until(lambda: rig.told(waits, "Started") == ("False", "WaitingForCores"))
    assert rig.name(stuck) in rig.message(waits, "Started")
    shared = rig.bind("shared", command=["sleep", "60"])
    await until(lambda: rig.container(shared) is RUNNING)
    assert "finishedAt" not in rig.status(waits)
    assert rig.host_told("StartsFailing")[0] != "True"

    moody.immovable.clear()
    assert (await rig.finished(waits))["exitCode"] == 0
    assert not rig.world.violations


async def test_an_instance_that_cannot_be_moved_keeps_no_other_where_it_is(
    rig: Rig, moody: Moody
) -> None:
    rig.start()
    alone = rig.bind("alone", cpus=(3,), command=["sleep", "60"])
    await until(lambda: rig.container(alone) is RUNNING)
    stuck = rig.bind("a-stuck", command=["sleep", "60"])
    moved = rig.bind("b-moved", command=["sleep", "60"])
    names = sorted((stuck, moved), key=rig.name)  # the first of them is asked first
    await until(lambda: all(rig.container(key) is RUNNING for key in names))
    moody.immovable.add(rig.name(names[0]))

    rig.want(alone, desiredState="Killed")
    other = rig.world.containers[rig.name(names[1])]
    await until(lambda: other.seen.cpus == (0, 1, 2, 3))


async def test_an_engine_that_cannot_show_what_it_has_is_not_ready(rig: Rig, moody: Moody) -> None:
    """Nothing can be started by it: who holds what is not known. It answers all the same."""
    moody.hides = True
    rig.start()
    await until(lambda: rig.host_told("Ready") == ("False", "EngineUnavailable"))
    moody.hides = False
    await until(rig.is_ready)


async def test_what_a_daemon_that_died_in_a_probe_has_left_is_removed(
    rig: Rig, moody: Moody
) -> None:
    rig.start()
    probe = rig.machinery.start_probe.name
    await moody.create(ContainerSpec(name=probe, image=BUSYBOX, labels={}))
    await rig.kill()
    rig.start()
    await until(lambda: probe not in rig.world.containers)


async def test_an_orphan_from_before_the_label_of_kinds_is_removed(rig: Rig, moody: Moody) -> None:
    name = f"weir-{uuid.uuid4()}-1"
    labels = {"weir.dev/namespace": "default", "weir.dev/name": "gone", "weir.dev/run": "1"}
    await moody.create(ContainerSpec(name=name, image=BUSYBOX, labels=labels))
    nobodys = f"weir-{uuid.uuid4()}-1"
    await moody.create(ContainerSpec(name=nobodys, image=BUSYBOX, labels={}))
    rig.start()
    await until(lambda: name not in rig.world.containers)
    assert nobodys in rig.world.containers


async def test_a_disk_that_hangs_keeps_no_engine_unobserved(rig: Rig) -> None:
    hangs = threading.Event()
    rig.periods = replace(rig.periods, machine=0.05)
    daemon = rig.start()
    daemon._disk._free = lambda path: int(hangs.wait(30))  # type: ignore[method-assign]
    try:
        await until(lambda: daemon._look is not None and not daemon._look.done())
        key = rig.bind("t", command=["sleep", "60"])
        await until(lambda: rig.container(key) is RUNNING)
        rig.world.containers.pop(rig.name(key))  # without an event
        await until(lambda: rig.told(key, "Succeeded") == ("False", "HostLost"))
    finally:
        hangs.set()
