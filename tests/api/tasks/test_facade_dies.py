"""The facade killed in the middle of submissions: what was answered is there, and only once."""

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

from support.cluster import Cluster
from support.facade_process import FacadeProcess
from support.polling import eventually
from weir_crds.ids import task_id
from weir_crds.kinds import HOST, TASK

SUBMISSIONS = 100
CLIENTS = 8
KILL_AFTER = (20, 60)


class Clients:
    """Submit with a key each, again and again until they are answered."""

    def __init__(self, facade: FacadeProcess, host: str) -> None:
        self._facade = facade
        self._host = host
        self._lock = threading.Lock()
        self.answers: dict[int, set[str]] = defaultdict(set)

    def submit(self, number: int) -> None:
        """Submit and be answered 202."""
        eventually(lambda: self._try(number), f"submission {number} is taken", 60, every=0.1)

    def _try(self, number: int) -> bool:
        body = {"command": f"sleep {number}", "targets": [self._host]}
        key = {"Idempotency-Key": f"key-{number}"}
        try:
            answer = self._facade.request("POST", "/api/submit", body, key)
        except (OSError, HTTPException):
            return False  # not known whether it was taken
        if answer.status == 503:
            return False
        assert answer.status == 202, answer.body
        with self._lock:
            self.answers[number].update(answer.json()["task_ids"])
        return True


def test_what_was_answered_is_there_once(world: Cluster, tasks_namespace: str) -> None:
    host = {"apiVersion": HOST.api_version, "kind": HOST.kind, "metadata": {"name": "stays"}}
    world.admin.json("POST", HOST.path(), host)
    facade = FacadeProcess(world, "--no-auth", f"--namespace={tasks_namespace}")
    facade.start()
    try:
        clients = Clients(facade, "stays")
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(clients.submit, number) for number in range(SUBMISSIONS)]
            for count in KILL_AFTER:
                eventually(lambda: len(clients.answers) >= count, f"{count} are answered", 60)  # noqa: B023
                facade.process.kill()
                facade.start()
            for one in running:
                one.result()
        tasks = _tasks(world, tasks_namespace)
        assert len(tasks) == SUBMISSIONS
        assert {number for ids in clients.answers.values() for number in ids} == set(tasks)
        assert all(len(ids) == 1 for ids in clients.answers.values())
        for number in range(0, SUBMISSIONS, 10):
            clients.submit(number)  # long answered; asked again, it is the same
        assert all(len(ids) == 1 for ids in clients.answers.values())
        assert _tasks(world, tasks_namespace) == tasks
    finally:
        facade.process.stop()
        world.admin.request("DELETE", HOST.path(name="stays"))


def _tasks(world: Cluster, namespace: str) -> dict[str, Any]:
    """Return the commands of all Tasks by their id."""
    found = world.admin.json("GET", TASK.path(namespace))["items"]
    return {str(task_id(one["metadata"]["uid"])): one["spec"]["command"] for one in found}
