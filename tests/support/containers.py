"""What Docker really runs, seen from outside of Weir."""

import threading
import time
from collections import Counter
from typing import Any

import docker

HOST_LABEL = "weir.dev/host"
UID_LABEL = "weir.dev/uid"


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
    """Follows Docker's events while it is entered; read it after that.

    Attributes:
        starts: how often a container of a Task (by uid) was started.
        cpusets: the cores of a Task's container, comma separated, as it was created.
        most_at_once: the largest number of containers that ran at the same time.
    """

    def __init__(self, docker_host: str, hosts: frozenset[str]) -> None:
        self.starts: Counter[str] = Counter()
        self.cpusets: dict[str, str] = {}
        self.most_at_once = 0
        self._running: set[str] = set()
        self._hosts = hosts
        self._client = docker.DockerClient(base_url=docker_host, timeout=60)
        self._failure: Exception | None = None

    def __enter__(self) -> "Watcher":
        self._events = self._client.events(
            decode=True, filters={"type": "container", "label": HOST_LABEL}
        )
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)  # let the events of what has just ended arrive
        self._events.close()
        self._thread.join(10)
        self._client.close()
        if self._failure is not None:
            raise self._failure

    def _follow(self) -> None:
        try:
            for event in self._events:
                self._see(event)
        except Exception as exc:
            self._failure = exc

    def _see(self, event: dict[str, Any]) -> None:
        labels = event["Actor"]["Attributes"]
        if labels.get(HOST_LABEL) not in self._hosts:
            return
        uid, container = labels[UID_LABEL], event["Actor"]["ID"]
        match event["Action"]:
            case "create":
                try:
                    seen = self._client.api.inspect_container(container)
                except docker.errors.NotFound:
                    return
                self.cpusets[uid] = ",".join(map(str, cores(seen["HostConfig"]["CpusetCpus"])))
            case "start":
                self.starts[uid] += 1
                self._running.add(container)
                self.most_at_once = max(self.most_at_once, len(self._running))
            case "die":
                self._running.discard(container)


def cores(cpuset: str) -> list[int]:
    """Return the core ids of a list such as ``0-2,4``."""
    found: list[int] = []
    for part in filter(None, cpuset.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
