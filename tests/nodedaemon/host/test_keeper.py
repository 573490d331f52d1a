"""The daemon's own Host: made once, kept true, never rewritten."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from support.aio import until
from support.daemon_rig import HOST_NAME, Rig
from weir_crds import conditions
from weir_crds.conditions import ConditionType
from weir_crds.demand import Request
from weir_crds.facts import facts_of
from weir_crds.fit import is_available
from weir_crds.host import HostSpec, HostStatus
from weir_crds.kinds import HOST
from weir_kube.status import status_patch
from weir_kube.store import Key
from weir_nodedaemon.host.keeper import share_of
from weir_nodedaemon.host.status import (
    EngineState,
    HostIdentity,
    MachineState,
    host_changes,
    new_host,
)
from weir_nodedaemon.machine.capacity import MachineCapacity
from weir_nodedaemon.machine.gpus.port import Gpu
from weir_nodedaemon.machine.gpus.watch import GpuState
from weir_nodedaemon.machine.numa import NumaNode

NOW = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)
KEY = Key("", HOST_NAME)
IDENTITY = HostIdentity(
    name=HOST_NAME,
    host_id="11111111-2222-3333-4444-555555555555",
    endpoint={"url": "https://10.0.0.5:8443", "fingerprint": "sha256:" + "0" * 64},
    addresses=[{"type": "InternalIP", "address": "10.0.0.5"}],
    info={"bootID": "b", "kernel": "6.1"},
)
GIB = 2**30
CAPACITY = MachineCapacity((0, 1), 8 * GIB, (NumaNode(0, (0, 1), 8 * GIB, (10,)),))
DOCKER = EngineState("docker", "20.10", condition=ConditionType.DOCKER_READY)
UP = MachineState((replace(DOCKER, ready=True),), CAPACITY)
DOWN = MachineState((DOCKER,), CAPACITY)
APPROVED = {
    "type": "Approved",
    "status": "True",
    "reason": "Approved",
    "message": "",
    "lastTransitionTime": "2026-11-22T09:00:00.000000Z",
}


def host(**status: Any) -> dict[str, Any]:
    made = new_host(IDENTITY)
    made["metadata"]["generation"] = 1
    return {**made, "status": status}


def test_a_new_host_waits_for_approval() -> None:
    made = HostSpec.model_validate(new_host(IDENTITY)["spec"])

    assert made.approval == "Pending"
    assert made.host_id == IDENTITY.host_id


@pytest.mark.parametrize(
    ("engine", "status", "reasons"),
    [
        (UP, "True", {"Ready": "DaemonReady", "DockerReady": "EngineReady"}),
        (DOWN, "False", {"Ready": "EngineUnavailable", "DockerReady": "EngineUnavailable"}),
    ],
)
def test_the_status_fits_the_crd_and_says_how_the_engine_is(
    engine: MachineState, status: str, reasons: dict[str, str]
) -> None:
    changes = host_changes(host(conditions=[APPROVED]), IDENTITY, engine, NOW)

    HostStatus.model_validate(changes)
    told = {c["type"]: c for c in changes["conditions"]}
    assert told["Approved"] == APPROVED
    for type, reason in reasons.items():
        assert (told[type]["status"], told[type]["reason"]) == (status, reason)
    assert changes["engines"][0]["ready"] is (status == "True")


@pytest.mark.parametrize("engine", [UP, DOWN])
def test_told_twice_changes_nothing(engine: EngineState) -> None:
    told = host(**host_changes(host(), IDENTITY, engine, NOW))

    later = host_changes(told, IDENTITY, engine, NOW + dt.timedelta(hours=1))

    assert status_patch(told["status"], later) == {}


GPU = Gpu(0, "GPU-a", "A100", "0000:3b:00.0", 1, 80 * 2**30, "550")
GPU_CASES = [
    ("none", GpuState(), None),
    ("all there", GpuState((GPU,)), ("True", "GPUsReady", "")),
    ("one lost", GpuState((GPU,), ("gpu 1 (A100)",)), ("False", "GPULost", "lost: gpu 1 (A100)")),
    ("all lost", GpuState((), ("gpu 0 (A100)",)), ("False", "GPULost", "lost: gpu 0 (A100)")),
    ("the driver fails", GpuState(trouble="NVML failed"), ("False", "GPUsUnknown", "NVML failed")),
]


@pytest.mark.parametrize(
    ("gpus", "told"), [case[1:] for case in GPU_CASES], ids=[case[0] for case in GPU_CASES]
)
@pytest.mark.parametrize("before", [GpuState(), GpuState((GPU,)), GpuState(trouble="away")])
def test_gpus_are_told_and_only_those_that_may_be_given_to_work(
    before: GpuState, gpus: GpuState, told: tuple[str, str, str] | None
) -> None:
    known = host(**host_changes(host(), IDENTITY, replace(UP, gpus=before), NOW))

    changes = host_changes(known, IDENTITY, replace(UP, gpus=gpus), NOW)

    HostStatus.model_validate(changes)
    assert [gpu["uuid"] for gpu in changes["capacity"]["gpus"]] == [g.uuid for g in gpus.gpus]
    found = conditions.get(changes["conditions"], "GPUReady")
    assert (found and (found["status"], found["reason"], found["message"])) == told
    known["status"].update(changes)
    assert (
        status_patch(known["status"], host_changes(known, IDENTITY, replace(UP, gpus=gpus), NOW))
        == {}
    )


def test_an_engine_that_is_back_takes_its_message_away() -> None:
    told = host(**host_changes(host(), IDENTITY, DOWN, NOW))
    assert "message" in told["status"]["engines"][0]

    assert "message" not in host_changes(told, IDENTITY, UP, NOW)["engines"][0]


def test_what_is_reserved_is_not_for_work() -> None:
    reserved = {"spec": {"reserved": {"cpus": [0], "memory": "1Gi"}}}

    share = share_of(reserved, CAPACITY)

    assert (share.cpus, share.memory_bytes) == ({0, 1}, 8 * GIB)
    assert share.reserved_cpus == {0}
    assert share.reserved_memory_bytes == 2**30
    assert share_of({"spec": {}}, CAPACITY).reserved_cpus == frozenset()


async def test_the_host_is_made_told_and_then_left_alone(rig: Rig) -> None:
    rig.start()
    await until(rig.is_ready)

    made = rig.host()
    assert made is not None
    assert made["status"]["capacity"] == {**rig.capacity.as_status(), "gpus": []}
    assert made["status"]["observedGeneration"] == 1
    assert rig.api.writes == [("Host", KEY, None), ("Host", KEY, "status")]
    await rig.quiet(0.8)  # longer than a resync


async def test_a_restart_writes_nothing(rig: Rig) -> None:
    rig.start()
    await until(rig.is_ready)
    await rig.kill()
    before = list(rig.api.writes)

    daemon = rig.start()
    await until(lambda: daemon.engine_ready)
    await rig.quiet(0.8)

    assert rig.api.writes == before


async def test_a_ready_that_somebody_else_changed_is_set_again(rig: Rig) -> None:
    """As the operator does when it has not seen the Lease for a while."""
    rig.start()
    await until(rig.is_ready)
    made = rig.host()
    assert made is not None
    conditions = made["status"]["conditions"]
    for condition in conditions:
        if condition["type"] == "Ready":
            condition.update(status="Unknown", reason="LeaseExpired")

    rig.api.change_status(HOST, KEY, conditions=[*conditions, APPROVED])

    await until(rig.is_ready)
    assert rig.host_told("Approved") == ("True", "Approved")
    await rig.quiet()


async def test_a_host_that_was_deleted_is_made_again(rig: Rig) -> None:
    rig.start()
    await until(rig.is_ready)

    rig.api.remove(HOST, KEY)

    await until(rig.is_ready)


async def test_the_host_of_another_machine_is_not_touched(rig: Rig) -> None:
    """Two machines of one name must not both act on its Tasks."""
    theirs = new_host(IDENTITY)
    theirs["spec"]["hostID"] = "99999999-0000-0000-0000-000000000000"
    rig.api.put(HOST, theirs)
    key = rig.bind("theirs")

    error = await rig.failure()

    assert "belongs to the machine with hostID 99999999" in error
    assert rig.api.writes == []
    assert rig.container(key) is None


async def test_a_host_that_a_runner_of_another_make_reports_for_is_not_touched(rig: Rig) -> None:
    rig.api.put(HOST, {"metadata": {"name": KEY.name}, "spec": {"external": True}})

    error = await rig.failure()

    assert "is external" in error
    assert rig.api.writes == []


TROUBLES = [
    ("full_disks", "DiskPressure", "DiskFull", "DiskHasRoom"),
    ("start_failures", "StartsFailing", "RepeatedFailures", "StartSucceeded"),
]


@pytest.mark.parametrize(("field", "type", "begun", "over"), TROUBLES)
def test_trouble_is_told_and_taken_back_and_not_mentioned_where_it_never_was(
    field: str, type: str, begun: str, over: str
) -> None:
    never = host_changes(host(), IDENTITY, UP, NOW)
    bad = host_changes(host(), IDENTITY, replace(UP, **{field: "because"}), NOW)
    relieved = host_changes(host(conditions=bad["conditions"]), IDENTITY, UP, NOW)

    told = [
        [
            (c["status"], c["reason"], c["message"])
            for c in changes["conditions"]
            if c["type"] == type
        ]
        for changes in (never, bad, relieved)
    ]
    assert told == [[], [("True", begun, "because")], [("False", over, "")]]


@pytest.mark.parametrize(("field", "type", "_begun", "_over"), TROUBLES)
def test_a_host_in_trouble_gets_no_new_work(field: str, type: str, _begun: str, _over: str) -> None:
    approved = {"approval": "Approved"}
    sick = replace(UP, **{field: "because"})
    good = host(**host_changes(host(), IDENTITY, UP, NOW)) | {"spec": approved}
    bad = host(**host_changes(host(), IDENTITY, sick, NOW)) | {"spec": approved}
    assert is_available(Request(), facts_of(good))
    assert not is_available(Request(), facts_of(bad)), type


async def test_a_core_that_the_engine_lacks_is_not_offered_and_not_used(rig: Rig) -> None:
    """One that went offline, or that Docker's own cpuset does not have."""
    shared = rig.bind("shared", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.told(shared, "Started")[0] == "True")
    assert _cores(rig) == [0, 1, 2, 3]

    rig.world.cpus = (0, 1)
    await until(lambda: _cores(rig) == [0, 1])
    await until(lambda: rig.world.containers[rig.name(shared)].seen.cpus == (0, 1))

    alone = rig.bind("alone", cpus=(1,))
    await rig.finished(alone)
    assert rig.told(alone, "Succeeded") == ("True", "Completed")

    rig.world.cpus = (0, 1, 2, 3)
    await until(lambda: _cores(rig) == [0, 1, 2, 3])


def _cores(rig: Rig) -> list[int]:
    made = rig.host() or {}
    cores: list[int] = made["status"]["capacity"]["numa"][0]["cpus"]
    return cores
