"""One more host for a running Weir, whose daemon is measured."""

import re
from pathlib import Path
from typing import Self

import psutil

from devcluster import components
from devcluster.hosts import Share
from devcluster.processes import Process
from devcluster.rest import Rest
from support.faulty_system import FaultySystem
from support.polling import eventually
from support.tasks import condition


class ExtraHost:
    """A daemon with flags of its own, on the API server of a system; gone when it is left."""

    def __init__(
        self, system: FaultySystem, name: str, folder: Path, docker_host: str, *flags: str
    ) -> None:
        self.name = name
        self.folder = folder
        self._admin = system.cluster.admin
        component = components.node_daemon(
            name,
            Share(None, None),
            docker_host=docker_host,
            folder=folder,
            identities=system.cluster.identities,
            ports=system.cluster.ports,
            arguments=flags,
        )
        self.log = system.cluster.state.log_of(component.program.name)
        self._process = Process(component.program, self.log)
        self._http = Rest(f"http://{component.health}")

    def __enter__(self) -> Self:
        self._process.start()
        eventually(lambda: self.told("Ready") == "True", "the host is ready", 60)
        eventually(lambda: self.told("Approved") == "True", "the host is approved")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        self._admin.request("DELETE", f"/apis/weir.dev/v1alpha1/hosts/{self.name}")

    def told(self, kind: str) -> str:
        """Return the status of a condition of its Host; empty: it is not there."""
        found = self._admin.find(f"/apis/weir.dev/v1alpha1/hosts/{self.name}")
        return str(condition(found or {}, kind).get("status", ""))

    def metric(self, name: str) -> float:
        """Return the value of a metric, labels and all; 0 when it is not there."""
        text = self._http.request("GET", "/metrics").decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def rss_mib(self) -> float:
        """Return the daemon's resident memory."""
        return float(self._seen.memory_info().rss / 2**20)

    def threads(self) -> int:
        """Return how many threads the daemon has."""
        return int(self._seen.num_threads())

    def files(self) -> int:
        """Return how many files and connections the daemon has open."""
        return int(self._seen.num_fds())

    @property
    def _seen(self) -> psutil.Process:
        return psutil.Process(self._process.pid)
