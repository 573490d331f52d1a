"""A Docker whose socket accepts and never answers: nothing is judged, and nothing piles up."""

import time

import psutil
import pytest

from support.faulty_system import FaultySystem
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_SHARED = {"resources": {"cpu": 0}, "network": {"mode": "None"}}


def test_docker_hangs_and_goes_on(system: FaultySystem, faulty_namespace: str) -> None:
    """The Host and who waits for a start say so; what ran and ended meanwhile ends as it did."""
    (host,) = system.hosts
    path = f"/apis/weir.dev/v1alpha1/hosts/{host}"
    with system.watch_containers() as watcher:
        system.create(
            task("ends", faulty_namespace, command=["sh", "-c", "sleep 3; exit 3"], **_SHARED)
        )
        system.wait_condition(faulty_namespace, "ends", "Started", "True")
        daemon = psutil.Process(system.process("daemon").pid)
        threads, files = daemon.num_threads(), daemon.num_fds()

        system.loop.call(system.docker.hold)
        held = time.monotonic()
        for number in range(10):
            system.create(task(f"waits-{number}", faulty_namespace, **_SHARED))
        for number in range(10):
            started = system.wait_condition(faulty_namespace, f"waits-{number}", "Started", "False")
            assert started["reason"] == "EngineUnavailable"
        eventually(
            lambda: condition(system.cluster.admin.json("GET", path), "Ready")["status"] == "False",
            "the Host says so",
        )
        assert time.monotonic() - held > 3
        assert "finishedAt" not in system.get(faulty_namespace, "ends")["status"]
        assert daemon.num_threads() <= threads + 40
        assert daemon.num_fds() <= files + 60

        system.loop.call(system.docker.release)
        ended = system.wait_finished(faulty_namespace, "ends")
        for number in range(10):
            waited = system.wait_finished(faulty_namespace, f"waits-{number}")
            assert condition(waited, "Succeeded")["reason"] == "Completed"
        system.wait_no_containers()

    assert ended["status"]["exitCode"] == 3
    assert set(watcher.runs.values()) == {1}
    assert len(watcher.runs) == 11
