"""The API server away for a minute: nothing is lost, nothing is restarted, all is told at once."""

import time
from typing import Any

import pytest

from support.faulty_system import FaultySystem
from support.polling import eventually
from support.tasks import condition, task
from weir_crds.times import parse_time

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Object = dict[str, Any]
AWAY_SECONDS = 60.0
TASKS = 20
_TOLD_SECONDS = 10.0


def test_tasks_end_while_the_api_server_is_away(
    system: FaultySystem, faulty_namespace: str
) -> None:
    """Ends, codes and times are those of the containers; so it is with kills asked for before."""
    with system.watch_containers() as watcher:
        for number in range(TASKS):
            script = f"sleep {5 + 2 * number}; echo out; exit {number}"
            _run(system, faulty_namespace, f"ends-{number}", ["sh", "-c", script])
        for number in range(TASKS // 2):
            _run(system, faulty_namespace, f"killed-{number}", ["sleep", "600"])
        _run(system, faulty_namespace, "late", ["sleep", "600"], timeoutSeconds=30)
        for made in system.list(faulty_namespace):
            system.wait_condition(faulty_namespace, made["metadata"]["name"], "Started", "True", 60)
        for number in range(TASKS // 2):
            system.patch_spec(faulty_namespace, f"killed-{number}", desiredState="Killed")
        system.cluster.kill_apiserver()
        left = time.time()
        time.sleep(AWAY_SECONDS)
        back = time.time()
        system.cluster.restart_apiserver()
        returned = time.monotonic()
        ended = eventually(
            lambda: _all_ended(system, faulty_namespace), "all ends are told", _TOLD_SECONDS + 20
        )
        took = time.monotonic() - returned
        system.wait_no_containers()

    for name, seen in ended.items():
        kind, _, code = name.partition("-")
        told = (condition(seen, "Succeeded")["reason"], seen["status"].get("exitCode"))
        finished = parse_time(seen["status"]["finishedAt"]).timestamp()
        match kind:
            case "ends":
                reason = "Completed" if code == "0" else "NonZeroExit"
                assert told == (reason, int(code)), seen["status"]
                assert seen["status"]["logs"]["stdoutBytes"] == 4
            case "killed":
                assert told[0] == "Killed", seen["status"]
            case _:
                assert told[0] == "TimedOut", seen["status"]
                assert left < finished < back
    meanwhile = [
        name
        for name, seen in ended.items()
        if left < parse_time(seen["status"]["finishedAt"]).timestamp() < back
    ]
    assert len(meanwhile) >= TASKS - 5
    assert set(watcher.runs.values()) == {1}
    assert len(watcher.runs) == len(ended)
    assert took < _TOLD_SECONDS


def _run(system: FaultySystem, namespace: str, name: str, command: list[str], **spec: Any) -> None:
    shared: Object = {"resources": {"cpu": 0}, "network": {"mode": "None"}, "stopGraceSeconds": 1}
    system.create(task(name, namespace, command=command, **shared, **spec))


def _all_ended(system: FaultySystem, namespace: str) -> dict[str, Object]:
    seen = {one["metadata"]["name"]: one for one in system.list(namespace)}
    left = [name for name, one in seen.items() if "finishedAt" not in one.get("status", {})]
    assert not left, left
    return seen
