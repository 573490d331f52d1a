"""What of an object the operator keeps in memory."""

import datetime as dt
from typing import Any

from support.tasks import task
from weir_crds.task import RESOURCE
from weir_kube.store import Key
from weir_operator.cache import SlimStore, slimmer
from weir_operator.task.decide import Standing, standing_of


def made(version: str, **status: Any) -> dict[str, Any]:
    found = task("t", "default", ttlSecondsAfterFinished=5)
    found["metadata"] |= {"uid": "u", "resourceVersion": version, "managedFields": [{"a": "lot"}]}
    return {**found, "status": status}


def test_an_unfinished_task_is_whole_but_for_the_api_servers_notes() -> None:
    given = made("1", nodeName="n1")
    kept = slimmer(RESOURCE)(given)
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in given["metadata"]
    assert kept["spec"] == given["spec"]
    assert kept["status"] == given["status"]


def test_a_finished_task_is_its_end() -> None:
    given = made("1", nodeName="n1", finishedAt="2026-11-22T10:00:00Z", conditions=[])
    kept = slimmer(RESOURCE)(given)
    assert kept == {
        "metadata": {"name": "t", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {"ttlSecondsAfterFinished": 5},
        "status": {"finishedAt": "2026-11-22T10:00:00Z"},
    }
    assert standing_of(kept, dt.datetime.now(dt.UTC)) is Standing.FINISHED


def test_the_store_keeps_slim_objects_however_they_come() -> None:
    store = SlimStore(RESOURCE)
    store.apply("ADDED", made("1"))
    first = store.get(Key("default", "t"))
    store.apply("MODIFIED", made("2", finishedAt="2026-11-22T10:00:00Z"))
    second = store.get(Key("default", "t"))
    assert first is not None
    assert second is not None
    assert "managedFields" not in first["metadata"]
    assert second["status"].keys() == {"finishedAt"}
    assert store.apply("MODIFIED", made("2")) is None
