"""What Docker really runs, seen from outside of Weir."""

import threading
import time
from collections import Counter
from typing import Any

import docker
import requests

HOST_LABEL = "weir.dev/host"
UID_LABEL = "weir.dev/uid"
RUN_LABEL = "weir.dev/run"
POOL_LABEL = "weir.dev/cpu-pool"


class Containers:
    """The containers of some hosts on one Docker daemon."""

    def __init__(self, docker_host: str, hosts: list[str]) -> None:
        self._client = docker.DockerClient(base_url=docker_host, timeout=60)
        self._docker_host = docker_host
        self._hosts = frozenset(hosts)

    def list(self, uid: str | None = None) -> list[dict[str, Any]]:
        """Return Docker's listing of them, running or not; only of one Task if ``uid`` is given."""
        label = f"{UID_LABEL}={uid}" if uid else HOST_LABEL
        found = self._client.api.containers(all=True, filters={"label": label})
        return [one for one in found if one["Labels"].get(HOST_LABEL) in self._hosts]

    def remove_all(self) -> None:
        """Remove them by force."""
        for container in self.list():
            try:
                self._client.api.remove_container(container["Id"], force=True)
            except docker.errors.NotFound:
                continue  # whoever ran it removed it

    def watch(self) -> "Watcher":
        """Return a Watcher of these containers, to be entered."""
        return Watcher(self._docker_host, self._hosts)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Watcher:
    """Follows Docker's events while it is entered, past a Docker's end, too; read it after that.

    Attributes:
        starts: how often a container of a Task (by uid) was started.
        runs: how often a container was started, by uid and runID.
        shared: of cores that are one Task's alone, those that another had at the same time.
        most_at_once: the largest number of containers that ran at the same time.
    """

    def __init__(self, docker_host: str, hosts: frozenset[str]) -> None:
        self.starts: Counter[str] = Counter()
        self.runs: Counter[tuple[str, int]] = Counter()
        self.shared: list[str] = []
        self.most_at_once = 0
        self._running: dict[str, set[int]] = {}  # with the cores that are theirs alone
        self._own_cores: dict[str, set[int]] = {}
        self._seen: set[tuple[int, str, str]] = set()
        self._hosts = hosts
        self._client = docker.DockerClient(base_url=docker_host, timeout=60)
        self._closed = False
        self._failure: Exception | None = None
        self._since = time.time()

    def __enter__(self) -> "Watcher":
        self._listen(since=None)
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        until = int(time.time()) + 1
        self._closed = True
        self._events.close()
        self._thread.join()
        if self._failure is None:
            self._see_until(until)
        self._client.close()
        if self._failure is not None:
            raise self._failure

    def _listen(self, since: int | None) -> None:
        self._events = self._client.events(
            decode=True, since=since, filters={"type": "container", "label": HOST_LABEL}
        )

    def _see_until(self, until: int) -> None:
        """See what has happened by then: its events may be still on their way."""
        self._events = self._client.events(
            decode=True,
            since=int(self._since),
            until=until,  # Docker waits for it
            filters={"type": "container", "label": HOST_LABEL},
        )
        for event in self._events:
            self._see(event)

    def _follow(self) -> None:
        while not self._closed:
            try:
                for event in self._events:
                    self._since = event["timeNano"] / 1e9
                    self._see(event)
            except (OSError, docker.errors.DockerException, requests.RequestException):
                pass  # it was killed
            except Exception as exc:
                self._failure = exc
                return
            while not self._closed:
                time.sleep(0.02)
                try:
                    self._listen(int(self._since))
                    if self._closed:  # meanwhile: nobody else ends this one
                        self._events.close()
                    self._forget_ended()
                    break
                except (OSError, docker.errors.DockerException, requests.RequestException):
                    continue

    def _forget_ended(self) -> None:
        """Drop from what runs what ended while nobody could tell."""
        alive = {one["Id"] for one in self._client.api.containers()}
        self._running = {one: cores for one, cores in self._running.items() if one in alive}

    def _see(self, event: dict[str, Any]) -> None:
        labels = event["Actor"]["Attributes"]
        if labels.get(HOST_LABEL) not in self._hosts:
            return
        uid, container = labels[UID_LABEL], event["Actor"]["ID"]
        seen = (event["timeNano"], container, event["Action"])
        if seen in self._seen:
            return
        self._seen.add(seen)
        match event["Action"]:
            case "create":
                if labels.get(POOL_LABEL) != "exclusive":
                    return
                try:
                    created = self._client.api.inspect_container(container)
                except docker.errors.NotFound:
                    return
                self._own_cores[container] = set(cores(created["HostConfig"]["CpusetCpus"]))
            case "start":
                self._started(uid, int(labels[RUN_LABEL]), container)
            case "die":
                self._running.pop(container, None)

    def _started(self, uid: str, run: int, container: str) -> None:
        self.starts[uid] += 1
        self.runs[uid, run] += 1
        mine = self._own_cores.get(container, set())
        for other, theirs in self._running.items():
            if mine & theirs:
                self.shared.append(f"{container[:12]} and {other[:12]}: {mine & theirs}")
        self._running[container] = mine
        self.most_at_once = max(self.most_at_once, len(self._running))


def cores(cpuset: str) -> list[int]:
    """Return the core ids of a list such as ``0-2,4``."""
    found: list[int] = []
    for part in filter(None, cpuset.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
