import datetime as dt
from typing import Any

import pytest

from weir_cli.explain import explain, explain_host
from weir_crds.conditions import Reason
from weir_crds.retry import HELD_BACK

NOW = dt.datetime(2026, 11, 22, 10, 5, tzinfo=dt.UTC)
AT = "2026-11-22T10:00:00Z"


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": AT,
    }


HOST = {
    "metadata": {"name": "n1"},
    "spec": {"approval": "Approved"},
    "status": {
        "capacity": {"cpus": 4, "memory": "8Gi"},
        "conditions": [
            condition("Ready", "True", "DaemonReady"),
            condition("DockerReady", "True", "EngineReady"),
        ],
    },
}
QUEUED = condition("Scheduled", "False", "InsufficientCapacity", "0/1 hosts: 1 lack cpu (n1)")
STARTED = condition("Started", "True", "ContainerStarted")
STARTED_FALSE = (
    Reason.PULLING_IMAGE,
    Reason.IMAGE_PULL_FAILED,
    Reason.PULL_SECRET_NOT_READABLE,
    Reason.REGISTRY_LOGIN_FAILED,
    Reason.WAITING_FOR_CORES,
    Reason.SECRET_NOT_READABLE,
    Reason.ENGINE_UNAVAILABLE,
    Reason.CREATE_FAILED,
    Reason.STOPPED,
)


def task(
    name: str = "train", spec: dict[str, Any] | None = None, created: str = AT, **status: Any
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": name, "creationTimestamp": created},
        "spec": {"image": "busybox"} | (spec or {}),
        "status": status,
    }


def explained(obj: dict[str, Any], *others: dict[str, Any], hosts: list[Any] | None = None) -> str:
    return "\n".join(explain(obj, [HOST] if hosts is None else hosts, [obj, *others], NOW))


def test_a_task_that_waits_is_told_what_each_host_lacks_and_who_goes_first() -> None:
    holder = task("big", nodeName="n1", runID=1, cpus=[0, 1, 2])
    first = task("first", {"priority": 5}, created="2026-11-22T10:04:00Z")
    later = task("later", created="2026-11-22T10:04:00Z")
    paused = task("held", {"suspend": True, "priority": 9})
    waiting = task(spec={"resources": {"cpu": 2, "memory": "1Gi"}}, conditions=[QUEUED])
    assert explained(waiting, holder, first, later, paused).splitlines() == [
        "Task default/train has no host; it waits for 5m.",
        "  Scheduled=False InsufficientCapacity: 0/1 hosts: 1 lack cpu (n1)",
        "It asks for 2 cores of its own, 1Gi memory.",
        "HOST   ROOM   WHY",
        "n1     no     1 of 4 cores free, 2 needed",
        "Before it in the queue, by priority or age: default/first.",
    ]


def test_a_clock_that_is_behind_or_ahead_makes_no_nonsense() -> None:
    running = task(nodeName="n1", runID=1, startedAt=AT, conditions=[STARTED])
    for hours, age in ((-2, "0s"), (2, "125m")):
        now = NOW + dt.timedelta(hours=hours)
        assert explain(running, [HOST], None, now)[0].endswith(f"running on host n1 for {age}.")
        assert explain(task(), [HOST], [], now)[0].endswith(f"it waits for {age}.")
        assert f"(for {age})" in explain_host(HOST, [], now)[1]


def test_a_task_between_two_runs_is_told_how_the_last_one_ended_and_that_it_is_tried_again() -> (
    None
):
    message = "run 1: NonZeroExit, tried again at 2026-11-22T10:05:30.000000Z"
    waiting = task(
        spec={"retry": {"limit": 3, "backoffSeconds": 30}},
        runID=2,
        failures=1,
        lastResult={
            "runID": 1,
            "reason": "NonZeroExit",
            "nodeName": "n1",
            "exitCode": 3,
            "finishedAt": AT,
        },
        conditions=[condition("Scheduled", "False", "BackOff", message)],
    )
    assert explained(waiting).splitlines() == [
        "Task default/train has no host; it waits for 5m.",
        "Its run 1 ended 5m ago on host n1: NonZeroExit, exit code 3.",
        f"  Scheduled=False BackOff: {message}",
        "It is tried again after a pause: retry 1 of 3, each pause twice the last.",
        "What it printed: kubectl weir logs -n default train",
    ]


def test_a_task_that_runs_again_is_told_how_the_last_run_ended() -> None:
    last = {"runID": 1, "reason": "HostLost", "finishedAt": AT}
    running = task(nodeName="n1", runID=2, startedAt=AT, lastResult=last, conditions=[STARTED])
    assert "Its run 1 ended 5m ago: HostLost." in explained(running)


def test_a_task_for_which_there_is_room_is_told_so() -> None:
    assert explained(task()).splitlines()[-3:] == [
        "HOST   ROOM   WHY",
        "n1     yes    -",
        "There is room and nothing is before it: it should get its host any moment.",
    ]
    assert "no operator runs" in explained(task())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"suspend": True}, "spec.suspend is true"),
        ({"approval": "Pending"}, "it waits for a decision"),
        ({"desiredState": "Killed"}, "It is being killed"),
    ],
)
def test_a_task_that_is_held_back_is_told_by_what(spec: dict[str, Any], words: str) -> None:
    text = explained(task(spec=spec, conditions=[QUEUED]))
    assert words in text
    assert "HOST" not in text


def test_without_hosts_or_without_the_right_to_see_all_tasks() -> None:
    assert "There is no Host at all." in explained(task(), hosts=[])
    assert "You may not list the Tasks of all namespaces" in "\n".join(
        explain(task(), [HOST], None, NOW)
    )


def test_without_the_right_to_see_hosts() -> None:
    waits = "\n".join(explain(task(conditions=[QUEUED]), None, None, NOW))
    assert "InsufficientCapacity" in waits
    assert "You may not list Hosts" in waits
    runs = "\n".join(explain(task(nodeName="n1", conditions=[STARTED]), None, None, NOW))
    assert "has been running on host n1" in runs
    assert "You may not read Hosts" in runs
    assert "There is no Host" not in runs


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "1 core of its own"),
        ({"resources": {"cpu": 0}}, "a place on the shared cores"),
        (
            {
                "resources": {"cpu": "500m", "gpus": {"count": 2}},
                "placement": {"hostName": "n1", "numaNode": 0, "hostSelector": {"a": "b"}},
            },
            "500m cpu on the shared cores, 2 gpus, host n1, a host labelled a=b, NUMA node 0",
        ),
    ],
)
def test_what_it_asks_for(spec: dict[str, Any], expected: str) -> None:
    assert f"It asks for {expected}." in explained(task(spec=spec))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, "Its host has not said anything about it yet."),
        (
            {"conditions": [condition("Started", "False", "PullingImage")]},
            "The host is fetching its image.",
        ),
        (
            {"conditions": [condition("Started", "False", "SecretNotReadable", "bind the role")]},
            "  Started=False SecretNotReadable: bind the role",
        ),
        (
            {"conditions": [STARTED], "startedAt": AT},
            "Task default/train has been running on host n1 for 5m.",
        ),
        (
            {"conditions": [STARTED, condition("Paused", "True", "AsDesired")]},
            "Task default/train is paused on host n1",
        ),
    ],
)
def test_a_bound_task_is_told_how_far_it_is(status: dict[str, Any], words: str) -> None:
    assert words in explained(task(nodeName="n1", runID=1, scheduledAt=AT, **status))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"desiredState": "Killed"}, "It is being killed: TERM, and KILL 10 s later."),
        ({"suspend": True}, "It is being stopped: spec.suspend is true."),
        ({"desiredState": "Paused"}, "It is about to be paused"),
    ],
)
def test_a_running_task_is_told_what_is_wanted_of_it(spec: dict[str, Any], words: str) -> None:
    assert words in explained(task(spec=spec, nodeName="n1", conditions=[STARTED]))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "It waits until the host is back: spec.onHostLost is Wait."),
        ({"onHostLost": "Fail"}, "It ends as HostLost 5m after that: spec.onHostLost is Fail."),
        (
            {"onHostLost": "Restart", "hostLostGraceSeconds": 60},
            "It is run anew elsewhere 60s after that: spec.onHostLost is Restart.",
        ),
    ],
)
def test_a_task_whose_host_is_lost_is_told_what_comes_of_it(
    spec: dict[str, Any], words: str
) -> None:
    lost = HOST | {"status": {"conditions": [condition("Ready", "Unknown", "LeaseExpired")]}}
    running = task(spec=spec, nodeName="n1", runID=1, startedAt=AT, conditions=[STARTED])
    assert words in explained(running, hosts=[lost])
    assert words in explained(running, hosts=[])
    assert words not in explained(running)


def test_trouble_of_the_host_is_told() -> None:
    running = task(nodeName="n1", conditions=[STARTED])
    lost = {**HOST, "status": {"conditions": [condition("Ready", "Unknown", "LeaseExpired")]}}
    assert "Host n1 is not heard of for 5m." in explained(running, hosts=[lost])
    assert "There is no Host n1" in explained(running, hosts=[])


@pytest.mark.parametrize(
    ("reason", "more", "words"),
    [
        ("Completed", {"exitCode": 0}, "It succeeded"),
        ("NonZeroExit", {"exitCode": 3}, "exited with code 3."),
        ("Signalled", {"exitCode": 139, "signal": 11}, "Signal 11 (SIGSEGV) ended"),
        ("Signalled", {"exitCode": 255, "signal": 127}, "Signal 127 ended"),
        ("OOMKilled", {"exitCode": 137}, "spec.resources.memory (64Mi)"),
        ("TimedOut", {"exitCode": 143}, "spec.timeoutSeconds (90s)"),
        ("ImagePullFailed", {}, "Its image busybox could not be fetched."),
        ("HostLost", {}, "spec.onHostLost is Fail"),
        ("SomethingNew", {}, "It ended with reason SomethingNew."),
    ],
)
def test_an_ended_task_is_told_how(reason: str, more: dict[str, Any], words: str) -> None:
    spec = {"resources": {"memory": "64Mi"}, "timeoutSeconds": 90, "onHostLost": "Fail"}
    status = "True" if reason == "Completed" else "False"
    ended = [condition("Succeeded", status, reason, "said so")]
    facts: dict[str, Any] = {"nodeName": "n1", "runID": 2, "finishedAt": AT, "startedAt": AT}
    lines = explained(task(spec=spec, conditions=ended, **facts, **more))
    assert lines.startswith("Task default/train ended 5m ago on host n1, run 2.\n")
    assert words in lines
    assert f"  Succeeded={status} {reason}: said so" in lines
    assert ("kubectl weir logs" in lines) == (reason != "Completed")


def test_every_reason_of_an_end_has_words() -> None:
    for reason in (
        Reason.NON_ZERO_EXIT,
        Reason.OOM_KILLED,
        Reason.SIGNALLED,
        Reason.TIMED_OUT,
        Reason.KILLED,
        Reason.REJECTED,
        Reason.IMAGE_PULL_FAILED,
        Reason.CREATE_FAILED,
        Reason.HOST_LOST,
    ):
        ended = [condition("Succeeded", "False", reason)]
        assert "It ended with reason" not in explained(task(finishedAt=AT, conditions=ended))


@pytest.mark.parametrize("reason", sorted(HELD_BACK))
def test_a_task_that_found_no_secret_is_not_said_to_have_failed(reason: str) -> None:
    result = {"runID": 1, "reason": reason, "nodeName": "n1", "finishedAt": AT}
    scheduled = condition("Scheduled", "False", "BackOff", f"run 1: {reason}, tried again at T")
    text = explained(task(runID=2, lastResult=result, conditions=[scheduled]))
    assert "or there is none of that name" in text.replace("\n", " ")
    assert "retry 0 of 0" not in text
    assert "weir logs" not in text


@pytest.mark.parametrize("reason", sorted(STARTED_FALSE))
def test_every_reason_for_not_having_started_has_words(reason: str) -> None:
    started = condition("Started", "False", reason)
    text = explained(
        task(nodeName="n1", runID=1, scheduledAt=AT, conditions=[started])
    ).splitlines()
    assert len(text) == 3, "what it is, what that means, and the condition"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([condition("StartsFailing", "True", "RepeatedFailures")], "starts nothing"),
        ([condition("DiskPressure", "True", "DiskFull")], "has a full disk"),
        ([condition("DockerReady", "False", "EngineUnavailable")], "has no working Docker"),
        ([condition("Ready", "Unknown", "LeaseExpired")], "is not ready (LeaseExpired)"),
    ],
)
def test_a_host_that_takes_nothing_new_says_why(changes: list[Any], said: str) -> None:
    changed = {one["type"] for one in changes}
    kept = [one for one in HOST["status"]["conditions"] if one["type"] not in changed]
    host = HOST | {"status": HOST["status"] | {"conditions": kept + changes}}
    first = explain_host(host, [], NOW)[0]
    assert first.startswith(f"Host n1 takes no new Tasks: it {said}")


@pytest.mark.parametrize(("name", "room"), [("train", "no"), ("large", "yes")])
def test_a_host_that_is_kept_free_has_room_for_one_alone(name: str, room: str) -> None:
    kept = condition("KeptFree", "True", "DrainingHost", "default/large")
    host = HOST | {"status": HOST["status"] | {"conditions": [*HOST["status"]["conditions"], kept]}}
    lines = explained(task(name), hosts=[host]).splitlines()
    (row,) = [line for line in lines if line.startswith("n1")]
    assert row.split()[:2] == ["n1", room]
    assert ("is kept free for default/large" in row) == (room == "no")
    assert explain_host(host, [], NOW)[0].startswith("Host n1 takes no new Task but default/large")
