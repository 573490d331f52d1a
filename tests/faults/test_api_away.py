"""The API server away for a minute: nothing is lost, nothing is restarted, all is told then."""

import time
from pathlib import Path
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


def test_tasks_end_while_the_api_server_is_away(
    system: FaultySystem, faulty_namespace: str, tmp_path: Path
) -> None:
    """Ends, codes and times are those of the containers; so it is with kills asked for before."""
    here = [{"hostPath": str(tmp_path), "mountPath": "/gate"}]
    with system.watch_containers() as watcher:
        for number in range(TASKS):
            gate = "while [ ! -e /gate/open ]; do sleep 1; done"
            script = f"{gate}; sleep {2 * number}; echo out; exit {number}"
            _run(system, faulty_namespace, f"ends-{number}", ["sh", "-c", script], mounts=here)
        for number in range(TASKS // 2):
            _run(system, faulty_namespace, f"killed-{number}", ["sleep", "600"])
        _run(system, faulty_namespace, "late", ["sleep", "600"], timeoutSeconds=45)
        for made in system.list(faulty_namespace):
            system.wait_condition(faulty_namespace, made["metadata"]["name"], "Started", "True", 60)
        for number in range(TASKS // 2):
            system.patch_spec(faulty_namespace, f"killed-{number}", desiredState="Killed")
        system.cluster.kill_apiserver()
        left = time.time()
        (tmp_path / "open").touch()
        time.sleep(AWAY_SECONDS)
        back = time.time()
        system.cluster.restart_apiserver()
        ended = eventually(lambda: _all_ended(system, faulty_namespace), "all ends are told")
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
                assert left < finished < back
            case "killed":
                assert told[0] == "Killed", seen["status"]
            case _:
                assert told[0] == "TimedOut", seen["status"]
                assert left < finished < back
    assert set(watcher.runs.values()) == {1}
    assert len(watcher.runs) == len(ended)


def _run(system: FaultySystem, namespace: str, name: str, command: list[str], **spec: Any) -> None:
    shared: Object = {"resources": {"cpu": 0}, "network": {"mode": "None"}, "stopGraceSeconds": 1}
    system.create(task(name, namespace, command=command, **shared, **spec))


def _all_ended(system: FaultySystem, namespace: str) -> dict[str, Object]:
    seen = {one["metadata"]["name"]: one for one in system.list(namespace)}
    left = [name for name, one in seen.items() if "finishedAt" not in one.get("status", {})]
    assert not left, left
    return seen
