"""Tasks brought to their end by a whole daemon, over a fake engine and a fake API server."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from support.aio import until
from support.daemon_rig import HOST_NAME, NAMESPACE, Rig
from support.tasks import BUSYBOX
from weir_crds.kinds import HOST, TASK
from weir_kube.kinds import CONFIGMAP, SECRET
from weir_nodedaemon.engines.port import InstanceState, RegistryLogin
from weir_nodedaemon.kinds.task import start

RUNNING, PAUSED = InstanceState.RUNNING, InstanceState.PAUSED


async def test_a_task_that_ends_at_once_costs_one_write(rig: Rig) -> None:
    key = rig.bind("short", command=["sh", "-c", "echo out; exit 3"], cpus=(1,))
    rig.start()

    status = await rig.finished(key)

    assert status["exitCode"] == 3
    assert status["logs"] == {"stdoutBytes": 4, "stderrBytes": 0, "truncated": False}
    assert rig.told(key, "Started") == ("True", "ContainerStarted")
    assert rig.told(key, "Succeeded") == ("False", "NonZeroExit")
    assert [w for w in rig.api.writes if w[0] == "Task"] == [("Task", key, "status")]
    await rig.quiet()


async def test_a_task_that_runs_for_a_while_costs_two_writes_and_none_while_it_runs(
    rig: Rig,
) -> None:
    key = rig.bind("long", command=rig.ends_when_told(0))
    rig.start()

    await until(lambda: rig.told(key, "Started")[0] == "True")
    assert rig.status(key)["phase"] == "Running"
    await rig.quiet()
    rig.tell_to_end(key)
    await rig.finished(key)

    assert len([w for w in rig.api.writes if w[0] == "Task"]) == 2


async def test_a_finished_task_is_never_written_again_not_even_by_a_new_agent(rig: Rig) -> None:
    key = rig.bind("done")
    rig.start()
    await rig.finished(key)

    await rig.kill()
    rig.start()

    await until(lambda: rig.daemon is not None and rig.daemon.engine_ready)
    await rig.quiet()


# case, spec, what conditions say, other fields of status
ENDS: list[tuple[str, dict[str, Any], dict[str, tuple[str, str]], dict[str, Any]]] = [
    (
        "missing program",
        {"command": ["/no/such"]},
        {"Started": ("False", "CreateFailed"), "Succeeded": ("False", "CreateFailed")},
        {"exitCode": 127},
    ),
    (
        "a mount that is not there",
        {"mounts": [{"hostPath": "/nonexistent", "mountPath": "/m", "readOnly": False}]},
        {"Started": ("False", "CreateFailed"), "Succeeded": ("False", "CreateFailed")},
        {},
    ),
    (
        "unknown image",
        {"image": "unknown/image:1"},
        {"Started": ("False", "ImagePullFailed"), "Succeeded": ("False", "ImagePullFailed")},
        {},
    ),
    (
        "not there, and not to be pulled",
        {"image": "localhost/none:1", "imagePullPolicy": "Never"},
        {"Succeeded": ("False", "ImagePullFailed")},
        {},
    ),
    (
        "pulled",
        {"image": "localhost/new:1"},
        {"Succeeded": ("True", "Completed")},
        {"exitCode": 0},
    ),
    (
        "pulled although it is there",
        {"imagePullPolicy": "Always"},
        {"Succeeded": ("True", "Completed")},
        {"exitCode": 0},
    ),
    (
        "out of memory",
        {"command": ["tail", "/dev/zero"], "resources": {"cpu": 0, "memory": "16Mi"}},
        {"Succeeded": ("False", "OOMKilled")},
        {"exitCode": 137, "signal": 9},
    ),
    (
        "timeout",
        {"command": ["sleep", "60"], "timeoutSeconds": 1},
        {"Succeeded": ("False", "TimedOut")},
        {"exitCode": 143, "signal": 15},
    ),
    (
        "signal",
        {"command": ["sh", "-c", "kill -11"]},
        {"Succeeded": ("False", "Signalled")},
        {"exitCode": 139, "signal": 11},
    ),
    (
        "killed before its start",
        {"desiredState": "Killed"},
        {"Succeeded": ("False", "Killed"), "Started": ("", "")},
        {"exitCode": None},
    ),
]


@pytest.mark.parametrize(
    ("spec", "told", "facts"), [case[1:] for case in ENDS], ids=[case[0] for case in ENDS]
)
async def test_each_end(
    rig: Rig, spec: dict[str, Any], told: dict[str, tuple[str, str]], facts: dict[str, Any]
) -> None:
    key = rig.bind("ends", **spec)
    rig.start()

    status = await rig.finished(key)

    assert {type: rig.told(key, type) for type in told} == told
    assert {name: status.get(name) for name in facts} == facts


async def test_kill_is_term_then_the_grace_then_kill(rig: Rig) -> None:
    script = "trap '' TERM; sleep 60"
    key = rig.bind("deaf", command=["sh", "-c", script], stopGraceSeconds=1)
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")

    rig.want(key, desiredState="Killed")
    await asyncio.sleep(0.5)
    assert rig.container(key) is RUNNING
    status = await rig.finished(key)

    assert (status["exitCode"], status["signal"]) == (137, 9)
    assert rig.told(key, "Succeeded") == ("False", "Killed")


async def test_a_grace_goes_on_after_a_restart(rig: Rig) -> None:
    """The deadline and the reason are noted, and TERM is not sent twice."""
    script = "trap '' TERM; sleep 60"
    key = rig.bind("deaf", command=["sh", "-c", script], stopGraceSeconds=2, timeoutSeconds=1)
    rig.start()
    await until(lambda: any(path.stat().st_size for path in rig.state_dir.glob("runs/*.json")))
    await asyncio.sleep(1.2)
    await rig.kill()
    rig.start()

    await rig.finished(key)

    assert rig.told(key, "Succeeded") == ("False", "TimedOut")


async def test_pause_and_resume(rig: Rig) -> None:
    key = rig.bind("stops", command=rig.ends_when_told(0), timeoutSeconds=4)
    rig.start()
    await until(lambda: rig.container(key) is RUNNING)

    rig.want(key, desiredState="Paused")
    await until(lambda: rig.told(key, "Paused") == ("True", "Paused"))
    assert rig.container(key) is PAUSED
    assert rig.told(key, "Started")[0] == "True"
    await rig.quiet(4.2)
    rig.want(key, desiredState="Running")
    await until(lambda: rig.container(key) is RUNNING)
    rig.tell_to_end(key)

    status = await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("True", "Completed")
    assert rig.told(key, "Paused") == ("False", "Resumed")
    assert status["exitCode"] == 0


async def test_paused_before_its_start_it_is_held_and_then_started(rig: Rig) -> None:
    key = rig.bind("held", desiredState="Paused", cpus=(0,))
    rig.start()
    await until(lambda: rig.told(key, "Paused") == ("True", "Paused"))
    await until(rig.is_ready)
    assert rig.container(key) is None
    await rig.quiet()

    rig.want(key, desiredState="Running")

    await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("True", "Completed")


async def test_kill_while_pulling_cancels_the_pull(rig: Rig) -> None:
    rig.world.pull_seconds = 60
    key = rig.bind("pulls", image="localhost/large:1")
    other = rig.bind("other")
    rig.start()
    await rig.finished(other)
    await until(lambda: rig.told(key, "Started") == ("False", "PullingImage"))

    rig.want(key, desiredState="Killed")

    status = await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("False", "Killed")
    assert "exitCode" not in status
    await until(lambda: not [t for t in asyncio.all_tasks() if t.get_name().startswith("pull ")])


async def test_one_pull_serves_all_who_wait(rig: Rig) -> None:
    rig.world.pull_seconds = 0.2
    keys = [rig.bind(f"p{n}", image="localhost/large:1") for n in range(5)]
    rig.start()
    await until(
        lambda: len([t for t in asyncio.all_tasks() if t.get_name().startswith("pull ")]) == 1
    )

    for key in keys:
        await rig.finished(key)


async def test_a_registry_that_does_not_answer_is_asked_again(rig: Rig) -> None:
    key = rig.bind("tries", image="127.0.0.1:9/none:1")
    rig.start()

    await until(lambda: rig.told(key, "Started") == ("False", "ImagePullFailed"))
    assert "finishedAt" not in rig.status(key)
    assert "refused" in rig.message(key, "Started")
    await rig.quiet()


async def test_secrets_and_config_maps_are_read_live(rig: Rig) -> None:
    secret = {"metadata": {"name": "s", "namespace": NAMESPACE}}
    config = {"metadata": {"name": "c", "namespace": NAMESPACE}, "data": {"k": "plain"}}
    rig.api.put(SECRET, {**secret, "data": {"k": base64.b64encode(b"hidden").decode()}})
    rig.api.put(CONFIGMAP, config)
    key = rig.bind(
        "reads",
        command=["sh", "-c", "echo $A $B $C"],
        env=[
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "C", "value": "value"},
        ],
    )
    rig.start()

    status = await rig.finished(key)

    assert status["logs"]["stdoutBytes"] == len("hidden plain value\n")
    assert "hidden" not in str(rig.task(key))


async def test_a_secret_that_may_not_be_read_names_the_missing_binding(rig: Rig) -> None:
    rig.api.forbidden.add(("Secret", NAMESPACE))
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    key = rig.bind("reads", env=[{"name": "A", "valueFrom": reference}])
    rig.start()

    await until(lambda: rig.told(key, "Started") == ("False", "SecretNotReadable"))
    assert (
        "kubectl create rolebinding weir-secrets --clusterrole=weir-secrets"
        " --serviceaccount=weir-system:weir-nodedaemon -n default"
    ) in rig.message(key, "Started")
    await rig.quiet()

    rig.api.forbidden.clear()
    await until(lambda: "there is no Secret s" in rig.message(key, "Started"))
    rig.api.put(SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE}, "data": {}})
    await until(lambda: "has no key k" in rig.message(key, "Started"))
    rig.api.put(SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE}, "data": {"k": "eA=="}})
    await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("True", "Completed")


async def test_what_waits_for_a_secret_holds_no_core_of_others(rig: Rig) -> None:
    """Nor is its Secret read before its cores are there."""
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    waits = rig.bind("waits", cpus=(1,), env=[{"name": "A", "valueFrom": reference}])
    rig.start()
    await until(lambda: rig.told(waits, "Started") == ("False", "SecretNotReadable"))

    other = rig.bind("other", cpus=(1,), command=["sleep", "60"])
    await until(lambda: rig.container(other) is RUNNING)
    reads = rig.api.reads["Secret"]
    await until(lambda: rig.told(waits, "Started") == ("False", "WaitingForCores"))
    await asyncio.sleep(1.5)
    assert rig.api.reads["Secret"] <= reads + 1


async def test_what_finds_no_secret_gives_its_host_back_after_a_while(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cores are for others then; the operator tries it again later."""
    monkeypatch.setattr(start, "_SECRET_WAIT_SECONDS", 0.5)
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    env = rig.bind("env", cpus=(1,), env=[{"name": "A", "valueFrom": reference}])
    pull = rig.bind("pull", image="team/app:1", imagePullSecrets=[{"name": "s"}])
    rig.start()

    for key, reason in ((env, "SecretNotReadable"), (pull, "PullSecretNotReadable")):
        await until(lambda key=key: rig.told(key, "Started") == ("False", "Stopped"), timeout=60)  # type: ignore[misc]
        assert "there is no Secret s" in rig.message(key, "Started")
        result = rig.status(key)["lastResult"]
        assert (result["runID"], result["reason"]) == (1, reason)
        assert "finishedAt" not in rig.status(key)
        assert rig.container(key) is None
    await rig.quiet()


async def test_an_image_is_pulled_with_the_tasks_own_login(rig: Rig) -> None:
    login = RegistryLogin("private.example", "me", "s3cret")
    rig.world.private["private.example/team/app"] = login
    auths = {"auths": {login.registry: {"username": login.username, "password": login.password}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(auths).encode()).decode()}
    image = {"image": "private.example/team/app"}
    without = rig.bind("without", **image)
    key = rig.bind("with", **image, imagePullSecrets=[{"name": "reg"}])
    rig.start()

    await rig.finished(without)
    assert rig.told(without, "Succeeded") == ("False", "ImagePullFailed")
    await until(lambda: rig.told(key, "Started") == ("False", "PullSecretNotReadable"))
    assert "there is no Secret reg" in rig.message(key, "Started")

    rig.api.put(SECRET, {"metadata": {"name": "reg", "namespace": NAMESPACE}, "data": data})
    await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("True", "Completed")
    assert "s3cret" not in str(rig.task(key))


async def test_a_host_that_asks_for_every_image_gives_nobody_what_another_pulled(rig: Rig) -> None:
    rig.defaults = replace(rig.defaults, always_pull=True)
    rig.world.private["private.example/team/app"] = RegistryLogin("private.example", "me", "p")
    rig.world.images.add("private.example/team/app")  # somebody else's login brought it
    free = rig.bind("free", image="private.example/team/app")
    never = rig.bind("never", imagePullPolicy="Never")
    public = rig.bind("public")
    rig.start()

    for key in (free, never):
        await rig.finished(key)
        assert rig.told(key, "Succeeded") == ("False", "ImagePullFailed")
    assert "the host asks for every image" in rig.message(never, "Succeeded")
    await rig.finished(public)
    assert rig.told(public, "Succeeded") == ("True", "Completed")


async def test_a_start_waits_for_its_cores_and_says_so(rig: Rig) -> None:
    first = rig.bind("first", command=["sleep", "60"], cpus=(0, 1))
    rig.start()
    await until(lambda: rig.container(first) is RUNNING)
    second = rig.bind("second", cpus=(1, 2))

    await until(lambda: rig.told(second, "Started") == ("False", "WaitingForCores"))
    assert rig.message(second, "Started").startswith("core 1 ")
    await rig.quiet()
    rig.want(first, desiredState="Killed")

    await rig.finished(first)
    await rig.finished(second)
    assert rig.world.violations == []


async def test_many_tasks_on_the_same_cores_never_run_together(rig: Rig) -> None:
    keys = [rig.bind(f"t{n}", command=["sleep", "0.02"], cpus=(n % 3,)) for n in range(24)]
    rig.start()

    for key in keys:
        await rig.finished(key)

    assert rig.world.violations == []
    assert set(rig.world.starts.values()) == {1}


async def test_shared_containers_leave_the_cores_of_others(rig: Rig) -> None:
    """The pool shrinks before an exclusive start, and grows after it."""
    shared = rig.bind("shared", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.container(shared) is RUNNING)
    assert rig.world.containers[rig.name(shared)].seen.cpus == (0, 1, 2, 3)

    pinned = rig.bind("pinned", command=["sleep", "60"], cpus=(1, 2))
    await until(lambda: rig.container(pinned) is RUNNING)
    assert rig.world.containers[rig.name(shared)].seen.cpus == (0, 3)
    assert rig.world.containers[rig.name(pinned)].seen.cpus == (1, 2)

    rig.want(pinned, desiredState="Killed")
    await rig.finished(pinned)
    await until(lambda: rig.world.containers[rig.name(shared)].seen.cpus == (0, 1, 2, 3))
    assert rig.world.violations == []


async def test_the_last_shared_core_is_not_given_away(rig: Rig) -> None:
    shared = rig.bind("shared", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.container(shared) is RUNNING)

    greedy = rig.bind("greedy", cpus=(0, 1, 2, 3))
    await until(lambda: rig.told(greedy, "Started") == ("False", "WaitingForCores"))
    rig.want(shared, desiredState="Killed")

    await rig.finished(greedy)


async def test_reserved_cores_are_not_in_the_pool(rig: Rig) -> None:
    rig.start()
    await until(lambda: rig.host() is not None and rig.daemon is not None and rig.daemon.has_synced)
    host = rig.host()
    assert host is not None
    host["spec"]["reserved"] = {"cpus": [0], "memory": "1Gi"}
    rig.api.put(HOST, host)
    await asyncio.sleep(0.05)

    key = rig.bind("shared", command=["sleep", "60"])
    await until(lambda: rig.container(key) is RUNNING)
    assert rig.world.containers[rig.name(key)].seen.cpus == (1, 2, 3)


async def test_memory_beyond_capacity_is_waited_for(rig: Rig) -> None:
    big = {"cpu": 0, "memory": "5Gi"}
    first = rig.bind("first", command=["sleep", "60"], resources=big)
    rig.start()
    await until(lambda: rig.container(first) is RUNNING)
    second = rig.bind("second", resources=big)

    await until(lambda: rig.told(second, "Started") == ("False", "WaitingForCores"))
    assert "memory" in rig.message(second, "Started")
    rig.want(first, desiredState="Killed")

    await rig.finished(second)


async def test_what_the_container_is_made_of(rig: Rig) -> None:
    key = rig.bind(
        "made",
        command=["sleep", "60"],
        args=["--now"],
        workingDir="/work",
        resources={"cpu": "500m", "memory": "1Gi", "shmSize": "64Mi"},
        network={"mode": "None"},
        stopGraceSeconds=7,
    )
    rig.api.change_status(TASK, key, numaNode=0)
    rig.start()
    await until(lambda: rig.container(key) is not None)

    made = rig.world.containers[rig.name(key)].spec
    assert made.image == BUSYBOX
    assert (made.command, made.args) == (("sleep", "60"), ("--now",))
    assert made.working_dir == "/work"
    assert (made.cpu_millis, made.memory_bytes, made.shm_bytes) == (500, 2**30, 64 * 2**20)
    assert made.memory_nodes == (0,)
    assert (made.network_mode, made.stop_grace_seconds) == ("None", 7)
    uid = rig.task(key)["metadata"]["uid"]
    assert dict(made.labels) == {
        "weir.dev/uid": uid,
        "weir.dev/namespace": NAMESPACE,
        "weir.dev/name": "made",
        "weir.dev/run": "1",
        "weir.dev/host": HOST_NAME,
        "weir.dev/kind": "Task",
        "weir.dev/cpu-pool": "shared",
    }


async def test_a_container_that_somebody_removed_is_a_lost_run(rig: Rig) -> None:
    """It is not started again: no run happens twice."""
    key = rig.bind("lost", command=["sleep", "60"])
    rig.start()
    await until(lambda: rig.told(key, "Started")[0] == "True")

    await rig.engine.remove(rig.name(key))

    await rig.finished(key)
    assert rig.told(key, "Succeeded") == ("False", "HostLost")
    assert rig.world.starts[rig.name(key)] == 1


async def test_a_conflict_means_to_look_again(rig: Rig) -> None:
    """Somebody else writes between our look and our write: both pieces of news stay."""
    key = rig.bind("contested")

    def interfere(_: Any) -> None:
        if "scheduledAt" not in rig.status(key):
            rig.api.change_status(TASK, key, scheduledAt="2026-11-22T10:00:00.000000Z")

    rig.api.before_write = interfere
    rig.start()

    status = await rig.finished(key)

    assert status["scheduledAt"] == "2026-11-22T10:00:00.000000Z"
    assert rig.told(key, "Succeeded") == ("True", "Completed")
    assert rig.world.starts[rig.name(key)] == 1


async def test_a_task_of_another_host_is_left_alone(rig: Rig) -> None:
    key = rig.bind("theirs")
    rig.api.change_status(TASK, key, nodeName="n2")
    rig.start()
    await until(rig.is_ready)

    await rig.quiet()

    assert rig.world.containers == {}
