"""Runs that are not the last: retried, suspended, or cut off because nobody hears from the host."""

from typing import Any

import pytest

from support.aio import until
from support.daemon_rig import HOST_NAME, Rig
from weir_crds.kinds import TASK
from weir_kube.store import Key
from weir_nodedaemon.engines.port import InstanceState
from weir_nodedaemon.instances.fence_limits import MISSED_SECONDS, FenceLimits, fence_limits

RUNNING = InstanceState.RUNNING
STOPPED = ("False", "Stopped")


def unbind(rig: Rig, key: Key, host: str | None = HOST_NAME) -> None:
    """Do what the operator does: a new run, here or elsewhere."""
    status = rig.status(key)
    rig.api.change_status(TASK, key, nodeName=None, runID=status["runID"] + 1, conditions=[])
    if host is not None:
        rig.api.change_status(TASK, key, nodeName=host)


async def given_back(rig: Rig, key: Key, run: int = 1) -> dict[str, Any]:
    """Wait until a run is stopped and its container gone; return the status."""
    await until(lambda: rig.told(key, "Started") == STOPPED, "stopped")
    await until(lambda: rig.container(key, run) is None, "the container is gone")
    assert "finishedAt" not in rig.status(key)
    return rig.status(key)


async def test_a_failed_run_is_given_back_and_the_next_one_is_another_container(rig: Rig) -> None:
    key = rig.bind("again", command=["sh", "-c", "echo out; exit 3"], retry={"limit": 1})
    rig.start()

    status = await given_back(rig, key)
    assert rig.told(key, "Succeeded") == ("Unknown", "Retrying")
    assert (status["lastResult"]["runID"], status["lastResult"]["exitCode"]) == (1, 3)
    assert [w for w in rig.api.writes if w[0] == "Task"] == [("Task", key, "status")]
    await rig.quiet()

    unbind(rig, key)
    rig.api.change_status(TASK, key, failures=1)
    await rig.finished(key)

    assert rig.told(key, "Succeeded") == ("False", "NonZeroExit")
    assert sorted(rig.world.starts) == [rig.name(key, 1), rig.name(key, 2)]
    uid = rig.task(key)["metadata"]["uid"]
    assert {run.name for run in (rig.state_dir / "logs" / uid).iterdir()} == {"1", "2"}


async def test_the_output_of_a_run_stays_when_its_task_goes_elsewhere(rig: Rig) -> None:
    key = rig.bind("away", command=["sh", "-c", "echo out; exit 3"], retry={"limit": 1})
    rig.start()
    await given_back(rig, key)
    archive = rig.state_dir / "logs" / rig.task(key)["metadata"]["uid"]

    unbind(rig, key, "another")
    await rig.quiet()
    assert archive.exists()


async def test_a_host_that_is_back_removes_what_runs_elsewhere_and_keeps_its_output(
    rig: Rig,
) -> None:
    key = rig.bind("moved", command=["sh", "-c", "echo out; sleep 60"], stopGraceSeconds=0)
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    await rig.kill()
    unbind(rig, key, "another")
    rig.start()

    await until(lambda: rig.container(key) is None, "the old container is gone")
    await rig.quiet()
    assert (rig.state_dir / "logs" / rig.task(key)["metadata"]["uid"] / "1").exists()


@pytest.mark.parametrize("meanwhile", [True, False])
async def test_a_suspended_run_is_stopped_and_given_back(rig: Rig, meanwhile: bool) -> None:
    """Also when it is no longer suspended by then."""
    command = ["sh", "-c", "trap '' TERM; sleep 60"]
    key = rig.bind("halt", command=command, stopGraceSeconds=1, retry={"limit": 1})
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")

    rig.want(key, suspend=True)
    if meanwhile:
        await until(lambda: any((rig.state_dir / "runs").iterdir()), "noted")
        await rig.quiet(0.2)
        rig.want(key, suspend=False)

    status = await given_back(rig, key)
    assert status["lastResult"]["reason"] == "Suspended"
    assert rig.told(key, "Succeeded") == ("", "")
    assert status["phase"] == "Stopping"


async def test_a_run_that_never_began_is_given_back_at_once(rig: Rig) -> None:
    key = rig.bind("held", desiredState="Paused")
    rig.start()
    await until(lambda: rig.told(key, "Paused")[0] == "True")

    rig.want(key, suspend=True)

    status = await given_back(rig, key)
    assert "lastResult" not in status
    assert rig.told(key, "Paused") == ("", "")


async def test_a_kill_ends_what_is_being_suspended(rig: Rig) -> None:
    command = ["sh", "-c", "trap '' TERM; sleep 60"]
    key = rig.bind("both", command=command, stopGraceSeconds=1)
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    rig.want(key, suspend=True)
    await rig.quiet(0.3)

    rig.want(key, desiredState="Killed")

    await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("False", "Killed")


async def test_an_engine_that_is_away_does_not_take_back_that_a_run_is_stopped(rig: Rig) -> None:
    key = rig.bind("known", retry={"limit": 1}, command=["false"])
    rig.start()
    await given_back(rig, key)

    rig.world.available = False
    await until(lambda: rig.host_told("Ready")[0] == "False")
    rig.want(key, priority=5)
    await rig.quiet(0.2)

    assert rig.told(key, "Started") == STOPPED


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({}, None),
        ({"onHostLost": "Wait", "hostLostGraceSeconds": 0}, None),
        ({"onHostLost": "Restart"}, FenceLimits(320, 330)),
        (
            {"onHostLost": "Fail", "hostLostGraceSeconds": 60, "stopGraceSeconds": 5},
            FenceLimits(85, 90),
        ),
        ({"onHostLost": "Restart", "hostLostGraceSeconds": 0}, FenceLimits(20, 30)),
        ({"onHostLost": "Restart", "hostLostGraceSeconds": 0, "stopGraceSeconds": 600},
         FenceLimits(MISSED_SECONDS, 30)),
    ],
)  # fmt: skip
def test_the_limits_of_a_host_that_nobody_hears_from(
    spec: dict[str, Any], found: FenceLimits | None
) -> None:
    assert fence_limits(spec) == found


async def test_a_host_that_nobody_hears_from_stops_what_others_may_run(rig: Rig) -> None:
    """And tells so when it is heard again; who waits for the host runs on."""
    spec = {"command": ["sleep", "60"], "hostLostGraceSeconds": 0}
    restart = rig.bind("restart", onHostLost="Restart", **spec)
    fail = rig.bind("fail", onHostLost="Fail", **spec)
    waits = rig.bind("waits", **spec)
    deaf = rig.bind(
        "deaf",
        command=["sh", "-c", "trap '' TERM; sleep 60"],
        onHostLost="Restart",
        hostLostGraceSeconds=0,
        stopGraceSeconds=600,
    )
    rig.start()
    everything = (restart, fail, waits, deaf)
    await until(lambda: all(rig.told(key, "Started")[0] == "True" for key in everything))
    rig.api.available = False

    rig.lease_age = 19.0
    await rig.quiet(0.1)
    assert [rig.container(key) for key in everything] == [RUNNING] * 4

    rig.lease_age = 21.0
    await until(lambda: rig.container(restart) is not RUNNING, "restart is stopped")
    await until(lambda: rig.container(fail) is not RUNNING, "fail is stopped")
    assert rig.container(deaf) is RUNNING
    rig.lease_age = 31.0
    await until(lambda: rig.container(deaf) is not RUNNING, "deaf is killed")
    assert rig.container(waits) is RUNNING
    late = rig.bind("late", onHostLost="Restart", hostLostGraceSeconds=0)

    rig.api.available = True
    for key in (restart, deaf):
        status = await given_back(rig, key)
        assert status["lastResult"]["reason"] == "HostLost"
    await rig.finished(fail)
    assert rig.told(fail, "Succeeded") == ("False", "HostLost")
    await rig.quiet(0.1)
    assert rig.container(late) is None

    rig.lease_age = 0.0
    await rig.finished(late)
    assert rig.told(late, "Succeeded") == ("True", "Completed")


async def started_anew_while_nobody_answers(rig: Rig, **spec: Any) -> Key:
    """Run what others may run, kill the daemon, and start another one without an API server."""
    spec = {"command": ["sleep", "60"], "hostLostGraceSeconds": 0, **spec}
    key = rig.bind("restart", onHostLost="Restart", **spec)
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")
    await rig.kill()
    rig.api.available = False
    rig.start()
    return key


@pytest.mark.parametrize("lost", [[], ["notes"], ["label"]])
async def test_a_daemon_that_starts_while_nobody_answers_stops_what_others_may_run(
    rig: Rig, lost: list[str]
) -> None:
    """By its notes, or by what the containers bear: no list has arrived since it began."""
    waits = rig.bind("waits", command=["sleep", "60"])
    key = await started_anew_while_nobody_answers(rig)
    await rig.kill()
    if "notes" in lost:
        for note in rig.state_dir.glob("runs/*.json"):
            note.unlink()
    if "label" in lost:  # made by an earlier version
        container = rig.world.containers[rig.name(key)]
        container.seen.labels.pop("weir.dev/host-lost-grace")
    rig.lease_age = 19.0
    rig.start()
    await rig.quiet(0.1)
    assert rig.container(key) is RUNNING

    rig.lease_age = 21.0
    await until(lambda: rig.container(key) is not RUNNING, "it is stopped")
    assert rig.container(waits) is RUNNING

    rig.api.available = True
    status = await given_back(rig, key)
    assert status["lastResult"]["reason"] == "HostLost"


async def test_a_fence_that_has_begun_goes_through_though_the_lease_is_renewed(rig: Rig) -> None:
    """A Lease may be renewed long before the first list arrives."""
    key = await started_anew_while_nobody_answers(
        rig, command=["sh", "-c", "trap '' TERM; sleep 60"], stopGraceSeconds=1
    )
    rig.lease_age = 29.5
    await until(lambda: rig.noted(key).term_sent, "TERM is sent")
    rig.lease_age = 0.0

    await until(lambda: rig.container(key) is not RUNNING, "it is killed")
