"""A Task as clients see it, and what they send as a Task."""

import datetime as dt
from typing import Any

import pytest

from support.rest_tasks import TIME, WIRE_TIME, condition, ended, id_of, made_task, running
from weir_api.access.identity import SYSTEM, Identity, Role
from weir_api.errors import AccessDeniedError, BadRequestError
from weir_api.hostapi.environments import Environments
from weir_api.hostapi.tasks.request import (
    TaskDefaults,
    digest_of,
    draft_of,
    keyed_name,
    parse_target,
)
from weir_api.hostapi.tasks.view import status_of, submitted_at, task_out
from weir_api.hostapi.tasks.wire import Status, SubmitRequest, TaskOut
from weir_crds import names
from weir_crds.task import Task

NOW = dt.datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=dt.UTC)
USER = Identity(12, "ann", Role.USER, user_name="ann")
OPERATOR = Identity(14, "olga", Role.OPERATOR, user_name="olga")
DEFAULTS = TaskDefaults(environments=Environments({"base": "debian:12"}, "base"))
USERNAMES = {12: "ann", 14: "olga"}


def shown(task: dict[str, Any], *, secrets: bool = True) -> dict[str, Any]:
    word = status_of(task["spec"], task["status"], host_ready=True)
    return task_out(task, word, USERNAMES.get, secrets=secrets)


def made_of(identity: Identity = SYSTEM, target: str | None = None, **body: Any) -> dict[str, Any]:
    draft = draft_of(SubmitRequest.model_validate(body), identity, DEFAULTS, NOW)
    if target is not None:
        draft = draft.at(parse_target(target))
    return draft.body("t1", NOW)


def test_every_key_is_there_and_of_its_type() -> None:
    for status in ({}, running(), ended()):
        row = shown(made_task(status=status))
        assert list(row) == list(TaskOut.model_fields)
        assert len(row) == 36
        assert TaskOut.model_validate(row, strict=False).model_dump(mode="json") == row


def test_a_task_that_runs() -> None:
    task = made_task(
        owner=12,
        spec={
            "command": ["python", "train.py"],
            "args": ["--lr", "0.1"],
            "env": [{"name": "SEED", "value": "7"}],
            "resources": {"cpu": 2, "memory": "8Gi", "gpus": {"indices": [1]}},
            "placement": {"hostName": "n1", "numaNode": 0},
            "mounts": [{"hostPath": "/data", "mountPath": "/mnt", "readOnly": True}],
        },
        status=running(gpus=[{"index": 1, "uuid": "GPU-1"}]),
        annotations={names.ANNOTATION_ENVIRONMENT: "torch"},
        labels={names.LABEL_BATCH: "123"},
    )
    number = str(id_of("t1"))
    assert shown(task) == {
        "task_id": number,
        "task_type": "command",
        "batch_id": "123",
        "name": None,
        "owner_id": 12,
        "owner_username": "ann",
        "approval_status": None,
        "approved_by_id": None,
        "approved_by_username": None,
        "approved_at": None,
        "rejection_reason": None,
        "command": "python train.py",
        "arguments": ["--lr", "0.1"],
        "env_vars": {"SEED": "7"},
        "required_cores": 2,
        "required_gpus": [1],
        "required_memory_bytes": 8 * 2**30,
        "target_numa_node_id": 0,
        "status": "running",
        "assigned_node": "n1",
        "container_name": "torch",
        "docker_image_name": "busybox",
        "docker_privileged": False,
        "docker_mount_dirs": ["/data:/mnt:ro"],
        "ssh_port": None,
        "vps_backend": "docker",
        "vm_image": None,
        "vm_disk_size": None,
        "vm_ip": None,
        "stdout_path": f"/api/tasks/{number}/stdout",
        "stderr_path": f"/api/tasks/{number}/stderr",
        "exit_code": None,
        "error_message": None,
        "submitted_at": "2026-11-22T10:00:00.000000+00:00",
        "started_at": WIRE_TIME,
        "completed_at": None,
    }


def test_values_of_the_environment_are_hidden() -> None:
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    task = made_task(spec={"env": [{"name": "A", "value": "1"}, {"name": "B"}, secret]})
    assert shown(task)["env_vars"] == {"A": "1", "B": "", "TOKEN": "***"}
    assert shown(task, secrets=False)["env_vars"] == {"A": "***", "B": "", "TOKEN": "***"}


@pytest.mark.parametrize(
    ("status", "exit_code", "message"),
    [
        ({}, None, None),
        (running(), None, None),
        (ended(exitCode=0), 0, None),
        (ended("NonZeroExit", "exit code 3", exitCode=3), 3, "exit code 3"),
        (ended("OOMKilled", "", exitCode=137), 137, "OOMKilled"),
        (ended("ImagePullFailed", "no such image"), -1, "no such image"),
        (ended("HostLost", "nothing heard of n1"), -1, "nothing heard of n1"),
        (ended("Killed", "killed while it had no host"), None, "killed while it had no host"),
        (
            {
                "nodeName": "n1",
                "conditions": [condition("Started", "False", "ImagePullFailed", "no such image")],
            },
            None,
            "no such image",
        ),
        (
            {"nodeName": "n1", "conditions": [condition("Started", "False", "PullingImage", "…")]},
            None,
            None,
        ),
        (
            {"conditions": [condition("Scheduled", "False", "Unschedulable", "0/1 hosts: …")]},
            None,
            "0/1 hosts: …",
        ),
        ({"conditions": [condition("Scheduled", "False", "Queued", "…")]}, None, None),
    ],
)
def test_how_it_went(status: dict[str, Any], exit_code: int | None, message: str | None) -> None:
    row = shown(made_task(status=status))
    assert (row["exit_code"], row["error_message"]) == (exit_code, message)


def test_a_decision() -> None:
    notes = {
        names.ANNOTATION_DECIDED_BY: "14",
        names.ANNOTATION_DECIDED_AT: TIME,
        names.ANNOTATION_DECISION_MESSAGE: "too large",
    }
    keys = [
        "approval_status",
        "approved_by_id",
        "approved_by_username",
        "approved_at",
        "rejection_reason",
    ]
    row = shown(made_task(spec={"approval": "Rejected"}, annotations=notes))
    assert [row[key] for key in keys] == ["rejected", 14, "olga", WIRE_TIME, "too large"]
    row = shown(made_task(annotations=notes))
    assert [row[key] for key in keys] == ["approved", 14, "olga", WIRE_TIME, None]
    row = shown(made_task(spec={"approval": "Pending"}))
    assert [row[key] for key in keys] == ["pending", None, None, None, None]


@pytest.mark.parametrize("text", ["team-a", "-1", "", "٣", "1e3", "9" * 17])
def test_owners_that_rest_did_not_make(text: str) -> None:
    row = shown(made_task(owner=text, annotations={names.ANNOTATION_DECIDED_BY: text}))
    assert (row["owner_id"], row["owner_username"], row["approved_by_id"]) == (None, None, None)


def test_an_owner_who_is_gone() -> None:
    row = shown(made_task(owner=99))
    assert (row["owner_id"], row["owner_username"]) == (99, None)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-99-99T00:00:00Z", "x" * 26 + "Z"])
def test_times_that_nobody_checked(text: str) -> None:
    notes = {names.ANNOTATION_DECIDED_AT: text, names.ANNOTATION_SUBMITTED_AT: text}
    row = shown(made_task(annotations=notes))
    assert row["approved_at"] is None
    assert row["submitted_at"] == "2026-11-22T10:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        (TIME, WIRE_TIME),
        ("2026-11-22T10:00:05Z", "2026-11-22T10:00:05.000000+00:00"),
        ("2026-11-22T10:00:06Z", "2026-11-22T10:00:00.000000+00:00"),
        ("2020-11-22T10:00:00Z", "2026-11-22T10:00:00.000000+00:00"),
    ],
)
def test_the_submission_is_told_to_the_microsecond_if_the_clocks_agree(
    noted: str, told: str
) -> None:
    metadata = {
        "creationTimestamp": "2026-11-22T10:00:00Z",
        "annotations": {names.ANNOTATION_SUBMITTED_AT: noted},
    }
    assert submitted_at(metadata) == told


def test_the_least_submission() -> None:
    task = made_of(command="sleep 5")
    assert task["spec"] == {
        "image": "debian:12",
        "workingDir": "/shared",
        "resources": {"cpu": 1},
        "command": ["sleep", "5"],
    }
    assert task["metadata"]["labels"] == {}
    assert names.ANNOTATION_DECIDED_AT not in task["metadata"]["annotations"]


def test_all_of_a_submission() -> None:
    task = made_of(
        OPERATOR,
        "n1:1::0,2",
        command="python",
        arguments=["train.py"],
        env_vars={"B": "2", "A": ""},
        required_cores=0,
        required_memory_bytes=2**30,
        registry_image="python:3.12",
        privileged=True,
        additional_mounts=["/a:/b", "/c:/d:ro"],
        ip_reservation_token="x",
        unknown=1,
    )
    assert task["spec"] == {
        "image": "python:3.12",
        "workingDir": "/shared",
        "resources": {"cpu": 0, "memory": 2**30, "gpus": {"indices": [0, 2]}},
        "command": ["python"],
        "args": ["train.py"],
        "env": [{"name": "B", "value": "2"}, {"name": "A", "value": ""}],
        "mounts": [
            {"hostPath": "/a", "mountPath": "/b"},
            {"hostPath": "/c", "mountPath": "/d", "readOnly": True},
        ],
        "privileged": True,
        "placement": {"hostName": "n1", "numaNode": 1},
    }
    assert task["metadata"]["labels"] == {names.LABEL_OWNER: "14"}
    notes = task["metadata"]["annotations"]
    assert notes[names.ANNOTATION_DECIDED_BY] == "14"
    assert notes[names.ANNOTATION_DECIDED_AT] == TIME
    Task.model_validate(task)


@pytest.mark.parametrize("asked", [{"privileged": True}, {"additional_mounts": ["/a:/b"]}])
def test_power_over_the_host_is_an_operators_to_ask_for(asked: dict[str, Any]) -> None:
    with pytest.raises(AccessDeniedError, match="operator"):
        made_of(USER, command="true", **asked)
    made_of(OPERATOR, command="true", **asked)
    made_of(USER, command="true", privileged=False, additional_mounts=[])


def test_a_user_needs_an_approval() -> None:
    task = made_of(USER, command="true")
    assert task["spec"]["approval"] == "Pending"
    assert names.ANNOTATION_DECIDED_AT not in task["metadata"]["annotations"]


def test_an_environment() -> None:
    task = made_of(container_name="my-env")
    assert task["spec"]["image"] == "kohakuriver/my-env:base"
    assert task["spec"]["imagePullPolicy"] == "Never"
    assert task["metadata"]["annotations"][names.ANNOTATION_ENVIRONMENT] == "my-env"


@pytest.mark.parametrize("mount", ["", "/a", "a:/b", "/a:b", "/a:/b:rx", "/a:/b:ro:x"])
def test_no_mount(mount: str) -> None:
    with pytest.raises(BadRequestError):
        made_of(additional_mounts=[mount])


def test_the_shared_folder() -> None:
    shared = TaskDefaults(shared_dir="/srv/share")
    draft = draft_of(SubmitRequest(), SYSTEM, shared, NOW)
    assert draft.spec["mounts"] == [{"hostPath": "/srv/share", "mountPath": "/shared"}]
    other = SubmitRequest(additional_mounts=["/other:/shared:ro"])
    assert draft_of(other, SYSTEM, shared, NOW).spec["mounts"] == [
        {"hostPath": "/other", "mountPath": "/shared", "readOnly": True}
    ]


def test_what_is_sent_is_shown() -> None:
    sent = {
        "command": "python train.py | tee log",
        "arguments": ["a b"],
        "env_vars": {"A": "1"},
        "required_cores": 3,
        "required_memory_bytes": 12345678,
        "container_name": "torch",
        "additional_mounts": ["/a:/b:ro"],
        "privileged": True,
    }
    task = made_of(OPERATOR, "n1:0::1", **sent)
    task["metadata"] |= {"uid": "u", "creationTimestamp": "2026-11-22T10:00:00Z"}
    row = shown({**task, "status": {}})
    for key in ("command", "arguments", "env_vars", "required_cores", "required_memory_bytes"):
        assert row[key] == sent[key]
    assert row["container_name"] == "torch"
    assert row["docker_mount_dirs"] == ["/a:/b:ro"]
    assert row["docker_privileged"] is True
    assert row["required_gpus"] == [1]
    assert row["target_numa_node_id"] == 0
    assert row["assigned_node"] == "n1"
    assert row["approval_status"] == "approved"
    assert row["status"] == Status.ASSIGNING
    assert row["submitted_at"] == WIRE_TIME


def test_names_by_key() -> None:
    name = keyed_name("12", "k", 0)
    assert name == keyed_name("12", "k", 0)
    others = {keyed_name("13", "k", 0), keyed_name(None, "k", 0), keyed_name("12", "l", 0)}
    others |= {keyed_name("12", "k", 1), name}
    assert len(others) == 5
    assert all(len(other) == 34 for other in others)


def test_equal_requests_have_one_digest() -> None:
    assert digest_of(SubmitRequest(command="a")) == digest_of(
        SubmitRequest.model_validate({"command": "a", "required_cores": "1", "unknown": 1})
    )
    assert digest_of(SubmitRequest(command="a")) != digest_of(SubmitRequest(command="b"))
