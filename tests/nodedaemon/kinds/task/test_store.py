"""What the daemon keeps of the Tasks of its host."""

import datetime as dt
from typing import Any

from weir_crds.task import TaskSpec
from weir_kube.store import Key
from weir_nodedaemon.instances.identity import Moment
from weir_nodedaemon.instances.journal import JournalEntry
from weir_nodedaemon.kinds.task.plan import Act, plan
from weir_nodedaemon.kinds.task.store import TaskStore, has_ended, trimmed

KEY = Key("default", "t")


def task(version: int, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Task",
        "metadata": {
            "name": "t",
            "namespace": "default",
            "uid": "u",
            "resourceVersion": str(version),
            "managedFields": [{"manager": "kubectl"}],
            "labels": {"a": "b"},
        },
        "spec": {"image": "busybox", "command": ["true"], "stopGraceSeconds": 3},
        "status": {
            "nodeName": "n1",
            "runID": 1,
            "conditions": [
                {
                    "type": "Started",
                    "status": "True",
                    "reason": "ContainerStarted",
                    "message": "long",
                    "lastTransitionTime": "2026-11-22T10:00:00.000000Z",
                }
            ],
            **status,
        },
    }


def test_of_an_unfinished_task_all_is_kept_but_managed_fields() -> None:
    kept = trimmed(task(1))

    assert "managedFields" not in kept["metadata"]
    assert kept["spec"] == task(1)["spec"]
    assert kept["status"] == task(1)["status"]


def test_of_an_ended_task_enough_is_kept_to_clean_up_and_to_find_its_logs() -> None:
    kept = trimmed(task(1, finishedAt="2026-11-22T10:00:00.000000Z", exitCode=3, phase="Failed"))

    assert has_ended(kept)
    assert kept["status"]["runID"] == 1
    assert kept["status"]["conditions"] == [
        {"type": "Started", "status": "True", "reason": "ContainerStarted"}
    ]
    assert kept["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion"}
    assert trimmed(kept) == kept


def test_the_store_knows_uids_and_what_is_active() -> None:
    store = TaskStore("n1")
    store.apply("ADDED", task(1))
    assert store.active_keys() == [KEY]

    store.apply("MODIFIED", task(2, finishedAt="2026-11-22T10:00:00.000000Z"))
    assert store.active_keys() == []
    found = store.of_uid("u")
    assert found is not None
    assert "command" not in found["spec"]

    store.apply("MODIFIED", task(3, nodeName="n2"))
    assert store.of_uid("u") is None


def test_a_plan_for_an_ended_task_needs_no_more_than_is_kept() -> None:
    kept = trimmed(task(1, finishedAt="2026-11-22T10:00:00.000000Z"))
    spec = TaskSpec.model_validate(kept["spec"])

    now = Moment(dt.datetime(2026, 11, 22, tzinfo=dt.UTC), 0.0)
    todo = plan(spec, kept["status"], None, JournalEntry("Task", "default", "t"), now)
    assert todo.act is Act.NOTHING
