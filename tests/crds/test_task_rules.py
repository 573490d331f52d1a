"""What the API server accepts of a Task: at creation, as its spec changes, as its status does."""

import uuid
from typing import Any

import pytest

from support.api_client import Client
from support.tasks import task
from weir_crds.schema import Immutable, field_name, markers
from weir_crds.task import TaskSpec

OLD = "2026-11-22T10:00:00Z"
NEW = "2026-11-22T11:00:00Z"
SECRET_KEY = {"name": "s", "key": "k"}


@pytest.fixture
def new(privileged_namespace: str) -> dict[str, Any]:
    """A Task that could be created."""
    return task(f"t-{uuid.uuid4().hex[:8]}", privileged_namespace)


def created(admin: Client, obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    obj["spec"] |= spec
    assert admin.create(obj) is None
    return obj


def condition(type: str, status: str, reason: str) -> dict[str, str]:
    return {"type": type, "status": status, "reason": reason, "lastTransitionTime": OLD}


@pytest.mark.parametrize(
    ("sentence", "spec", "named"),
    [
        ("a negative cpu", {"resources": {"cpu": -1}}, "spec.resources.cpu"),
        ("a negative cpu as a string", {"resources": {"cpu": "-500m"}}, "spec.resources.cpu"),
        ("a cpu that is a float", {"resources": {"cpu": 0.5}}, "spec.resources.cpu"),
        ("a memory in no unit", {"resources": {"memory": "8GB"}}, "spec.resources.memory"),
        ("a memory of nothing", {"resources": {"memory": 0}}, "spec.resources.memory"),
        ("an empty command", {"command": []}, "spec.command"),
        ("a command without a program", {"command": [""]}, "spec.command"),
        ("a shell line", {"command": "echo hello"}, "spec.command"),
        ("a NUL in an argument", {"args": ["a\x00b"]}, "spec.args[0]"),
        ("no image", {"image": None}, "spec.image"),
        ("an empty image", {"image": ""}, "spec.image"),
        ("an unknown field", {"comand": ["true"]}, "spec.comand"),
        ("an unknown field further down", {"resources": {"cpus": 1}}, "spec.resources.cpus"),
        ("a relative working directory", {"workingDir": "data"}, "spec.workingDir"),
        ("a variable named twice", {"env": [{"name": "A"}, {"name": "A"}]}, "spec.env[1]"),
        ("a variable named A=B", {"env": [{"name": "A=B"}]}, "spec.env[0].name"),
        ("a value from two places",
         {"env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": SECRET_KEY}}]},
         "spec.env[0]"),
        ("a value from nowhere",
         {"env": [{"name": "A", "valueFrom": {}}]}, "spec.env[0].valueFrom"),
        ("both ways to ask for GPUs",
         {"resources": {"gpus": {"count": 1, "indices": [0]}}, "placement": {"hostName": "n1"}},
         "spec.resources.gpus"),
        ("neither way to ask for GPUs", {"resources": {"gpus": {}}}, "spec.resources.gpus"),
        ("these GPUs of any host",
         {"resources": {"gpus": {"indices": [0]}}}, "spec.resources.gpus"),
        ("the same GPU twice",
         {"resources": {"gpus": {"indices": [0, 0]}}, "placement": {"hostName": "n1"}},
         "spec.resources.gpus.indices[1]"),
        ("two mounts at one path",
         {"mounts": [{"hostPath": "/a", "mountPath": "/x"}, {"hostPath": "/b", "mountPath": "/x"}]},
         "spec.mounts[1]"),
        ("a network of no known kind", {"network": {"mode": "host"}}, "spec.network.mode"),
        ("no time at all", {"timeoutSeconds": 0}, "spec.timeoutSeconds"),
        ("a negative grace", {"stopGraceSeconds": -1}, "spec.stopGraceSeconds"),
        ("an unknown desired state", {"desiredState": "Stopped"}, "spec.desiredState"),
        ("a retry of what cannot be retried",
         {"retry": {"reasons": ["Killed"]}}, "spec.retry.reasons[0]"),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused_and_the_field_named(
    sentence: str, spec: dict[str, Any], named: str, admin: Client, new: dict[str, Any]
) -> None:
    new["spec"] |= spec
    verdict = admin.create(new)
    assert verdict is not None, sentence
    assert named in verdict, sentence


def test_an_empty_command_is_one_error(admin: Client, new: dict[str, Any]) -> None:
    new["spec"]["command"] = []
    verdict = admin.create(new)
    assert verdict is not None
    assert "evaluating rule" not in verdict


def test_a_task_needs_a_spec(admin: Client, new: dict[str, Any]) -> None:
    del new["spec"]
    assert "spec: Required value" in (admin.create(new) or "")


@pytest.mark.parametrize(
    ("sentence", "spec"),
    [
        ("nothing but an image, whose entrypoint runs", {"command": None}),
        ("half a core", {"resources": {"cpu": "500m"}}),
        ("half a core as a quoted number", {"resources": {"cpu": "0.5"}}),
        ("no core of its own", {"resources": {"cpu": 0}}),
        ("these GPUs of that host",
         {"resources": {"gpus": {"indices": [0, 1]}}, "placement": {"hostName": "n1"}}),
        ("an empty argument", {"args": [""]}),
        ("an argument of several lines", {"command": ["sh", "-c", "echo a\necho b\n"]}),
        ("a variable without a value", {"env": [{"name": "A"}]}),
    ],
)  # fmt: skip
def test_a_good_manifest_is_accepted(
    sentence: str, spec: dict[str, Any], admin: Client, new: dict[str, Any]
) -> None:
    new["spec"] |= spec
    assert admin.create(new) is None, sentence


def test_what_is_left_out_is_filled_in(admin: Client, new: dict[str, Any]) -> None:
    spec = admin.get(created(admin, new))["spec"]
    assert spec["resources"] == {"cpu": 1}
    assert spec["network"] == {"mode": "Bridge"}
    assert (spec["desiredState"], spec["approval"], spec["suspend"]) == (
        "Running",
        "Approved",
        False,
    )
    assert (spec["queue"], spec["priority"], spec["stopGraceSeconds"]) == ("default", 0, 10)
    assert (
        not {"env", "args", "placement", "timeoutSeconds", "ttlSecondsAfterFinished"} & spec.keys()
    )


def test_a_status_given_at_creation_is_dropped(admin: Client, new: dict[str, Any]) -> None:
    new["status"] = {"nodeName": "n1", "runID": 7}
    assert "status" not in admin.get(created(admin, new))


CHANGES: dict[str, Any] = {
    "image": "another",
    "imagePullPolicy": "Never",
    "imagePullSecrets": [{"name": "other"}],
    "command": ["false"],
    "args": ["x"],
    "workingDir": "/",
    "env": [{"name": "A", "value": "1"}],
    "resources": {"cpu": 2},
    "placement": {"hostName": "n1"},
    "mounts": [{"hostPath": "/a", "mountPath": "/a"}],
    "privileged": True,
    "network": {"mode": "None"},
    "queue": "another",
    "retry": {"limit": 1},
    "timeoutSeconds": 60,
    "stopGraceSeconds": 1,
    "onHostLost": "Fail",
    "hostLostGraceSeconds": 1,
}
VERBS: dict[str, Any] = {
    "priority": 5,
    "suspend": True,
    "desiredState": "Paused",
    "ttlSecondsAfterFinished": 60,
    "approval": "Rejected",  # from Pending
}


def test_every_field_is_a_verb_or_immutable() -> None:
    marked = {
        field_name(attribute)
        for attribute, info in TaskSpec.model_fields.items()
        if any(isinstance(marker, Immutable) for marker in markers(info))
    }
    assert marked == CHANGES.keys()
    assert {field_name(name) for name in TaskSpec.model_fields} == CHANGES.keys() | VERBS.keys()


@pytest.mark.parametrize("field", CHANGES)
def test_what_a_task_is_cannot_change(field: str, admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new)
    verdict = admin.patch(obj, {"spec": {field: CHANGES[field]}})
    assert f"spec: Forbidden: {field}: is immutable after creation" in (verdict or "")


@pytest.mark.parametrize("field", sorted(CHANGES.keys() - {"image"}))
def test_what_a_task_is_cannot_be_taken_away(
    field: str, admin: Client, new: dict[str, Any]
) -> None:
    obj = created(admin, new, **{field: CHANGES[field]})
    verdict = admin.patch(obj, {"spec": {field: None}})
    assert f"spec: Forbidden: {field}: is immutable after creation" in (verdict or "")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_may_change_after_creation(verb: str, admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new, approval="Pending")
    assert admin.patch(obj, {"spec": {verb: VERBS[verb]}}) is None
    assert admin.get(obj)["spec"][verb] == VERBS[verb]


@pytest.mark.parametrize("desired", ["Running", "Paused"])
def test_killed_is_final(desired: str, admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new)
    assert admin.patch(obj, {"spec": {"desiredState": "Killed"}}) is None
    verdict = admin.patch(obj, {"spec": {"desiredState": desired}})
    assert "spec: Forbidden: desiredState: Killed is final" in (verdict or "")
    assert admin.patch(obj, {"spec": {"desiredState": "Killed", "priority": 1}}) is None


@pytest.mark.parametrize("decision", ["Approved", "Rejected"])
def test_a_decision_is_made_once(decision: str, admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new, approval="Pending")
    assert admin.patch(obj, {"spec": {"approval": decision}}) is None
    for other in {"Pending", "Approved", "Rejected"} - {decision}:
        verdict = admin.patch(obj, {"spec": {"approval": other}})
        assert "spec: Forbidden: approval: only Pending may become" in (verdict or "")


def test_the_placement_may_change_while_suspended(admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new, suspend=True)
    released = {"spec": {"placement": {"hostName": "n2"}, "suspend": False}}
    assert admin.patch(obj, {"spec": {"placement": {"hostName": "n1"}}}) is None
    assert admin.patch(obj, released) is None  # as Kueue does it, in one write
    verdict = admin.patch(obj, {"spec": {"placement": {"hostName": "n1"}}})
    assert "spec: Forbidden: placement: " in (verdict or "")


def test_the_spec_cannot_be_removed(admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new)
    assert "spec: Required value" in (admin.patch(obj, {"spec": None}) or "")


def test_labels_may_change_and_an_unchanged_manifest_be_applied_again(
    admin: Client, new: dict[str, Any]
) -> None:
    obj = created(admin, new)
    assert admin.patch(obj, {"metadata": {"labels": {"a": "b"}}, "spec": new["spec"]}) is None


BOUND = {"nodeName": "n1", "runID": 1, "cpus": [0, 1]}
ENDED = {
    **BOUND,
    "finishedAt": OLD,
    "exitCode": 3,
    "conditions": [
        condition("Scheduled", "True", "Bound"),
        condition("Succeeded", "False", "NonZeroExit"),
    ],
}
RETRYING = {
    "lastResult": {"runID": 1, "reason": "NonZeroExit", "exitCode": 3, "finishedAt": OLD},
    "conditions": [
        condition("Scheduled", "True", "Bound"),
        condition("Started", "False", "Stopped"),
        condition("Succeeded", "Unknown", "Retrying"),
    ],
}
UNBOUND = {
    **dict.fromkeys(("nodeName", "cpus", "numaNode", "gpus", "scheduledAt", "startedAt")),
    **dict.fromkeys(("exitCode", "signal", "logs")),
    "runID": 2,
    "failures": 1,
    "conditions": [condition("Scheduled", "False", "BackOff")],
}


def test_a_run_goes_its_way(admin: Client, new: dict[str, Any]) -> None:
    obj = created(admin, new)
    for status in (
        {"phase": "Queued", "conditions": [condition("Scheduled", "False", "Queued")]},
        BOUND,
        {"startedAt": OLD, "phase": "Running"},
        RETRYING,
        UNBOUND,
        {"nodeName": "n2", "cpus": [3], "runID": 2},
        {"nodeName": None, "cpus": None, "runID": 3},  # lost with its host
        {"nodeName": "n1", "cpus": [3], "runID": 3},
        ENDED | {"nodeName": "n1", "runID": 3},
        {"observedGeneration": 2, "logs": {"stdoutBytes": 5}},
    ):
        assert admin.patch(obj, {"status": status}, "status") is None, status


def forbidden(field: str) -> str:
    """Return how a refused change of a status begins."""
    return f"status: Forbidden: {field}: "


@pytest.mark.parametrize(
    ("sentence", "before", "change", "named"),
    [
        ("a run's number does not shrink", BOUND | {"runID": 2}, {"runID": 1}, forbidden("runID")),
        ("a run's number does not vanish", BOUND, {"runID": None}, forbidden("runID")),
        ("a run stays on its host", BOUND, {"nodeName": "n2"}, forbidden("nodeName")),
        ("a run does not lose its host", BOUND, {"nodeName": None}, forbidden("nodeName")),
        ("an end does not move", ENDED, {"finishedAt": NEW}, forbidden("finishedAt")),
        ("an end does not vanish", ENDED, {"finishedAt": None}, forbidden("finishedAt")),
        ("an exit code stays", ENDED, {"exitCode": 0}, forbidden("finishedAt")),
        ("an exit code does not vanish", ENDED, {"exitCode": None}, forbidden("finishedAt")),
        ("a finished Task has no further run", ENDED, {"runID": 2}, forbidden("finishedAt")),
        ("a verdict stays", ENDED,
         {"conditions": [condition("Succeeded", "True", "Completed")]}, forbidden("conditions")),
        ("a verdict's reason stays", ENDED,
         {"conditions": [condition("Succeeded", "False", "OOMKilled")]}, forbidden("conditions")),
        ("a verdict does not vanish", ENDED, {"conditions": []}, forbidden("conditions")),
        ("a status does not vanish", ENDED, None, "status"),
        ("a time is a time", {}, {"startedAt": "today"}, "status.startedAt"),
        ("a time is no list", {}, {"startedAt": []}, "status.startedAt"),
        ("a condition has a reason", {}, {"conditions": [condition("Started", "True", "")]},
         "status.conditions[0].reason"),
        ("a condition stands once", {},
         {"conditions": [condition("Started", "True", "A"), condition("Started", "True", "B")]},
         "status.conditions[1]"),
    ],
)  # fmt: skip
def test_the_status_guards_itself(
    sentence: str,
    before: dict[str, Any],
    change: dict[str, Any] | None,
    named: str,
    admin: Client,
    new: dict[str, Any],
) -> None:
    obj = created(admin, new)
    assert admin.patch(obj, {"status": before}, "status") is None, sentence
    seen = admin.get(obj)
    verdict = admin.patch(obj, {"status": change}, "status")
    assert named in (verdict or ""), sentence
    assert admin.get(obj) == seen


def test_a_verdict_may_be_corrected_until_the_task_is_finished(
    admin: Client, new: dict[str, Any]
) -> None:
    obj = created(admin, new)
    retrying = {"conditions": [condition("Succeeded", "Unknown", "Retrying")]}
    assert admin.patch(obj, {"status": BOUND | retrying}, "status") is None
    assert admin.patch(obj, {"status": {"conditions": []}}, "status") is None


def test_a_finished_task_can_be_deleted_and_its_verbs_do_no_harm(
    admin: Client, new: dict[str, Any]
) -> None:
    obj = created(admin, new)
    assert admin.patch(obj, {"status": ENDED}, "status") is None
    assert admin.patch(obj, {"spec": {"desiredState": "Killed"}}) is None
    assert admin.delete(obj) is None
