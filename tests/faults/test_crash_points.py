"""kill -9 right after every single write to the outside: the next life goes on where it was."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from support import faults
from support.api_proxy import when
from support.faulty_system import FaultySystem
from support.http_proxy import HttpProxy
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# What is killed, the server after whose writes, and which writes there are at least.
STOPPED = [
    ("operator", "api", ["PATCH"]),
    ("daemon", "api", ["PATCH"] * 4),  # runs, is paused, runs again, has ended
    ("daemon", "docker", ["create", "start", "pause", "unpause", "kill", "DELETE"]),
]
RETRIED = [
    ("operator", "api", ["PATCH"] * 3),  # bound, unbound, bound again
    ("daemon", "api", ["PATCH"] * 2),  # given back, has ended
    ("daemon", "docker", ["create", "start", "DELETE"] * 2),
]


class Killer:
    """Kills a component after each write about one Task, as long as the test lasts."""

    def __init__(
        self, system: FaultySystem, victim: str, server: str, writes: list[str], *, answered: bool
    ) -> None:
        self.uid = ""
        self._writes = writes
        counted: Callable[[web.Request], bool] = when("write", resource="tasks")
        proxy: HttpProxy = system.api[victim]
        if server == "docker":
            counted, proxy = self._is_about_the_task, system.docker
        self._point = faults.crash_after(proxy, counted, system.killer(victim), answered=answered)

    def check(self) -> None:
        """Assert that each write was followed by a kill, and done about as often as needed."""
        seen = self._point.seen
        eventually(lambda: self._point.struck >= len(self._writes), lambda: str(seen))
        for write in set(self._writes):
            assert sum(write in one for one in seen) >= self._writes.count(write), seen
        assert self._point.struck <= len(self._writes) + 6, seen

    def _is_about_the_task(self, request: web.Request) -> bool:
        changes = request.method in ("POST", "DELETE")
        return bool(self.uid) and changes and self.uid in request.path_qs


def _create(system: FaultySystem, namespace: str, killer: Killer, **spec: Any) -> str:
    made = system.create(task("life", namespace, network={"mode": "None"}, **spec))
    killer.uid = made["metadata"]["uid"]
    return killer.uid


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "not answered"])
@pytest.mark.parametrize(("victim", "server", "writes"), STOPPED, ids=lambda value: str(value)[:9])
def test_a_task_that_is_stopped_has_one_life_all_the_same(
    system: FaultySystem,
    faulty_namespace: str,
    victim: str,
    server: str,
    writes: list[str],
    answered: bool,
) -> None:
    """Started, paused, resumed and killed."""
    killer = Killer(system, victim, server, writes, answered=answered)
    with system.watch_containers() as watcher:
        uid = _create(system, faulty_namespace, killer, command=["sleep", "600"])
        system.wait_condition(faulty_namespace, "life", "Started", "True", 60)
        system.patch_spec(faulty_namespace, "life", desiredState="Paused")
        system.wait_condition(faulty_namespace, "life", "Paused", "True", 60)
        system.patch_spec(faulty_namespace, "life", desiredState="Running")
        system.wait_condition(faulty_namespace, "life", "Paused", "False", 60)
        system.patch_spec(faulty_namespace, "life", desiredState="Killed")
        ended = system.wait_finished(faulty_namespace, "life", 60)
        system.wait_no_containers(uid)
        killer.check()

    assert condition(ended, "Succeeded")["reason"] == "Killed"
    assert watcher.runs == {(uid, 1): 1}


@pytest.mark.parametrize(("victim", "server", "writes"), RETRIED, ids=lambda value: str(value)[:9])
def test_a_task_that_is_retried_has_as_many_lives_as_it_may(
    system: FaultySystem, faulty_namespace: str, victim: str, server: str, writes: list[str]
) -> None:
    """Each failure counts once, and each run is started once."""
    killer = Killer(system, victim, server, writes, answered=False)
    with system.watch_containers() as watcher:
        uid = _create(
            system,
            faulty_namespace,
            killer,
            command=["sh", "-c", "exit 3"],
            retry={"limit": 1, "backoffSeconds": 0},
        )
        ended = system.wait_finished(faulty_namespace, "life", 60)
        system.wait_no_containers(uid)
        killer.check()

    assert condition(ended, "Succeeded")["reason"] == "NonZeroExit"
    assert ended["status"]["failures"] == 1
    assert ended["status"]["runID"] == 2
    assert watcher.runs == {(uid, 1): 1, (uid, 2): 1}
