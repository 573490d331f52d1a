"""kill -9 right after every single write to the outside: the next life goes on where it was."""

from collections.abc import Callable

import pytest
from aiohttp import web

from support import faults
from support.api_proxy import when
from support.faulty_system import FaultySystem
from support.http_proxy import HttpProxy
from support.polling import eventually
from support.tasks import condition, task

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# What is killed, whose writes it is killed after, and which writes there are at least.
LIVES: list[tuple[str, str, list[str]]] = [
    ("operator", "api", ["PATCH"]),
    ("daemon", "api", ["PATCH"] * 4),  # runs, is paused, runs again, has ended
    ("daemon", "docker", ["create", "start", "pause", "unpause", "kill", "DELETE"]),
]


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "not answered"])
@pytest.mark.parametrize(("victim", "server", "writes"), LIVES, ids=lambda value: str(value)[:9])
def test_a_component_killed_after_each_of_its_writes(
    system: FaultySystem,
    faulty_namespace: str,
    victim: str,
    server: str,
    writes: list[str],
    answered: bool,
) -> None:
    """A Task that is started, paused, resumed and killed has one life all the same."""
    proxy: HttpProxy = system.docker if server == "docker" else system.api[victim]
    uid = ""

    def is_about_the_task(request: web.Request) -> bool:
        return bool(uid) and request.method in ("POST", "DELETE") and uid in request.path_qs

    counted: Callable[[web.Request], bool] = is_about_the_task
    if server == "api":
        counted = when("write", resource="tasks")
    point = faults.crash_after(proxy, counted, system.killer(victim), answered=answered)
    spec = {"command": ["sleep", "600"], "network": {"mode": "None"}}
    with system.watch_containers() as watcher:
        uid = system.create(task("life", faulty_namespace, **spec))["metadata"]["uid"]
        system.wait_condition(faulty_namespace, "life", "Started", "True", 60)
        system.patch_spec(faulty_namespace, "life", desiredState="Paused")
        system.wait_condition(faulty_namespace, "life", "Paused", "True", 60)
        system.patch_spec(faulty_namespace, "life", desiredState="Running")
        system.wait_condition(faulty_namespace, "life", "Paused", "False", 60)
        system.patch_spec(faulty_namespace, "life", desiredState="Killed")
        ended = system.wait_finished(faulty_namespace, "life", 60)
        system.wait_no_containers(uid)
        eventually(lambda: point.struck >= len(writes), lambda: str(point.seen))

    assert condition(ended, "Succeeded")["reason"] == "Killed"
    assert watcher.runs == {(uid, 1): 1}
    for write in writes:
        assert any(write in seen for seen in point.seen), point.seen
    assert point.struck <= len(writes) + 2, point.seen
