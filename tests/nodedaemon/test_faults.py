"""The daemon, the engine, the API server go away: nothing is lost, nothing runs twice."""

import asyncio
from typing import Any

import pytest

from support.aio import until, until_async
from support.daemon_rig import HOST_NAME, Rig
from weir_crds.kinds import HOST, TASK
from weir_crds.names import container_name
from weir_kube.store import Key, Object
from weir_nodedaemon.engines.port import InstanceState
from weir_nodedaemon.instances import sweep
from weir_nodedaemon.logs import LogStore, LogStoreError

RUNNING = InstanceState.RUNNING


async def test_a_run_outlives_the_agent_and_keeps_its_exit_code(rig: Rig) -> None:
    key = rig.bind("alone", command=rig.ends_when_told(7))
    rig.start()
    await until(lambda: rig.container(key) is RUNNING)
    await rig.kill()
    rig.tell_to_end(key)
    assert rig.container(key) is InstanceState.EXITED
    rig.start()

    status = await rig.finished(key)

    assert status["exitCode"] == 7
    assert rig.world.starts[rig.name(key)] == 1


async def test_the_api_server_away_while_a_task_ends(rig: Rig) -> None:
    """It is told within a moment of the return, and nothing was removed or started meanwhile."""
    key = rig.bind("through", command=rig.ends_when_told(5))
    stopped = rig.bind("stopped", command=["sleep", "60"], timeoutSeconds=3)
    rig.start()
    await until(lambda: rig.container(key) is rig.container(stopped) is RUNNING)
    rig.api.available = False
    rig.tell_to_end(key)
    await until(lambda: rig.container(stopped) is InstanceState.EXITED)
    await asyncio.sleep(2)
    assert rig.container(key) is InstanceState.EXITED

    rig.api.available = True

    status = await rig.finished(key)
    assert status["exitCode"] == 5
    await rig.finished(stopped)
    assert rig.told(stopped, "Succeeded") == ("False", "TimedOut")
    assert set(rig.world.starts.values()) == {1}


async def test_the_engine_away(rig: Rig) -> None:
    """Starts say so, what runs is not judged, the Host is not ready; and back again."""
    running = rig.bind("running", command=rig.ends_when_told(0))
    rig.start()
    await until(lambda: rig.told(running, "Started")[0] == "True")
    rig.world.available = False
    rig.tell_to_end(running)
    await until(lambda: rig.host_told("DockerReady") == ("False", "EngineUnavailable"))
    waiting = rig.bind("waiting")

    await until(lambda: rig.told(waiting, "Started") == ("False", "EngineUnavailable"))
    await asyncio.sleep(1)
    assert "finishedAt" not in rig.status(running)
    assert rig.told(running, "Started")[0] == "True"
    await rig.quiet()

    rig.world.available = True
    await rig.finished(running)
    await rig.finished(waiting)
    assert rig.told(running, "Succeeded") == ("True", "Completed")
    await until(lambda: rig.host_told("Ready") == ("True", "DaemonReady"))


async def test_a_container_whose_task_is_gone_is_ended_with_its_grace(rig: Rig) -> None:
    script = "trap 'exit 0' TERM; sleep 60"
    key = rig.bind("gone", command=["sh", "-c", script])
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")

    rig.api.remove(TASK, key)

    await until(lambda: not rig.world.containers)
    await until(lambda: not list(rig.state_dir.glob("runs/*.json")))


async def test_a_task_deleted_while_the_agent_was_away(rig: Rig) -> None:
    key = rig.bind("gone", command=["sleep", "60"])
    done = rig.bind("done")
    rig.start()
    await rig.finished(done)
    await until(lambda: rig.container(key) is RUNNING)
    await rig.kill()
    for one in (key, done):
        rig.api.remove(TASK, one)
    again = rig.bind("gone", command=["sleep", "60"])  # another Task of the same name
    rig.start()

    await until(lambda: rig.container(again) is RUNNING)
    await until(lambda: list(rig.world.containers) == [rig.name(again)])
    logs = LogStore(rig.state_dir / "logs", 1024)

    async def are_none() -> bool:
        return not await logs.uids()

    await until_async(are_none)


async def test_nothing_is_removed_while_the_api_server_does_not_answer(rig: Rig) -> None:
    key = rig.bind("gone", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.container(key) is RUNNING)
    await rig.kill()
    rig.api.remove(TASK, key)
    rig.api.available = False
    rig.start()
    await asyncio.sleep(0.5)
    assert len(rig.world.containers) == 1

    rig.api.available = True

    await until(lambda: not rig.world.containers)


async def test_a_deletion_that_is_a_lie_of_the_watch_removes_nothing(rig: Rig) -> None:
    """The cache says gone, the live GET says no: what the object says counts."""
    key = rig.bind("stays", command=["sleep", "60"])
    daemon = rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")

    await until(lambda: any(rig.state_dir.glob("runs/*.json")))

    gone = rig.task(key)
    daemon.kinds[0].store.apply("DELETED", gone)
    daemon._sweep.enqueue_orphans()
    daemon._object_gone.set()
    await asyncio.sleep(0.5)

    assert rig.container(key) is RUNNING
    assert list(rig.state_dir.glob("runs/*.json"))


async def test_another_run_of_the_same_task_ends_the_old_container(rig: Rig) -> None:
    key = rig.bind("again", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.container(key, 1) is RUNNING)

    rig.api.change_status(TASK, key, runID=2, conditions=[])

    await until(lambda: rig.container(key, 2) is RUNNING)
    await until(lambda: rig.container(key, 1) is None)


async def test_a_task_moved_to_another_host_keeps_its_logs_here(rig: Rig) -> None:
    key = rig.bind("moves")
    rig.start()
    await rig.finished(key)
    uid = rig.task(key)["metadata"]["uid"]

    rig.api.change_status(TASK, key, nodeName="n2")
    await asyncio.sleep(0.5)

    assert await LogStore(rig.state_dir / "logs", 1024).uids() == {uid}


async def test_that_a_task_lives_elsewhere_is_asked_again_after_an_hour(rig: Rig) -> None:
    """Its output goes then, though no watch here has told of its end."""
    key = rig.bind("moves")
    daemon = rig.start()
    await rig.finished(key)
    now = 0.0
    daemon._sweep._clock = lambda: now
    rig.api.change_status(TASK, key, nodeName="n2")
    await until(lambda: not daemon.kinds[0].store.active() and not len(daemon.kinds[0].store))
    await daemon._sweep.sweep_output()
    logs = LogStore(rig.state_dir / "logs", 1024)
    assert len(await logs.uids()) == 1

    rig.api.remove(TASK, key)
    now = 3599.0
    asked = rig.api.reads["Task"]
    await daemon._sweep.sweep_output()
    assert len(await logs.uids()) == 1
    assert rig.api.reads["Task"] == asked  # what it said holds for so long

    now = 3601.0
    await daemon._sweep.sweep_output()
    assert not await logs.uids()


async def test_what_has_come_back_is_asked_for_anew_when_it_goes(rig: Rig) -> None:
    """Its output goes with it, though it lived elsewhere a moment ago."""
    key = rig.bind("comes back")
    daemon = rig.start()
    await rig.finished(key)
    rig.api.change_status(TASK, key, nodeName="n2")
    await until(lambda: not len(daemon.kinds[0].store))
    await daemon._sweep.sweep_output()
    logs = LogStore(rig.state_dir / "logs", 1024)
    assert len(await logs.uids()) == 1

    rig.api.change_status(TASK, key, nodeName=HOST_NAME)
    await until(lambda: bool(len(daemon.kinds[0].store)))
    rig.api.remove(TASK, key)
    await until(lambda: not len(daemon.kinds[0].store))
    await daemon._sweep.sweep_output()
    assert not await logs.uids()


async def test_what_comes_back_while_it_is_asked_for_is_asked_for_anew_when_it_goes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is of before: it lived elsewhere then."""
    key = rig.bind("comes back")
    daemon = rig.start()
    await rig.finished(key)
    rig.api.change_status(TASK, key, nodeName="n2")
    await until(lambda: not len(daemon.kinds[0].store))
    get, back = rig.api.get, asyncio.Event()

    async def get_slowly(*what: Any, **how: Any) -> Object:
        found = await get(*what, **how)
        rig.api.change_status(TASK, key, nodeName=HOST_NAME)
        await until(lambda: bool(len(daemon.kinds[0].store)))
        back.set()
        return found

    async def has_asked() -> bool:
        await daemon._sweep.sweep_output()  # passes by what has its container still
        return back.is_set()

    async def is_gone() -> bool:
        await daemon._sweep.sweep_output()
        stored = await LogStore(rig.state_dir / "logs", 1024).uids()
        return not stored and not list(rig.state_dir.glob("runs/*.json"))

    monkeypatch.setattr(rig.api, "get", get_slowly)
    await until_async(has_asked)
    monkeypatch.undo()

    rig.api.remove(TASK, key)
    await until(lambda: not len(daemon.kinds[0].store))
    await until_async(is_gone)


async def test_an_orphan_that_was_sent_term_is_killed_without_the_api_server(rig: Rig) -> None:
    """What the API server said of it is final; it is not asked once more before the KILL."""
    script = "trap '' TERM; sleep 60"
    key = rig.bind("gone", command=["sh", "-c", script], stopGraceSeconds=1)
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    name = rig.name(key)
    notes = rig.state_dir / "runs"

    rig.api.remove(TASK, key)
    await until(lambda: any('"term_sent": true' in n.read_text() for n in notes.glob("*.json")))
    rig.api.available = False

    await until(lambda: rig.world.containers[name].seen.state is InstanceState.EXITED)
    assert rig.world.containers[name].seen.exit_code == 128 + 9
    rig.api.available = True
    await until(lambda: not rig.world.containers)


async def test_an_end_told_by_somebody_else_stands(rig: Rig) -> None:
    """HostLost while we were away: the container is stopped, its output kept, the end unchanged."""
    key = rig.bind("late", command=["sh", "-c", "echo out; sleep 60"])
    rig.start()
    await until(lambda: rig.container(key) is RUNNING)
    await rig.kill()
    ended = "2026-11-22T10:00:00.000000Z"
    rig.api.change_status(TASK, key, finishedAt=ended)
    rig.start()

    await until(lambda: rig.container(key) is None)

    assert rig.status(key)["finishedAt"] == ended
    uid = rig.task(key)["metadata"]["uid"]
    assert await LogStore(rig.state_dir / "logs", 1024).summary(uid, 1) is not None


async def test_a_write_that_took_effect_without_a_reply_is_not_repeated(rig: Rig) -> None:
    key = rig.bind("unsure", command=rig.ends_when_told(4))
    daemon = rig.start()
    await until(lambda: rig.container(key) is RUNNING)
    replies = iter([False, True])  # the request arrives, its reply does not
    rig.api.loses = lambda: next(replies, False)
    rig.tell_to_end(key)

    status = await rig.finished(key)

    assert daemon.has_synced
    assert status["exitCode"] == 4
    assert [w for w in rig.api.writes if w[0] == "Task"] == [("Task", key, "status")]


async def test_logs_that_cannot_be_kept_do_not_hold_the_verdict_back(rig: Rig) -> None:
    key = rig.bind("full", command=["sh", "-c", "echo out; exit 2"])
    in_the_way = rig.state_dir / "logs" / rig.task(key)["metadata"]["uid"]
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("in the way")
    rig.start()

    await until(lambda: "finishedAt" in rig.status(key))
    assert rig.status(key)["exitCode"] == 2
    assert rig.status(key)["logs"]["truncated"] is True
    await asyncio.sleep(0.5)
    assert rig.container(key) is InstanceState.EXITED  # it has the only copy
    in_the_way.unlink()
    await rig.finished(key)
    store = LogStore(rig.state_dir / "logs", 2**20)
    assert await store.summary(rig.task(key)["metadata"]["uid"], 1)


async def test_output_of_a_run_that_is_followed_by_another_stays_until_it_can_be_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The container has the only copy, and no reconcile looks after it any more: the sweep does."""
    monkeypatch.setattr(sweep, "_OUTPUT_RETRY_SECONDS", 0.1)
    key = rig.bind("full", command=["sh", "-c", "echo out; exit 2"], retry={"limit": 1})
    uid = rig.task(key)["metadata"]["uid"]
    in_the_way = rig.state_dir / "logs" / uid
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("in the way")
    rig.start()
    await until(lambda: rig.told(key, "Started") == ("False", "Stopped"))
    rig.api.change_status(TASK, key, nodeName="n2", runID=2, conditions=[])
    name = container_name(uid, 1)
    failures = f"output is not stored yet instance={name}"
    await until(lambda: caplog.text.count(failures) > 1, "the sweep has tried")
    assert rig.world.containers[name].seen.state is InstanceState.EXITED

    in_the_way.unlink()
    await until(lambda: name not in rig.world.containers)
    assert await LogStore(rig.state_dir / "logs", 2**20).summary(uid, 1)


async def test_output_that_cannot_be_removed_keeps_no_other_from_going(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [rig.bind(f"t{number}") for number in range(4)]
    daemon = rig.start()
    for key in keys:
        await rig.finished(key)
    uids = sorted(rig.task(key)["metadata"]["uid"] for key in keys)
    logs, remove = rig.machinery.collector.store, rig.machinery.collector.store.remove

    async def stuck(uid: str) -> None:
        if uid == uids[1]:
            raise LogStoreError("Input/output error")
        await remove(uid)

    monkeypatch.setattr(logs, "remove", stuck)
    for key in keys:
        rig.api.remove(TASK, key)

    async def one_is_left() -> bool:
        return await logs.uids() == {uids[1]}

    await until_async(one_is_left)
    assert daemon.has_synced
    monkeypatch.setattr(logs, "remove", remove)
    await daemon._sweep.sweep_output()
    assert not await logs.uids()
    await until(lambda: not list(rig.state_dir.glob("runs/*.json")))


async def test_a_note_that_cannot_be_read_goes_once_no_container_is_of_it(rig: Rig) -> None:
    key = rig.bind("runs", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    await rig.kill()
    uid = rig.task(key)["metadata"]["uid"]
    notes = rig.state_dir / "runs"
    torn = notes / "0b39f1a2-9c5e-4a53-8f8e-111111111111-3.json"
    (notes / f"{uid}-7.json").write_text("")
    torn.write_text('{"uid": "0b39')
    rig.start()

    await until(lambda: not torn.exists())
    assert (notes / f"{uid}-7.json").exists()  # of what runs here nothing is removed
    rig.want(key, desiredState="Killed")
    await rig.finished(key)
    await until(lambda: not (notes / f"{uid}-7.json").exists())
    assert (notes / f"{uid}-1.json").exists()


async def test_a_host_on_which_nothing_starts_takes_no_new_work_and_ends_no_task(rig: Rig) -> None:
    """No addresses, no memory, a locked iptables: the Host says so, and recovers by itself."""
    rig.world.start_fails = "failed to create endpoint: no available IPv4 addresses"
    keys = [rig.bind(f"t{number}", resources={"cpu": 0}) for number in range(3)]
    rig.start()

    await until(lambda: rig.host_told("StartsFailing") == ("True", "RepeatedFailures"))
    assert "IPv4" in rig.host_message("StartsFailing")
    assert not any("finishedAt" in rig.status(key) for key in keys)

    rig.world.start_fails = ""
    for key in keys:
        await rig.finished(key)
        assert rig.told(key, "Succeeded") == ("True", "Completed")
    await until(lambda: rig.host_told("StartsFailing") == ("False", "StartSucceeded"))


async def test_a_machine_that_takes_the_host_over_ends_the_daemon_that_had_it(rig: Rig) -> None:
    """A Host deleted and made anew by another machine: two may not act as one."""
    running = rig.bind("t", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.told(running, "Started")[0] == "True")
    host = Key("", HOST_NAME)
    rig.api.remove(HOST, host)
    theirs = {"approval": "Approved", "hostID": "99999999-2222-3333-4444-555555555555"}
    rig.api.put(HOST, {"metadata": {"name": HOST_NAME}, "spec": theirs})

    assert "belongs to the machine with hostID 99999999" in await rig.last_words()

    found = rig.host()
    assert found is not None
    assert found["spec"] == theirs
    assert "status" not in found  # nothing was written to what is theirs
    assert rig.container(running) is InstanceState.RUNNING
