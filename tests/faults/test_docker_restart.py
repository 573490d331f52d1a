"""What dockerd's end does to Tasks, with live-restore and without: docs/operations.md tells it."""

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devcluster import dockerd
from support.cluster import Cluster
from support.faulty_system import FaultySystem
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ENDS = [signal.SIGTERM, signal.SIGKILL]


def end(world: Cluster, how: signal.Signals) -> None:
    """End dockerd, so that it stays away."""
    process = world.runner["dockerd"]
    process.kill() if how is signal.SIGKILL else process.stop()


def start(world: Cluster, own_docker: str) -> None:
    world.runner["dockerd"].start()
    eventually(lambda: dockerd.answers(own_docker), "dockerd answers", 60)


@pytest.fixture
def no_live_restore(world: Cluster, own_docker: str) -> Iterator[None]:
    """Docker as it is where nobody configured it."""
    path = world.state.root / "docker" / "daemon.json"
    before = path.read_text()
    configure(world, own_docker, json.dumps(json.loads(before) | {"live-restore": False}))
    yield
    configure(world, own_docker, before)


def configure(world: Cluster, own_docker: str, text: str) -> None:
    (world.state.root / "docker" / "daemon.json").write_text(text)
    end(world, signal.SIGTERM)
    start(world, own_docker)


def run(system: FaultySystem, namespace: str, name: str, script: str) -> dict[str, Any]:
    obj = task(name, namespace, command=["sh", "-c", script], resources={"cpu": "100m"})
    created = system.create(obj)
    system.wait_condition(namespace, name, "Started", "True")
    return created


@pytest.mark.parametrize("how", ENDS, ids=lambda how: how.name)
def test_with_live_restore_what_runs_goes_on(
    system: FaultySystem,
    world: Cluster,
    own_docker: str,
    faulty_namespace: str,
    how: signal.Signals,
) -> None:
    """Exit codes are true; the output of what ran on is whole."""
    lines = "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 1; done; exit 4"
    with system.watch_containers() as watcher:
        run(system, faulty_namespace, "ends", "sleep 4; exit 3")
        run(system, faulty_namespace, "goes-on", lines)
        end(world, how)
        time.sleep(5)
        start(world, own_docker)
        ended = [system.wait_finished(faulty_namespace, name) for name in ("ends", "goes-on")]

    assert [seen["status"]["exitCode"] for seen in ended] == [3, 4]
    printed = system.kubectl_weir("logs", "-n", faulty_namespace, "goes-on")
    assert printed.split() == [str(number).encode() for number in range(1, 11)]
    assert set(watcher.starts.values()) == {1}


@pytest.mark.usefixtures("no_live_restore")
@pytest.mark.parametrize("how", ENDS, ids=lambda how: how.name)
def test_without_live_restore_what_runs_is_stopped(
    system: FaultySystem,
    world: Cluster,
    own_docker: str,
    faulty_namespace: str,
    how: signal.Signals,
) -> None:
    """Each Task of the host ends as one that a signal ended, and the next ones run."""
    run(system, faulty_namespace, "stopped", "sleep 600")
    end(world, how)
    start(world, own_docker)
    seen = system.wait_finished(faulty_namespace, "stopped")
    assert condition(seen, "Succeeded")["reason"] == "Signalled"
    assert (seen["status"]["exitCode"], seen["status"]["signal"]) == (143, 15)
    system.create(task("next", faulty_namespace, command=["true"]))
    seen = system.wait_finished(faulty_namespace, "next")
    assert condition(seen, "Succeeded")["reason"] == "Completed"
